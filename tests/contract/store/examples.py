"""Keys, times and short forms the contract tests share."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from kuma.core.model.resource import Key
from kuma.cp.store.port import Author, Change, Delete, Put, Store

NOW = datetime(2026, 11, 23, 12, 0, 0, 123456, tzinfo=UTC)
ALICE = Author("alice", ("admins", "mesh-system:authenticated"), "10.0.0.7")

MESH = Key("Mesh", "", "default")
DP = Key("Dataplane", "default", "dp-1")
INSIGHT = Key("DataplaneInsight", "default", "dp-1")
SECRET = Key("Secret", "default", "ca.key")


def timeout(name: str, mesh: str = "default") -> Key:
    """The key of a policy."""
    return Key("MeshTimeout", mesh, name)


async def write(store: Store, *batch: Put | Delete, at: float = 0) -> tuple[Change, ...]:
    """A batch by Alice, some seconds after noon."""
    return await store.write(batch, author=ALICE, now=NOW + timedelta(seconds=at))
