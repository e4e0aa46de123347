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
from kuma.cp.reconcile.streams import Stream, Streams

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
        with self._streams.watch() as news:
            try:
                async with asyncio.timeout(self._patience):
                    while not self._known(key):
                        await news.wait()
                        news.clear()
            except TimeoutError:
                return False
        return asyncio.get_running_loop().time() >= self._all_back

    def _known(self, key: Key) -> bool:
        return all(_knows(stream, key) for stream in self._streams.of_mesh(key.mesh) if stream.key != key)


def _out_of_service(snapshot: MeshSnapshot, key: Key) -> bool:
    return key.name in snapshot.joining or key.name not in snapshot.proxies


def _knows(stream: Stream, key: Key) -> bool:
    """Whether a proxy has let go of the endpoints."""
    plan = stream.plan
    if plan is None or not _out_of_service(plan.snapshot, key):
        return False
    return stream.session.owes_nothing(ENDPOINT)
