"""A store, its meshes and short forms to write to it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from kuma.core.model.kinds import BY_NAME
from kuma.core.model.resource import Key
from kuma.cp.ca.authorities import Authorities
from kuma.cp.reconcile.addresses import Addresses
from kuma.cp.reconcile.meshes import Meshes
from kuma.cp.resources.service import Resources
from kuma.cp.store.memory import MemoryStore
from kuma.cp.store.port import CONTROL_PLANE, Delete, Put

NOW = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)
MESH = Key("Mesh", "", "default")


def key(name: str, kind: str = "Dataplane") -> Key:
    """A key in the mesh ``default``."""
    return Key(kind, "default", name)


def put(name: str, service: str = "web", address: str = "10.0.0.1") -> Put:
    """The write of a Dataplane."""
    spec = {"networking": {"address": address, "inbound": [{"port": 80, "tags": {"kuma.io/service": service}}]}}
    return Put(key(name), json.dumps(spec).encode(), owner=MESH)


@dataclass
class Control:
    """A control plane as far as its meshes."""

    store: MemoryStore
    resources: Resources
    meshes: Meshes

    async def write(self, *batch: Put | Delete) -> int:
        """One batch; the revision it made."""
        changes = await self.store.write(batch, author=CONTROL_PLANE, now=NOW)
        return changes[-1].revision if changes else 0

    async def mesh(self, name: str = "default", **fields: Any) -> None:
        """Write a Mesh, as a user does."""
        document = {"type": "Mesh", "name": name, "skipCreatingInitialPolicies": ["*"], **fields}
        await self.resources.put(BY_NAME["Mesh"], "", name, document, author=CONTROL_PLANE, allowed=lambda _: None)

    async def reached(self) -> None:
        """Wait until the snapshots contain all that was written."""
        async with asyncio.timeout(10):
            await self.meshes.reached(await self.store.revision())

    def proxies(self) -> set[str]:
        """The proxies of the mesh ``default``."""
        state = self.meshes.state("default")
        return set() if state is None else set(state.snapshot.proxies)


async def eventually(condition: Callable[[], Any]) -> None:
    """Wait until a condition is true."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - conditions are looked at, nobody tells of them
            await asyncio.sleep(0.005)


@asynccontextmanager
async def control(*, run: bool = True) -> AsyncIterator[Control]:
    """A control plane with the mesh ``default``."""
    store = MemoryStore()
    authorities = Authorities(store)
    meshes = Meshes(store, authorities, Addresses(timedelta(seconds=60)))
    meshes.observe(authorities.observe)
    made = Control(store, Resources(store, lambda: NOW), meshes)
    await made.mesh()
    if not run:
        yield made
        return
    async with asyncio.TaskGroup() as group:
        task = group.create_task(meshes.run())
        await meshes.ready.wait()
        yield made
        task.cancel()
