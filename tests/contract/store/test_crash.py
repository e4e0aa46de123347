"""A control plane that is killed."""

import asyncio
import json
import os
import random
import signal
import sys
from pathlib import Path

import pytest

from kuma.core.model.resource import Key
from tests.contract.store.examples import MESH

ROOT = Path(__file__).parents[3]


async def acknowledged_until_killed(folder, implementation, run, lines):
    """Start the writer, read some acknowledgements, kill -9 it; the last number acknowledged by name."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.contract.store.crash_writer", str(folder), implementation.name, str(run)),
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        stdout=asyncio.subprocess.PIPE,
    )
    acknowledged = [await process.stdout.readline() for _ in range(lines)]
    os.kill(process.pid, signal.SIGKILL)
    rest, _ = await process.communicate()
    assert process.returncode == -signal.SIGKILL
    said = (line.split() for line in b"".join([*acknowledged, rest]).splitlines())
    return {name.decode(): int(number) for name, number in said}


@pytest.mark.parametrize("seed", range(4))
async def test_kill_9_loses_no_acknowledged_write_and_leaves_no_half_batch(durable, tmp_path, seed):
    """At random moments amid parallel writes; and each time the next start works and can write."""
    for run, lines in enumerate(random.Random(seed).sample(range(1, 250), 2)):
        acknowledged = await acknowledged_until_killed(tmp_path, durable, run, lines)

        async with durable.opened(tmp_path) as store:
            contents = await store.contents()
            records = {record.key: record for record in contents.records}
            for name, number in acknowledged.items():
                batch = [records[Key(kind, "default", name)] for kind in ("A", "B", "Secret")]
                assert len({record.spec for record in batch}) == 1
                stored = json.loads(batch[0].spec)
                assert (stored["run"], stored["number"]) >= (run, number)
            logged = [change.revision for change in await store.history(limit=100_000)]
            assert logged == list(range(1, contents.revision + 1))
            assert MESH in records
