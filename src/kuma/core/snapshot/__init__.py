"""A mesh at one moment: frozen, shared, updated from changes."""
