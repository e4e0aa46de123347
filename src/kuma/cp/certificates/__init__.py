"""How the control plane proves itself: its own authority, and the certificate its servers show.

The authority is in the store, so that all replicas show one and its fingerprint can stand in tokens. The certificates
of the servers are files in the work directory. Facts: spec/auth.md §8 and §10.
"""
