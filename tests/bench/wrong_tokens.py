"""``python -m tests.bench.wrong_tokens``: what others notice while somebody tries tokens, 200 in every second.

Most of the attacker's tokens have the right form and the right key, so that a signature has to be checked; every other
one comes on a connection of its own. Meanwhile a user with a good token lists meshes.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import itertools
import statistics
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.contract.api.hostile_tokens import HUGE, hostile
from tests.e2e.harness.control_plane import ControlPlane

P99_SECONDS: Final = 0.1
"""What is promised."""

_SETTLE_SECONDS: Final = 1.0
_USER_PAUSE: Final = 0.02
_ATTACKERS: Final = 8


@dataclass(slots=True)
class Outcome:
    """Statuses of the attacker's requests, and of the user's with their times in seconds."""

    tried: Counter[int] = field(default_factory=Counter)
    served: Counter[int] = field(default_factory=Counter)
    times: list[float] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def p99(self) -> float:
        return statistics.quantiles(self.times, n=100)[98]

    @property
    def faults(self) -> list[str]:
        """What is wrong whatever the speed of the machine."""
        found = []
        if set(self.tried) != {401}:
            found.append(f"wrong tokens were answered {dict(self.tried)}, and not 401 throughout")
        if set(self.served) != {200}:
            found.append(f"the user was answered {dict(self.served)}, and not 200 throughout")
        return found

    def __str__(self) -> str:
        return (
            f"{self.tried.total()} wrong tokens in {self.seconds:.1f} s; {len(self.times)} requests of the user: "
            f"p50 {statistics.median(self.times) * 1000:.1f} ms, p99 {self.p99 * 1000:.1f} ms, "
            f"longest {max(self.times) * 1000:.1f} ms"
        )


def measure(directory: Path, *, rate: float, seconds: float) -> Outcome:
    """A control plane of its own, attacked."""
    control_plane = ControlPlane(directory / "control-plane")
    try:
        control_plane.start()
        secrets = {
            name: base64.b64decode(control_plane.api.get(f"/global-secrets/{name}")["data"])
            for name in ("admin-user-token", "user-token-signing-key-1")
        }
        good = secrets["admin-user-token"].decode()
        wrong = [token for _, token in hostile(good, secrets["user-token-signing-key-1"]) if len(token) < HUGE]
        control_plane.stop()
        # The attacker calls from this host, and is not to be taken for an administrator.
        control_plane.change(KUMA_API_SERVER_AUTHN_LOCALHOST_IS_ADMIN="false")
        control_plane.start()
        outcome = asyncio.run(_attack(control_plane.http_port, good, wrong, rate=rate, seconds=seconds))
        control_plane.assert_healthy_log()
        return outcome
    finally:
        control_plane.close()


async def _attack(port: int, good: str, wrong: Sequence[str], *, rate: float, seconds: float) -> Outcome:
    outcome = Outcome()
    loop = asyncio.get_running_loop()
    begin = loop.time() + _SETTLE_SECONDS
    moments = (begin + number / rate for number in range(round(rate * seconds)))
    tries = zip(moments, itertools.cycle(wrong), strict=False)

    async def attacker() -> None:
        line: _Line | None = None
        for moment, token in tries:
            await asyncio.sleep(moment - loop.time())
            line = line or await _Line.open(port)  # not before: the server waits a second for a first request
            outcome.tried[await line.get("/meshes", token)] += 1
            if line.used == 2:
                line.close()
                line = None
        if line is not None:
            line.close()

    async def user() -> None:
        line = await _Line.open(port)
        while loop.time() < begin + seconds:
            started = loop.time()
            outcome.served[await line.get("/meshes", good)] += 1
            if started >= begin:
                outcome.times.append(loop.time() - started)
            await asyncio.sleep(_USER_PAUSE)
        line.close()

    async with asyncio.TaskGroup() as group:
        group.create_task(user())
        for _ in range(_ATTACKERS):
            group.create_task(attacker())
    outcome.seconds = loop.time() - begin
    return outcome


class _Line:
    """One connection, with as little of its own as possible."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.used = 0

    @classmethod
    async def open(cls, port: int) -> _Line:
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def get(self, path: str, token: str) -> int:
        """The status of an answer, once all of it is here."""
        self.used += 1
        head = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n"
        self._writer.write(head.encode("latin-1"))
        answer = (await self._reader.readuntil(b"\r\n\r\n")).lower()
        length = int(answer.partition(b"content-length: ")[2].partition(b"\r\n")[0])
        await self._reader.readexactly(length)
        return int(answer.split(b" ", 2)[1])

    def close(self) -> None:
        self._writer.close()


def main(arguments: Sequence[str]) -> int:
    """The exit code: 1 when what is promised does not hold on this machine."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=float, default=200, help="wrong tokens per second (default 200)")
    parser.add_argument("--seconds", type=float, default=30, help="for how long (default 30)")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="kuma-bench-") as directory:
        outcome = measure(Path(directory), rate=given.rate, seconds=given.seconds)
    sys.stdout.write(f"{outcome}\n")
    faults = outcome.faults
    if outcome.p99 > P99_SECONDS:
        faults.append(f"p99 of the user is {outcome.p99 * 1000:.0f} ms, promised are {P99_SECONDS * 1000:.0f} ms")
    sys.stdout.writelines(f"wrong: {fault}\n" for fault in faults)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
