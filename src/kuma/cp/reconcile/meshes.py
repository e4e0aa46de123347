"""Every mesh as a snapshot, kept up to date from the store's changes.

Reads the store once, then only what changes. A change is published at the next turn of the loop; when changes keep
coming, at most once in ``CHURN_PAUSE``, each publication with everything that came meanwhile.

Nothing is taken away because it could not be read: a stored resource that does not parse, or a CA that cannot be
loaded, leaves the last good state in place and is reported.
"""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from types import MappingProxyType
from typing import Any, Final

import structlog

from kuma.core.errors import MeshError
from kuma.core.model.kinds import BY_NAME
from kuma.core.model.resource import Key, Resource
from kuma.core.resources.mesh.backends import certificate_lifetime, enabled_backend
from kuma.core.resources.mesh.spec import Mesh, MtlsMode
from kuma.core.snapshot.mesh import Changes, MeshSettings, MeshSnapshot
from kuma.core.snapshot.proxy import Proxy, proxy_of
from kuma.core.xds.view import TlsMode
from kuma.cp.ca.authorities import Authorities, Backend
from kuma.cp.ca.backends import backend_of, backends_of
from kuma.cp.reconcile.addresses import Addresses
from kuma.cp.resources.aside import LARGE_TEXT, aside
from kuma.cp.store.decoding import resource_of
from kuma.cp.store.port import Change, Record, Store

CHURN_PAUSE: Final = 0.02
"""Seconds between publications while changes keep coming."""

_READ_PER_TURN: Final = 8
"""Records read before other tasks get their turn."""

NOTHING: Final[Mapping[str, bool]] = MappingProxyType({})

log = structlog.get_logger("meshes")


@dataclass(frozen=True, slots=True)
class Issuing:
    """How certificates of a mesh's proxies are made. ``backends`` are the names of all that are trusted."""

    backend: Backend
    lifetime: timedelta
    backends: tuple[str, ...]


@dataclass(slots=True)
class MeshState:
    """One mesh: its snapshot and how its certificates are issued (None while mTLS is off)."""

    snapshot: MeshSnapshot
    mesh: Resource[Mesh]
    issuing: Issuing | None = None
    policies: dict[str, dict[str, Resource[Any]]] = field(default_factory=lambda: defaultdict(dict))
    pending: Changes | None = None
    """What waits because the mesh's CA could not be read."""
    changed: int = 0
    """The newest store revision that brought more than news of proxies."""


Listener = Callable[[str, MeshState | None], None]


