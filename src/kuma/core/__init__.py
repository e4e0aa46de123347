"""The pure core: what a mesh means. No IO, no clock, no randomness, nothing awaits."""
