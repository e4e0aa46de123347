"""Proxies that are about to end: nobody sends them new work, and they learn when everybody knows.

A draining proxy is out of the endpoints of its mesh at once, as one that has not begun to listen. That is kept in
memory: the proxy's next start begins anew, and its health reports say the same to the store a few seconds later.
"""

from __future__ import annotations

import asyncio
from typing import Final

import structlog

from kuma.core.model.resource import Key
from kuma.core.snapshot.mesh import MeshSnapshot
from kuma.core.xds.names import ENDPOINT
from kuma.cp.reconcile.meshes import Meshes
from kuma.cp.reconcile.registration import ENVOY_RETRY_SECONDS
from kuma.cp.reconcile.stream import Stream
from kuma.cp.reconcile.streams import Streams

_PATIENCE_SECONDS: Final = 5.0

log = structlog.get_logger("registration")


class Draining:
    """
    Takes proxies out of service. ``all_back_in`` seconds after a start, the proxies of an earlier run are back.

    Until then nobody can say that every proxy knows: one that is not connected again still sends work to old endpoints.
    """

    def __init__(
        self,
        meshes: Meshes,
        streams: Streams,
        *,
        all_back_in: float = ENVOY_RETRY_SECONDS,
        patience: float = _PATIENCE_SECONDS,
    ) -> None:
        self._meshes = meshes
        self._streams = streams
        self._patience = patience
        self._all_back = asyncio.get_running_loop().time() + all_back_in

    async def begin(self, key: Key) -> bool:
        """Take a proxy out of service; whether every other proxy knows, after at most ``patience`` seconds."""
        state = self._meshes.state(key.mesh)
        if state is not None and not _out_of_service(state.snapshot, key):
            log.info("proxy drains", mesh=key.mesh, dataplane=key.name)
            self._meshes.note(key.mesh, joining={key.name: True})
        self._streams.drains(key)
        try:
            async with asyncio.timeout(self._patience):
                await self._all_know(key)
        except TimeoutError:
            return False
        return asyncio.get_running_loop().time() >= self._all_back

    async def _all_know(self, key: Key) -> None:
        with self._streams.watch() as news:
            while left := [one for one in self._streams.of_mesh(key.mesh) if one.key != key and not _knows(one, key)]:
                # One after the other: of a thousand proxies each answers, and none need be looked at for each answer.
                while left:
                    if _knows(left[-1], key):
                        left.pop()
                        continue
                    await news.wait()
                    news.clear()


def _out_of_service(snapshot: MeshSnapshot, key: Key) -> bool:
    return key.name in snapshot.joining or key.name not in snapshot.proxies


def _knows(stream: Stream, key: Key) -> bool:
    """Whether a proxy has let go of the endpoints; one that is gone is told when it comes back."""
    plan = stream.plan
    if stream.ended:
        return True
    if plan is None or not _out_of_service(plan.snapshot, key):
        return False
    return stream.session.owes_nothing(ENDPOINT)
