"""Loops that bring the mesh to what the store says: changes to snapshots, snapshots to proxies, proxies to insights."""
