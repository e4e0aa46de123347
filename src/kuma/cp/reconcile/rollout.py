"""Whether a change has reached the proxies: an exact answer, because every desired state knows its store revision.

A proxy that the change does not touch counts as done as soon as it was looked at. A proxy that is not connected here
has nothing to wait for: it gets the newest state when it comes.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from kuma.cp.reconcile.meshes import Meshes
from kuma.cp.reconcile.streams import Stream, Streams


@dataclass(frozen=True, slots=True)
class Unfinished:
    """A proxy that does not have the change; ``reason`` is empty while it is simply on its way."""

    mesh: str
    dataplane: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a revision got. ``refused`` will not get further by waiting; ``pending`` may."""

    revision: int
    total: int
    done: int
    pending: tuple[Unfinished, ...]
    refused: tuple[Unfinished, ...]

    @property
    def settled(self) -> bool:
        """Whether waiting longer changes nothing."""
        return not self.pending


class Rollouts:
    """Answers for the proxies connected to this instance."""

    def __init__(self, meshes: Meshes, streams: Streams) -> None:
        self._meshes = meshes
        self._streams = streams

    async def progress(self, revision: int, wait: float) -> Progress:
        """How far a revision got, after at most ``wait`` seconds; sooner when it is settled."""
        with self._streams.watch() as news:
            try:
                async with asyncio.timeout(wait):
                    await self._meshes.reached(revision)
                    while not (found := self._look(revision)).settled:
                        await news.wait()
                        news.clear()
                    return found
            except TimeoutError:
                return self._look(revision)

    def _look(self, revision: int) -> Progress:
        pending: list[Unfinished] = []
        refused: list[Unfinished] = []
        streams = self._streams.all()
        for stream in streams:
            reason = self._reason(stream, revision)
            if reason is None:
                continue
            found = Unfinished(stream.key.mesh, stream.key.name, reason)
            (refused if reason else pending).append(found)
        done = len(streams) - len(pending) - len(refused)
        return Progress(revision, len(streams), done, tuple(pending), tuple(refused))

    def _reason(self, stream: Stream, revision: int) -> str | None:
        """None for a proxy that has the change, a text for one that will not take it, empty for one on its way."""
        if stream.problem:
            return stream.problem
        refused = stream.session.refused(revision)
        if refused:
            return "; ".join(f"{url.rpartition('.')[2]}: {stream.rejections.get(url, 'refused')}" for url in refused)
        state = self._meshes.state(stream.key.mesh)
        current = state is None or (stream.plan is not None and stream.plan.snapshot is state.snapshot)
        if current and self._meshes.revision >= revision and stream.session.holds(revision):
            return None
        return ""
