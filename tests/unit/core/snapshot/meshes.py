"""Dataplanes, policies and meshes in short, for tests."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from kuma.core.model.codec import decode_json
from kuma.core.model.resource import Key, Meta, Resource
from kuma.core.snapshot.mesh import Changes, MeshSettings, MeshSnapshot
from kuma.core.snapshot.plan import Plan, Planner, Traits
from kuma.core.snapshot.proxy import Proxy, proxy_of
from kuma.core.xds.generate import Generator
from kuma.core.xds.names import CLUSTER, ENDPOINT, LISTENER, SECRET
from kuma.core.xds.resources import Desired, Layer
from kuma.core.xds.view import TlsMode

TYPES = (CLUSTER, ENDPOINT, LISTENER, SECRET)
STRICT = MeshSettings("default", TlsMode.STRICT, b"root")
PERMISSIVE = MeshSettings("default", TlsMode.PERMISSIVE, b"root")
OFF = MeshSettings("default")


def inbound(
    service: str, port: int = 8080, *, protocol: str = "http", ready: bool = True, **tags: str
) -> dict[str, Any]:
    """An inbound as a user writes it."""
    state = {} if ready else {"state": "NotReady"}
    return {"port": port, "tags": {"kuma.io/service": service, "kuma.io/protocol": protocol, **tags}, **state}


def outbound(service: str, port: int = 10001, **tags: str) -> dict[str, Any]:
    """An outbound as a user writes it."""
    return {"port": port, "tags": {"kuma.io/service": service, **tags}}


def dataplane(
    name: str,
    inbounds: Iterable[Mapping[str, Any]] = (),
    outbounds: Iterable[Mapping[str, Any]] = (),
    *,
    address: str = "10.0.0.1",
    labels: Mapping[str, str] | None = None,
    **networking: Any,
) -> Resource[Any]:
    """A Dataplane of the mesh ``default``."""
    written = {"address": address, "inbound": [*inbounds], "outbound": [*outbounds], **networking}
    return Resource(
        Meta(Key("Dataplane", "default", name), labels or {}), decode_json("Dataplane", {"networking": written})
    )


def proxies(*resources: Resource[Any]) -> dict[str, Proxy]:
    """Changes that bring these Dataplanes."""
    return {one.meta.name: proxy_of(one) for one in resources}


def policy(kind: str, name: str, **spec: Any) -> Resource[Any]:
    """A policy of the mesh ``default``; the spec as a user writes it."""
    written = {{"target_ref": "targetRef", "from_": "from"}.get(field, field): value for field, value in spec.items()}
    return Resource(Meta(Key(kind, "default", name)), decode_json(kind, written))


def timeout_to(name: str, service: str, seconds: int, **spec: Any) -> Resource[Any]:
    """A MeshTimeout towards one service."""
    to = {"targetRef": {"kind": "MeshService", "name": service}, "default": {"connectionTimeout": f"{seconds}s"}}
    return policy("MeshTimeout", name, to=[to], **spec)


def snapshot(
    *resources: Resource[Any], settings: MeshSettings = OFF, policies: Iterable[Resource[Any]] = (), **changes: Any
) -> MeshSnapshot:
    """A mesh from scratch."""
    by_kind: dict[str, tuple[Resource[Any], ...]] = {}
    for one in policies:
        by_kind[one.meta.key.kind] = (*by_kind.get(one.meta.key.kind, ()), one)
    empty = MeshSnapshot(MeshSettings(settings.name))
    return empty.apply(Changes(proxies(*resources), by_kind, settings=settings, **changes), 1)


def planner() -> Planner:
    """A planner without memories."""
    return Planner(Generator())


def plan(mesh: MeshSnapshot, name: str, by: Planner | None = None, last: Plan | None = None) -> Plan:
    """The plan of one proxy."""
    return (by or planner()).plan(mesh, mesh.proxies[name], Traits(), last)


def shown(layer: Layer) -> dict[str, dict[str, bytes]]:
    """A layer as bytes by type and name."""
    return {url: {name: one.body for name, one in layer.by_name(url).items()} for url in TYPES if layer.by_name(url)}


def shown_all(desired: Desired) -> list[dict[str, dict[str, bytes]]]:
    """All layers of a proxy as bytes."""
    return [shown(layer) for layer in desired.layers]
