"""Writes to a store without pause until it is killed, and says on stdout which writes were acknowledged.

Each batch replaces two records that must stay equal, and a secret. Run with the folder of the store and the name of
the implementation, and a number for this run.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import sys
from pathlib import Path

from kuma.core.model.resource import Key
from kuma.cp.store.port import Put, Store
from tests.contract.store.examples import MESH, write
from tests.contract.store.implementations import IMPLEMENTATIONS


async def _write_for_ever(store: Store, name: str) -> None:
    for number in itertools.count(1):
        spec = b'{"run": %d, "number": %d, "padding": "%s"}' % (int(sys.argv[3]), number, b"x" * (number * 37 % 9000))
        await write(store, *[Put(Key(kind, "default", name), spec, owner=MESH) for kind in ("A", "B", "Secret")])
        os.write(1, f"{name} {number}\n".encode())


async def _main() -> None:
    (implementation,) = [found for found in IMPLEMENTATIONS if found.name == sys.argv[2]]
    async with implementation.opened(Path(sys.argv[1])) as store:
        await write(store, Put(MESH, b"{}"))
        async with asyncio.TaskGroup() as tasks:
            for name in ("x", "y", "z"):
                tasks.create_task(_write_for_ever(store, name))


asyncio.run(_main())
