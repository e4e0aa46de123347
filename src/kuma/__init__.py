"""A service mesh on Envoy: control plane, data plane supervisor and command line."""

__version__ = "0.1.0"
