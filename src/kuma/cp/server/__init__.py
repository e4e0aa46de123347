"""The servers of the control plane: the REST API, the data plane server and diagnostics."""
