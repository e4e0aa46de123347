"""From what a proxy sees to the Envoy resources it gets, and the conversation that delivers them."""
