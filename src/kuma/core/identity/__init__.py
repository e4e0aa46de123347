"""Who a caller or a proxy is: names in certificates, claims in tokens, and when an identity has to be renewed."""
