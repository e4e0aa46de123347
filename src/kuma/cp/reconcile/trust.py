"""New roots of a mesh on their way to its proxies.

Where the CA of a mesh changes, proxies learn of the new roots first, and only then get certificates of the new CA: a
peer that does not trust it yet would refuse them. Until then a proxy that has just come gets one of the former CA, too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

import structlog

from kuma.core.xds import names
from kuma.core.xds.resources import Layer
from kuma.cp.reconcile.meshes import Issuing, Meshes, MeshState
from kuma.cp.reconcile.stream import Stream

_LONGEST_SECONDS: Final = 30.0
"""Longest wait for proxies to accept a mesh's new roots before certificates of a new backend are issued."""

log = structlog.get_logger("xds")


@dataclass(slots=True, eq=False)
class _Spreading:
    """``missing`` are the proxies that have not accepted the roots yet, ``before`` how certificates were made then."""

    trust: Layer
    missing: dict[Stream, None]
    until: float
    before: Issuing | None


class Trust:
    """
    Whom the proxies of each mesh trust, and by which CA their certificates are made meanwhile.

    ``streams_of`` gives the connected proxies of a mesh; ``wake`` is called when certificates of one may move.
    """

    def __init__(
        self, meshes: Meshes, streams_of: Callable[[str], Iterable[Stream]], wake: Callable[[str], None]
    ) -> None:
        self._meshes = meshes
        self._streams_of = streams_of
        self._wake = wake
        self._known: dict[str, Layer] = {}
        self._spreading: dict[str, _Spreading] = {}
        self._issuing: dict[str, Issuing | None] = {}
        """Per mesh how certificates were made when its proxies last agreed on whom to trust."""

    def spreads(self, mesh: str) -> bool:
        """Whether new roots are on their way, so that a certificate may be the present one only for now."""
        return mesh in self._spreading

    def mesh_changed(self, mesh: str, state: MeshState | None) -> None:
        """When a mesh has new roots, note which proxies have to learn of them."""
        if state is None:
            for table in (self._known, self._spreading, self._issuing):
                table.pop(mesh, None)
            return
        known, trust = self._known.get(mesh), state.snapshot.trust
        self._known[mesh] = trust
        missing: dict[Stream, None] = {}
        if known is not None and known is not trust:
            secret = names.mesh_ca_secret(mesh)
            missing = dict.fromkeys(stream for stream in self._streams_of(mesh) if secret in stream.held)
        if missing:
            loop = asyncio.get_running_loop()
            under_way = self._spreading.get(mesh)
            before = self._issuing.get(mesh) if under_way is None else under_way.before
            self._spreading[mesh] = _Spreading(trust, missing, loop.time() + _LONGEST_SECONDS, before)
            loop.call_later(_LONGEST_SECONDS, self._wake, mesh)
        elif mesh not in self._spreading:
            self._issuing[mesh] = state.issuing

    def answered(self, stream: Stream) -> None:
        """See whether a proxy accepted the new roots of its mesh, or is gone; the last one lets certificates move."""
        spreading = self._spreading.get(stream.key.mesh)
        if spreading is None:
            return
        roots = spreading.trust.by_name(names.SECRET).get(names.mesh_ca_secret(stream.key.mesh))
        if stream.ended or roots is None or stream.session.has(roots):
            spreading.missing.pop(stream, None)
        if not spreading.missing:
            self._has_spread(stream.key.mesh)
            self._wake(stream.key.mesh)

    def issuing_now(self, mesh: str, issuing: Issuing) -> Issuing:
        """
        How certificates are made at this moment: while new roots spread, by the backend that did it before.

        One proxy that never answers must not hold up all others: after ``_LONGEST_SECONDS`` certificates move all the
        same.
        """
        spreading = self._spreading.get(mesh)
        before = None if spreading is None else spreading.before
        if spreading is None or before is None or before.backend.name not in issuing.backends:
            return issuing
        if before.backend.name == issuing.backend.name:
            return issuing
        if asyncio.get_running_loop().time() < spreading.until:
            return before
        waiting = ", ".join(sorted(stream.key.name for stream in spreading.missing))
        log.warning("certificates move before every proxy trusts the new CA", mesh=mesh, proxies=waiting)
        self._has_spread(mesh)
        return issuing

    def _has_spread(self, mesh: str) -> None:
        del self._spreading[mesh]
        state = self._meshes.state(mesh)
        self._issuing[mesh] = None if state is None else state.issuing
