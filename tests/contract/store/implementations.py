"""The stores the contract suite runs on. A new store is one entry in ``IMPLEMENTATIONS``."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from kuma.cp.store.memory import MemoryStore
from kuma.cp.store.metered import MeteredStore
from kuma.cp.store.port import Store
from kuma.cp.store.sealing import Sealer
from kuma.cp.store.sqlite import SqliteStore

SEALER = Sealer(b"k" * 32)


@dataclass(frozen=True)
class Implementation:
    """``opened`` gives a store on a folder; a durable one finds there what an earlier one wrote."""

    name: str
    opened: Callable[[Path], AbstractAsyncContextManager[Store]]
    durable: bool


@asynccontextmanager
async def _memory(_: Path) -> AsyncIterator[Store]:
    store = MeteredStore(MemoryStore())  # as the control plane runs it
    yield store
    await store.close()


@asynccontextmanager
async def _sqlite(folder: Path) -> AsyncIterator[Store]:
    store = await SqliteStore.open(folder / "kuma.db", SEALER)
    yield store
    await store.close()


IMPLEMENTATIONS = (
    Implementation("memory", _memory, durable=False),
    Implementation("sqlite", _sqlite, durable=True),
)
