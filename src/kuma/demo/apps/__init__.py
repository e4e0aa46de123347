"""The services of the demo. They know nothing of the mesh: each listens on a loopback port and calls loopback ports.

Only the standard library, so that they start at once and stay small.
"""
