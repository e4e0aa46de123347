"""Routes as users write them, and a mesh to lead calls through."""

from __future__ import annotations

from collections.abc import Mapping

from tests.e2e.harness import documents
from tests.e2e.harness.documents import Inbound, builtin, permission
from tests.e2e.harness.lab import Lab
from tests.e2e.harness.ports import free_port
from tests.e2e.harness.proxy import Proxy


def meshed(lab: Lab, mesh: str, protocol: str, applications: Mapping[str, int]) -> Proxy:
    """A mesh with mutual TLS, services behind one proxy, and a caller that has ``v1`` as its only outbound."""
    lab.mesh(documents.mesh(mesh, builtin("ca-1")))
    lab.mesh(permission(mesh, "everyone"))
    inbounds = [Inbound(name, protocol, free_port(), port) for name, port in applications.items()]
    servers = lab.proxy("servers", mesh=mesh, inbounds=inbounds).launch()
    caller = lab.proxy("caller", mesh=mesh, calls=("v1",)).launch()
    servers.wait_ready()
    caller.wait_ready()
    return caller


def route(mesh: str, name: str, *rules: str, kind: str = "MeshHTTPRoute") -> str:
    """A route for calls to ``v1``; each rule is one line of YAML."""
    lines = "".join(f"        - {rule}\n" for rule in rules)
    return (
        f"type: {kind}\nmesh: {mesh}\nname: {name}\nspec:\n  to:\n"
        f"    - targetRef: {{kind: MeshService, name: v1}}\n      rules:\n{lines}"
    )


def to(*shares: str) -> str:
    """Backends, each as ``name=weight``."""
    refs = (share.partition("=") for share in shares)
    return f"backendRefs: [{', '.join(f'{{kind: MeshService, name: {n}, weight: {w}}}' for n, _, w in refs)}]"


def path(value: str, kind: str = "PathPrefix") -> str:
    """The list of one match by path."""
    return f"matches: [{{path: {{type: {kind}, value: '{value}'}}}}]"
