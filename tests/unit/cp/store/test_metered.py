"""What a store tells Prometheus."""

import asyncio
from datetime import UTC, datetime

import pytest
from prometheus_client import CollectorRegistry

from kuma.core.errors import Conflict
from kuma.core.model.resource import Key
from kuma.cp.store.memory import MemoryStore
from kuma.cp.store.metered import MeteredStore
from kuma.cp.store.port import CONTROL_PLANE, Delete, Put

NOW = datetime(2026, 11, 25, tzinfo=UTC)
MESH = Key("Mesh", "", "default")


@pytest.fixture
def store() -> MeteredStore:
    """An empty one."""
    return MeteredStore(MemoryStore())


@pytest.fixture
def registry(store) -> CollectorRegistry:
    """What Prometheus reads."""
    found = CollectorRegistry()
    found.register(store)
    return found


async def write(store: MeteredStore, *batch: Put | Delete) -> None:
    """As the control plane."""
    await store.write(batch, author=CONTROL_PLANE, now=NOW)


async def test_operations_are_timed_by_what_they_did_and_to_what(store, registry):
    """With the names and labels of Kuma's dashboards."""
    await write(store, Put(MESH, b"{}"))
    await write(store, Put(MESH, b'{"a":1}'), Put(Key("Secret", "default", "s"), b"{}"))
    await store.get(MESH)
    await store.find(MESH)
    await store.list("Secret", "default")
    await write(store, Delete(MESH))

    def count(operation: str, kind: str) -> float | None:
        return registry.get_sample_value("store_count", {"operation": operation, "resource_type": kind})

    assert count("create", "Mesh") == count("update", "Mesh") == count("delete", "Mesh") == 1
    assert count("create", "Secret") == count("list", "Secret") == 1
    assert count("get", "Mesh") == 2
    assert count("delete", "Secret") is None


async def test_conflicts_are_counted(store, registry):
    """They are how one sees that writers meet."""
    await write(store, Put(MESH, b"{}", expected_version=0))
    with pytest.raises(Conflict):
        await write(store, Put(MESH, b"{}", expected_version=0))

    assert registry.get_sample_value("store_conflicts", {"resource_type": "Mesh"}) == 1


async def test_resources_are_counted_as_they_come_and_go(store, registry):
    """From what is there at the start."""
    await write(store, Put(MESH, b"{}"), Put(Key("Secret", "default", "a"), b"{}", owner=MESH))

    async with asyncio.TaskGroup() as group:
        group.create_task(store.count())
        await asyncio.sleep(0)  # it subscribes at its first step
        await write(store, Put(Key("Secret", "default", "b"), b"{}", owner=MESH))
        await write(store, Put(Key("Secret", "default", "b"), b'{"data":"x"}', owner=MESH))
        await write(store, Put(Key("MeshRetry", "default", "r"), b"{}", owner=MESH))
        await write(store, Delete(Key("Secret", "default", "a")))
        await store.close()  # what was committed is still told

    counts = {
        kind: registry.get_sample_value("resources_count", {"resource_type": kind, "tenant": ""})
        for kind in ("Mesh", "Secret", "MeshRetry")
    }
    assert counts == {"Mesh": 1, "Secret": 1, "MeshRetry": 1}
