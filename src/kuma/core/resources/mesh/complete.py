"""What the control plane writes into a Mesh before it is stored."""

from __future__ import annotations

from kuma.core.resources.mesh.spec import Mesh
from kuma.core.resources.prometheus import complete_backend


def complete(mesh: Mesh) -> Mesh:
    """The mesh with the defaults of its Prometheus backends written out. Doing it twice changes nothing."""
    if mesh.metrics is None:
        return mesh
    backends = tuple(complete_backend(backend) for backend in mesh.metrics.backends)
    return mesh.model_copy(update={"metrics": mesh.metrics.model_copy(update={"backends": backends})})
