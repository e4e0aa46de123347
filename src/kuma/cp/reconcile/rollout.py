"""Whether changes have reached the proxies: an exact answer, because every desired state knows its store revision.

A proxy that the changes do not touch counts as done as soon as it was looked at, also if it refuses something older:
that is told beside. A proxy that is not connected here has nothing to wait for: it gets the newest state when it comes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, replace

from kuma.core.xds.names import CLUSTER
from kuma.cp.reconcile.meshes import Meshes
from kuma.cp.reconcile.stream import Stream
from kuma.cp.reconcile.streams import Streams


@dataclass(frozen=True, slots=True)
class Unfinished:
    """A proxy that lacks something; ``reason`` is empty while it is simply on its way."""

    mesh: str
    dataplane: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Progress:
    """
    How far the changes up to a revision got. ``refused`` will not get further by waiting; ``pending`` may.

    ``earlier`` have these changes, or are not touched by them, and lack what an earlier one brought. ``absent`` is how
    many known proxies are not connected here.
    """

    revision: int
    total: int
    done: int
    pending: tuple[Unfinished, ...]
    refused: tuple[Unfinished, ...]
    earlier: tuple[Unfinished, ...]
    absent: int = 0

    @property
    def settled(self) -> bool:
        """Whether waiting longer changes nothing."""
        return not self.pending


class Rollouts:
    """Answers for the proxies connected to this instance."""

    def __init__(self, meshes: Meshes, streams: Streams) -> None:
        self._meshes = meshes
        self._streams = streams

    async def progress(self, revision: int, wait: float, *, since: int) -> Progress:
        """How far the changes from ``since`` to ``revision`` got: once it is settled, or after ``wait`` seconds."""
        with self._streams.watch() as news:
            try:
                async with asyncio.timeout(wait):
                    await self._meshes.reached(revision)
                    while not (found := self._look(since, revision)).settled:
                        await news.wait()
                        news.clear()
            except TimeoutError:
                found = self._look(since, revision)
        return replace(found, absent=self._absent())

    def _look(self, since: int, revision: int) -> Progress:
        pending: list[Unfinished] = []
        refused: list[Unfinished] = []
        earlier: list[Unfinished] = []
        streams = self._streams.all()
        for stream in streams:
            who = Unfinished(stream.key.mesh, stream.key.name)
            if reason := self._refusal(stream, since):
                refused.append(replace(who, reason=reason))
            elif not self._has(stream, since, revision):
                pending.append(who)
            elif reason := self._refusal(stream, 0):
                earlier.append(replace(who, reason=reason))
        done = len(streams) - len(pending) - len(refused)
        return Progress(revision, len(streams), done, tuple(pending), tuple(refused), tuple(earlier))

    def _refusal(self, stream: Stream, since: int) -> str:
        """Why a proxy will not take what came since a revision; empty when nothing is known against it."""
        if stream.problem:
            return stream.problem if self._concerns(stream, since) and self._is_seen_by(stream) else ""
        return "; ".join(_said(stream, stream.session.refused(since)))

    def _has(self, stream: Stream, since: int, revision: int) -> bool:
        if self._meshes.revision < revision:
            return False
        if stream.problem:
            return not self._concerns(stream, since)
        return self._is_seen_by(stream) and stream.session.holds(since)

    def _concerns(self, stream: Stream, since: int) -> bool:
        """
        Whether changes since a revision may be what a proxy lacks whose configuration cannot be made.

        It is made from a whole mesh, so whatever changed there may be.
        """
        state = self._meshes.state(stream.key.mesh)
        return state is not None and state.changed >= since

    def _is_seen_by(self, stream: Stream) -> bool:
        """Whether the newest snapshot of its mesh was looked at for the proxy."""
        state = self._meshes.state(stream.key.mesh)
        seen = stream.problem_in or (stream.plan and stream.plan.snapshot)
        return state is None or seen is state.snapshot

    def _absent(self) -> int:
        known = sum(len(state.snapshot.proxies) for state in self._meshes.states().values())
        return max(0, known - len(self._streams))


def _said(stream: Stream, refused: Iterable[str]) -> Iterable[str]:
    """Envoy's word on each type; a type that it was not asked about waits for clusters that it refused."""
    for url in refused:
        of = url.rpartition(".")[2]
        if url in stream.rejections:
            yield f"{of}: {stream.rejections[url]}"
        elif CLUSTER in stream.rejections:
            yield f"{of}: waits for a Cluster that was refused: {stream.rejections[CLUSTER]}"
        else:
            yield f"{of}: refused"
