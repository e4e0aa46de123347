"""The sections of kuma-cp's settings, one module per group; ``kuma.cp.config.tree`` joins them."""
