"""A user who reads and writes resources through the real rules, into a real store in memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from kuma.core.errors import InvalidResource
from kuma.core.model.codec import encode_spec
from kuma.core.model.kinds import BY_NAME, Kind, Scope
from kuma.core.model.resource import Key, Resource
from kuma.core.resources.dataplane.facts import with_health
from kuma.cp.resources import Resources, Written
from kuma.cp.store.memory import MemoryStore
from kuma.cp.store.port import CONTROL_PLANE, Author, Change, Delete, Put

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
ALICE = Author("alice", ("team-a",), "10.0.0.7")
MESH = Key("Mesh", "", "default")


def anyone(_: Kind) -> None:
    """Access control that lets everybody do everything."""


class User:
    """Writes documents as they are; the mesh and name of the URL are those of the document unless given."""

    def __init__(self, store: MemoryStore, resources: Resources) -> None:
        self.store = store
        self.resources = resources

    async def put(
        self,
        document: dict[str, Any],
        *,
        kind: str = "",
        mesh: str | None = None,
        name: str | None = None,
        allowed: Callable[[Kind], None] = anyone,
    ) -> Written:
        return await self.resources.put(
            BY_NAME[kind or document["type"]],
            document.get("mesh", "") if mesh is None else mesh,
            document["name"] if name is None else name,
            document,
            author=ALICE,
            allowed=allowed,
        )

    async def refused(self, document: dict[str, Any], **url: Any) -> InvalidResource:
        """The error of a write that breaks rules."""
        with pytest.raises(InvalidResource) as caught:
            await self.put(document, **url)
        return caught.value

    async def delete(self, kind: str, name: str, mesh: str = "default") -> None:
        home = mesh if BY_NAME[kind].scope is Scope.MESH else ""
        await self.resources.delete(BY_NAME[kind], home, name, author=ALICE, allowed=anyone)

    async def get(self, kind: str, name: str, mesh: str = "default") -> Resource[Any]:
        return await self.resources.get(BY_NAME[kind], mesh if BY_NAME[kind].scope is Scope.MESH else "", name)

    async def probed(self, name: str, *, ready: bool) -> Put:
        """What the control plane writes when a probe of port 80 answered, or did not."""
        found = await self.get("Dataplane", name)
        spec = encode_spec(with_health(found.spec, {80: ready}))
        return Put(found.meta.key, spec, found.meta.labels, owner=MESH)

    async def names(self, kind: str, mesh: str | None = None) -> list[str]:
        return [record.key.name for record in await self.store.list(kind, mesh)]

    async def as_control_plane(self, *batch: Put | Delete) -> Sequence[Change]:
        """What the control plane itself writes, past the rules."""
        return await self.store.write(batch, author=CONTROL_PLANE, now=NOW)


def told(error: InvalidResource) -> list[tuple[str, str]]:
    """Field and reason of everything an error tells."""
    return [(violation.field, violation.reason) for violation in error.violations]


def mesh(name: str = "default", **fields: Any) -> dict[str, Any]:
    """A Mesh with these sections."""
    return {"type": "Mesh", "name": name, **fields}


def builtin(*names: str, enabled: str = "") -> dict[str, Any]:
    """An mTLS section with builtin authorities; the first is enabled unless said otherwise."""
    backends = [{"name": name, "type": "builtin"} for name in names]
    return {"enabledBackend": enabled or names[0], "backends": backends}


def dataplane(name: str = "web-1", *inbound: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """A Dataplane that offers one service, or these inbounds."""
    inbounds = inbound or ({"port": 80, "tags": {"kuma.io/service": "web"}},)
    networking = {"address": "10.0.0.1", "inbound": list(inbounds)}
    return {"type": "Dataplane", "mesh": "default", "name": name, "networking": networking, **fields}


def timeout(name: str = "t", **fields: Any) -> dict[str, Any]:
    """A valid MeshTimeout; ``fields`` stand beside its spec."""
    spec = {"to": [{"targetRef": {"kind": "Mesh"}, "default": {"connectionTimeout": "10s"}}]}
    return {"type": "MeshTimeout", "mesh": "default", "name": name, "spec": spec, **fields}


def secret(name: str, data: str = "dGVzdA==") -> dict[str, Any]:
    """A Secret with base64 data."""
    return {"type": "Secret", "mesh": "default", "name": name, "data": data}


def permission() -> dict[str, Any]:
    """A MeshTrafficPermission that permits the whole mesh."""
    spec = {"rules": [{"default": {"allow": [{"spiffeID": {"type": "Prefix", "value": "spiffe://default"}}]}}]}
    return {"type": "MeshTrafficPermission", "mesh": "default", "name": "allow-all", "spec": spec}
