"""The data plane server: ``POST /bootstrap`` and the gRPC services of Envoy, on one TLS port."""
