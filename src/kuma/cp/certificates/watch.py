"""Certificate files that are replaced while their servers run.

Files are looked at once a second: they may be on any file system, behind links that are switched, or in folders that
are replaced, and no notification covers all of these. What has changed counts when it has been quiet for one look
more, so that a certificate and its key, copied one after the other, are read together. What cannot be used is told
once, and the server keeps what it has.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final

import structlog

from kuma.core.errors import ConfigInvalid

LOOK_EVERY: Final = timedelta(seconds=1)

_State = frozenset[tuple[str, int, int, int]]

log = structlog.get_logger("certificates")


@dataclass(frozen=True, slots=True)
class Watched:
    """
    A server and its files.

    ``files`` may differ from time to time, and raises ``ConfigInvalid`` where it cannot tell; ``renew`` gives the
    server what is in them now, or raises ``ConfigInvalid`` and changes nothing.
    """

    server: str
    files: Callable[[], Iterable[Path]]
    renew: Callable[[], Awaitable[None]]


class CertificateWatch:
    """Made before the servers read their files, so that no change is missed."""

    def __init__(self, every: timedelta = LOOK_EVERY) -> None:
        self._every = every
        self._watched: list[_One] = []

    def add(self, watched: Watched) -> None:
        """Watch the files of one more server; what they are at this moment counts as known."""
        self._watched.append(_One(watched))

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await asyncio.sleep(self._every.total_seconds())
            states = await asyncio.to_thread(lambda: [one.look() for one in self._watched])
            for one, state in zip(self._watched, states, strict=True):
                await one.judge(state)


class _One:
    def __init__(self, watched: Watched) -> None:
        self._watched = watched
        self._known = self._last = self.look()

    def look(self) -> _State:
        try:
            return _state(tuple(self._watched.files()))
        except ConfigInvalid:
            return frozenset()

    async def judge(self, state: _State) -> None:
        quiet, self._last = state == self._last, state
        if not quiet or state == self._known:
            return
        try:
            await self._watched.renew()
        except ConfigInvalid as error:
            self._refused(str(error))
        except OSError as error:
            # Not the fault of the files: they are tried again at the next look.
            self._refused(str(error))
            return
        else:
            log.info("certificate files read again", server=self._watched.server)
        self._known = state

    def _refused(self, reason: str) -> None:
        log.error(
            "new certificate files are not used, the server keeps the former ones",
            server=self._watched.server,
            reason=reason,
        )


def _state(paths: Sequence[Path]) -> _State:
    found = set()
    for path in paths:
        try:
            stat = path.stat()
        except OSError:
            found.add((str(path), 0, 0, 0))
        else:
            found.add((str(path), stat.st_ino, stat.st_mtime_ns, stat.st_size))
    return frozenset(found)