class Meshes:
    """See the module. ``listen`` to hear of every new snapshot; a mesh that is gone is told as None."""

    def __init__(self, store: Store, authorities: Authorities, addresses: Addresses) -> None:
        self._store = store
        self._addresses = addresses
        self._taking = asyncio.Lock()
        self._authorities = authorities
        self._states: dict[str, MeshState] = {}
        self._listeners: list[Listener] = []
        self._observers: list[Callable[[tuple[Change, ...]], None]] = []
        self.starting: Callable[[str], Container[str]] = lambda _mesh: ()
        """The proxies of a mesh that have been announced and do not listen yet."""
        self._revision = 0
        self._advanced = asyncio.Condition()
        self.ready = asyncio.Event()
        self.published = 0
        self.changes = 0

    @property
    def revision(self) -> int:
        """The store revision that all snapshots contain."""
        return self._revision

    def state(self, mesh: str) -> MeshState | None:
        """One mesh, None when it does not exist."""
        return self._states.get(mesh)

    def states(self) -> dict[str, MeshState]:
        """All meshes by name."""
        return dict(self._states)

    def listen(self, listener: Listener) -> None:
        """Call ``listener`` with every new snapshot."""
        self._listeners.append(listener)

    def observe(self, observer: Callable[[tuple[Change, ...]], None]) -> None:
        """Call ``observer`` with every batch of changes before snapshots are made of it."""
        self._observers.append(observer)

    def note(self, mesh: str, *, joining: Mapping[str, bool], issued: Mapping[str, bool] = NOTHING) -> None:
        """
        Take in what a connected proxy does, ahead of the store.

        ``joining`` proxies are sent no traffic until they listen; ``issued`` says what their insight is about to say.
        """
        state = self._states.get(mesh)
        if state is None or state.snapshot.revision == 0:
            return
        before = state.snapshot
        state.snapshot = before.apply(Changes(joining=joining, issued=issued), before.revision, _now())
        self._tell(mesh, state)

    async def reached(self, revision: int) -> None:
        """Wait until snapshots contain a store revision."""
        async with self._advanced:
            await self._advanced.wait_for(lambda: self._revision >= revision)

    async def run(self) -> None:
        """Follow the store until cancelled."""
        async with self._store.subscribe() as batches:
            contents = await self._store.contents()
            await self._take({record.key: record for record in contents.records}, contents.revision)
            self.ready.set()
            loop = asyncio.get_running_loop()
            async for batch in batches:
                started = loop.time()
                changes = tuple(change for change in batch if change.revision > contents.revision)
                if not changes:
                    continue
                for observer in self._observers:
                    observer(changes)
                self.changes += len(changes)
                # In the order of revisions: of several changes of one record the last one counts.
                await self._take({change.key: change.after for change in changes}, changes[-1].revision)
                await asyncio.sleep(max(0.0, CHURN_PAUSE - (loop.time() - started)))

    async def follow_names(self) -> None:
        """Keep the addresses of Dataplanes that are DNS names up to date, until cancelled."""

        async def moved(keys: frozenset[Key]) -> None:
            await self._take({key: await self._store.find(key) for key in keys}, self._revision)

        await self._addresses.run(moved)

    async def _take(self, latest: Mapping[Key, Record | None], revision: int) -> None:
        async with self._taking:
            await self._bring(latest, revision)

    async def _bring(self, latest: Mapping[Key, Record | None], revision: int) -> None:
        """Bring the snapshots of all meshes concerned to a revision; None stands for a record that is gone."""
        by_mesh: dict[str, list[tuple[Key, Record | None]]] = defaultdict(list)
        for key, found in latest.items():
            by_mesh[key.name if key.kind == "Mesh" else key.mesh].append((key, found))
        by_mesh.pop("", None)
        for mesh, items in by_mesh.items():
            try:
                await self._take_mesh(mesh, items, revision)
            except Exception:
                # One mesh's fault must not stop the others; its proxies keep what they have.
                log.exception("mesh kept as it was", mesh=mesh)
        async with self._advanced:
            self._revision = max(self._revision, revision)
            self._advanced.notify_all()

    async def _take_mesh(self, mesh: str, items: list[tuple[Key, Record | None]], revision: int) -> None:
        itself = Key("Mesh", "", mesh)
        touched = [record for key, record in items if key == itself]
        if touched == [None]:
            if self._states.pop(mesh, None) is not None:
                self._tell(mesh, None)
            return
        state = self._states.get(mesh)
        for own in filter(None, touched):
            resource = resource_of(own)
            if state is None:
                state = self._states[mesh] = MeshState(MeshSnapshot(MeshSettings(mesh)), resource)
            else:
                state.mesh = resource
        if state is None:
            return
        only_insights = all(key.kind == "DataplaneInsight" for key, _ in items)
        if not only_insights:
            state.changed = max(state.changed, revision)
        changes = await self._changes(state, items)
        if only_insights and state.pending is None and _is_known(state.snapshot, changes.issued):
            return  # what proxies report after each change must not make all of them be looked at again
        if touched or any(key.kind == "Secret" for key, _ in items) or state.pending is not None:
            completed = await self._with_settings(state, changes)
            if completed is None:
                return
            changes = completed
        # One that was removed a moment ago, or the first of its mesh, is in no snapshot that could know it as joining.
        starting = self.starting(mesh)
        joining = {name: True for name, proxy in changes.proxies.items() if proxy is not None and name in starting}
        before = state.snapshot
        state.snapshot = before.apply(
            replace(changes, joining={**changes.joining, **joining}), max(revision, before.revision), _now()
        )
        self.published += 1
        self._tell(mesh, state)

    async def _with_settings(self, state: MeshState, changes: Changes) -> Changes | None:
        """Add what the Mesh says; None when its CA cannot be read and there is no earlier state to keep."""
        name = state.mesh.meta.name
        if state.pending is not None:
            changes, state.pending = _joined(state.pending, changes), None
        try:
            settings, issuing = await self._settings(state.mesh)
        except MeshError as error:
            log.error("the mesh keeps its last CA", mesh=name, reason=str(error))
            if state.snapshot.revision == 0:
                # Never configure proxies in clear text because a CA is missing.
                state.pending = changes
                return None
            return changes
        state.issuing = issuing
        return replace(changes, settings=settings)

    async def _settings(self, mesh: Resource[Mesh]) -> tuple[MeshSettings, Issuing | None]:
        name = mesh.meta.name
        enabled = enabled_backend(mesh.spec)
        if enabled is None:
            return MeshSettings(name), None
        backends = backends_of(mesh.spec)
        roots = await self._authorities.trust_bundle(name, backends)
        await self._authorities.authority(name, backend_of(enabled))
        mode = TlsMode.PERMISSIVE if enabled.mode is MtlsMode.PERMISSIVE else TlsMode.STRICT
        trusted = tuple(backend.name for backend in backends)
        return MeshSettings(name, mode, roots), Issuing(backend_of(enabled), certificate_lifetime(enabled), trusted)

    async def _changes(self, state: MeshState, items: Iterable[tuple[Key, Record | None]]) -> Changes:
        proxies: dict[str, Proxy | None] = {}
        issued: dict[str, bool] = {}
        touched: set[str] = set()
        for number, (key, record) in enumerate(items, start=1):
            if number % _READ_PER_TURN == 0:
                await asyncio.sleep(0)  # many at once must not hold up others
            try:
                if key.kind == "Dataplane":
                    proxies[key.name] = await self._proxy(key, record)
                elif key.kind == "DataplaneInsight":
                    issued[key.name] = record is not None and _accepts_tls(record)
                elif BY_NAME[key.kind].policy is not None:
                    touched.add(key.kind)
                    if record is None:
                        state.policies[key.kind].pop(key.name, None)
                    else:
                        large = len(record.spec) > LARGE_TEXT
                        state.policies[key.kind][key.name] = await aside(large, resource_of, record)
            except MeshError as error:
                log.error(
                    "stored resource left as it was", kind=key.kind, mesh=key.mesh, name=key.name, reason=str(error)
                )
        policies = {kind: tuple(state.policies[kind].values()) for kind in touched}
        return Changes(proxies, policies, issued)

    async def _proxy(self, key: Key, record: Record | None) -> Proxy | None:
        """A Dataplane as its mesh sees it; None when it is gone, or has no address yet."""
        if record is None:
            self._addresses.forget(key)
            return None
        large = len(record.spec) > LARGE_TEXT
        resource = self._addresses.resolved(await aside(large, resource_of, record))
        return None if resource is None else await aside(large, proxy_of, resource)

    def _tell(self, mesh: str, state: MeshState | None) -> None:
        for listener in self._listeners:
            listener(mesh, state)


def _accepts_tls(record: Record) -> bool:
    """Whether the proxy told that it has a certificate and listens with it."""
    if b"issuedBackend" not in record.spec:
        return False
    return bool(json.loads(record.spec).get("mTLS", {}).get("issuedBackend"))


def _is_known(snapshot: MeshSnapshot, issued: Mapping[str, bool]) -> bool:
    return all(snapshot.issued.get(name, False) == accepts for name, accepts in issued.items())


def _joined(one: Changes, other: Changes) -> Changes:
    return Changes(
        {**one.proxies, **other.proxies},
        {**one.policies, **other.policies},
        {**one.issued, **other.issued},
        {**one.joining, **other.joining},
        other.settings or one.settings,
    )


def _now() -> float:
    return asyncio.get_running_loop().time()
