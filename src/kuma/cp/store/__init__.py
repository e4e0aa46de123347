"""Where resources are kept: one port, several implementations."""
