"""kumactl, the command line of an operator."""
