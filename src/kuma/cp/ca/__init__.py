"""Certificate authorities of meshes: making a builtin one, reading a provided one, and issuing leaves from both.

``Authorities`` hands out loaded authorities and keeps them until the store changes; ``issue_leaf`` is what a proxy's
identity costs. Facts: spec/xds.md §5.
"""
