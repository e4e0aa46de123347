"""MeshInsight and ServiceInsight: computed when they are read, remembered as long as the store stays as it is."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from kuma.core.errors import NotFound
from kuma.core.model.kinds import KINDS, Scope
from kuma.core.model.labels import MESH_LABEL
from kuma.core.model.resource import Key, Meta, Resource
from kuma.core.resources.dataplane.spec import Dataplane
from kuma.core.resources.dataplaneinsight.spec import DataplaneInsight
from kuma.core.resources.meshinsight.compute import compute as compute_mesh
from kuma.core.resources.meshinsight.spec import MeshInsight
from kuma.core.resources.serviceinsight.compute import compute as compute_services
from kuma.core.resources.serviceinsight.spec import ServiceInsight
from kuma.cp.server.api.proxies import Proxies
from kuma.cp.store.port import Record, Store

_PAUSE: Final = 10
"""Times the cost of computing, until it is done again."""

_COUNTED: Final = tuple(kind for kind in KINDS if kind.scope is Scope.MESH and not kind.read_only)


@dataclass(frozen=True, slots=True)
class Figures:
    """All meshes at one revision."""

    time: datetime
    meshes: tuple[Resource[MeshInsight], ...]
    services: Mapping[str, Resource[ServiceInsight]]
    """By mesh."""

    def mesh(self, name: str) -> Resource[MeshInsight]:
        """Raises ``NotFound``."""
        found = next((one for one in self.meshes if one.meta.name == name), None)
        if found is None:
            raise NotFound(f'there is no mesh "{name}"')
        return found

    def services_of(self, mesh: str) -> Resource[ServiceInsight]:
        """Raises ``NotFound``."""
        if mesh not in self.services:
            raise NotFound(f'there is no mesh "{mesh}"')
        return self.services[mesh]


@dataclass(frozen=True, slots=True)
class _Contents:
    """What the figures are made of; proxies, insights and counts by mesh."""

    meshes: tuple[Record, ...]
    dataplanes: Mapping[str, list[Resource[Dataplane]]]
    insights: Mapping[str, Mapping[str, DataplaneInsight]]
    counts: Mapping[str, Counter[str]]


class Derived:
    """
    The figures of now.

    Computed off the event loop, by one caller at a time for all who wait; an unchanged store gives the same objects.
    While a large store keeps changing they may be late: by a multiple of what computing them costs, so that readers
    cannot take more than a fraction of the machine, and by ``latest`` at most.
    """

    def __init__(
        self,
        store: Store,
        proxies: Proxies,
        now: Callable[[], datetime],
        latest: timedelta,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._proxies = proxies
        self._now = now
        self._monotonic = monotonic
        self._latest = latest.total_seconds()
        self._lock = asyncio.Lock()
        self._revision = -1
        self._fresh_until = 0.0
        self._figures = Figures(datetime.fromtimestamp(0, UTC), (), {})

    async def figures(self) -> Figures:
        """The figures at the store's present revision, or a moment ago."""
        if await self._is_current():
            return self._figures
        async with self._lock:
            if not await self._is_current():  # who held the lock may have computed what is wanted
                # Read before the contents: these are then never older than the revision they are kept under.
                revision = await self._store.revision()
                started = self._monotonic()
                contents = await self._contents()
                self._figures = await asyncio.to_thread(_figures, contents, self._now())
                self._revision = revision
                ended = self._monotonic()
                self._fresh_until = ended + min((ended - started) * _PAUSE, self._latest)
        return self._figures

    async def _is_current(self) -> bool:
        return self._monotonic() < self._fresh_until or await self._store.revision() == self._revision

    async def _contents(self) -> _Contents:
        dataplanes: dict[str, list[Resource[Dataplane]]] = {}
        insights: dict[str, dict[str, DataplaneInsight]] = {}
        counts: dict[str, Counter[str]] = {}
        for kind in _COUNTED:
            for record in await self._store.list(kind.name):
                counts.setdefault(record.key.mesh, Counter())[kind.name] += 1
        for dataplane in await self._proxies.dataplanes():
            dataplanes.setdefault(dataplane.meta.mesh, []).append(dataplane)
        for insight in await self._proxies.insights():
            insights.setdefault(insight.meta.mesh, {})[insight.meta.name] = insight.spec
        return _Contents(await self._store.list("Mesh"), dataplanes, insights, counts)


def _figures(contents: _Contents, now: datetime) -> Figures:
    meshes: list[Resource[MeshInsight]] = []
    services: dict[str, Resource[ServiceInsight]] = {}
    for mesh in contents.meshes:
        name = mesh.key.name
        dataplanes, insights = contents.dataplanes.get(name, ()), contents.insights.get(name, {})
        spec = compute_mesh(dataplanes, insights, contents.counts.get(name, {}))
        meta = Meta(Key("MeshInsight", "", name), created=mesh.created, modified=now)
        meshes.append(Resource(meta, spec))
        of_services = Meta(
            Key("ServiceInsight", name, f"all-services-{name}"),
            labels={MESH_LABEL: name},
            created=mesh.created,
            modified=now,
        )
        services[name] = Resource(of_services, compute_services(dataplanes, insights))
    return Figures(now, tuple(meshes), services)
