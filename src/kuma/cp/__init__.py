"""The control plane: edges and loops around the core."""
