"""Connected proxies: each ADS stream with its session, plan, certificates and observation.

A stream is driven from three sides: requests of the proxy, new snapshots of its mesh, and the clock (certificates to
renew). All run in one loop, so a stream needs no lock; what it sends waits in a small outbox that the data plane
server empties. A session has at most one response per type under way, which bounds the outbox.
"""

from __future__ import annotations

import asyncio
import heapq
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import count
from time import perf_counter
from typing import Final

import structlog

from kuma.core.errors import MeshError
from kuma.core.model.resource import Key
from kuma.core.policies._kit.contract import CannotApply
from kuma.core.resources.dataplane import facts
from kuma.core.snapshot.mesh import MeshSnapshot
from kuma.core.snapshot.plan import Planner
from kuma.core.snapshot.proxy import Proxy
from kuma.core.xds import names
from kuma.core.xds.resources import Desired, Layer, LayerDeltas, XdsResource
from kuma.core.xds.session import (
    Acked,
    Command,
    DeltaSession,
    Nacked,
    Opened,
    Send,
    Session,
    SotwSession,
    Subscribed,
)
from kuma.core.xds.wire import Wire
from kuma.cp.reconcile.identities import Certificate, Identities
from kuma.cp.reconcile.meshes import Meshes, MeshState
from kuma.cp.reconcile.stream import Stream
from kuma.cp.reconcile.trust import Trust

_TURN_SECONDS: Final = 0.002
"""How long streams are brought up to date before other tasks get their turn."""
_CHURN_SECONDS: Final = 0.05
"""A change that follows so soon on a round over the streams is one of many."""
_PAUSES: Final = (3, 6, 12, 24)
"""While changes keep coming: how many times the work of the last round the pause before the next is; it grows."""
_LONGEST_PAUSE: Final = 0.3
_CROWD: Final = 20
"""While more proxies than these are starting, and start indeed, each changes endpoints in a moment."""
_LONGEST_PAUSE_IN_CROWD: Final = 2.0
_RETRY_SECONDS: Final = 5.0
_SERVING: Final = (names.LISTENER, names.CLUSTER)
"""The types without which a proxy takes no traffic."""
Clock = Callable[[], datetime]

log = structlog.get_logger("xds")


@dataclass(slots=True)
class Counts:
    """What passed over all streams since the start: by type, what was made for proxies by mesh."""

    sent: Counter[str] = field(default_factory=Counter)
    sent_bytes: Counter[str] = field(default_factory=Counter)
    acknowledged: Counter[str] = field(default_factory=Counter)
    rejected: Counter[str] = field(default_factory=Counter)
    generated: Counter[str] = field(default_factory=Counter)
    generation_seconds: float = 0.0
    failed: int = 0
    certificates: Counter[str] = field(default_factory=Counter)
    certificates_failed: Counter[str] = field(default_factory=Counter)


class Streams:
    """
    All connected proxies of this control plane instance.

    ``delivered`` is told, with each ACK, how many seconds ago the change it answers became known.
    """

    def __init__(
        self,
        meshes: Meshes,
        planner: Planner,
        identities: Identities,
        wire: Wire,
        clock: Clock,
        delivered: Callable[[float], None],
    ) -> None:
        self._delivered = delivered
        self.counts = Counts()
        self._meshes = meshes
        self._planner = planner
        self._identities = identities
        self._wire = wire
        self._clock = clock
        self._deltas = LayerDeltas()
        self._by_key: dict[Key, Stream] = {}
        self._by_mesh: dict[str, dict[Stream, None]] = defaultdict(dict)
        self._dirty: dict[str, None] = {}
        self._changed = asyncio.Event()
        self._renewals: list[tuple[datetime, int, Stream, str]] = []
        self._tiebreak = count()
        self._due = asyncio.Event()
        self._starting: dict[str, set[str]] = defaultdict(set)
        """Per mesh the proxies whose Envoy has just started: from their announcement until they listen, or end."""
        self._moved = 0.0
        """When that changed last."""
        self._listening: dict[str, dict[str, bool]] = {}
        """Per mesh the proxies that began to listen, and whether with their certificate; noted with the next round."""
        self._trust = Trust(meshes, self.of_mesh, self._wake)
        self._watchers: dict[asyncio.Event, None] = {}
        meshes.starting = lambda mesh: self._starting.get(mesh, ())
        meshes.listen(self._mesh_changed)

    def __len__(self) -> int:
        return len(self._by_key)

    def classes(self, mesh: str) -> int:
        """How many distinct sets of outbounds the proxies of a mesh share."""
        return len({id(stream.plan.outbounds) for stream in self._by_mesh[mesh] if stream.plan is not None})

    def certificate_runway(self, mesh: str) -> float | None:
        """Seconds until the first certificate of a connected proxy ends; None when there is none."""
        ends = [
            certificate.not_after
            for stream in self.of_mesh(mesh)
            for certificate in stream.certificates.values()
            if certificate.backend
        ]
        return (min(ends) - self._clock()).total_seconds() if ends else None

    def all(self) -> tuple[Stream, ...]:
        """Every stream."""
        return tuple(self._by_key.values())

    @contextmanager
    def watch(self) -> Iterator[asyncio.Event]:
        """An event that is set whenever a proxy answered, left, or was given something new."""
        news = asyncio.Event()
        self._watchers[news] = None
        try:
            yield news
        finally:
            del self._watchers[news]

    def _tell_watchers(self) -> None:
        for news in self._watchers:
            news.set()

    def end_all(self) -> None:
        """Close every stream: the control plane stops."""
        for stream in self.all():
            stream.end()

    def of_mesh(self, mesh: str) -> tuple[Stream, ...]:
        """The streams of a mesh."""
        return tuple(self._by_mesh.get(mesh, ()))

    def get(self, key: Key) -> Stream | None:
        """The stream of a Dataplane."""
        return self._by_key.get(key)

    def session(self, *, delta: bool) -> Session:
        """A conversation for a new stream."""
        return (DeltaSession if delta else SotwSession)(self._wire, self._deltas)

    def announcing(self, session: Session) -> Callable[[Key, bool], None]:
        """
        Note a proxy that is about to be registered, for ``Registration.admit``.

        Its peers learn of it as soon as its Dataplane is written; a fresh Envoy must not be sent traffic by then.
        """

        def announce(key: Key, coming: bool) -> None:  # noqa: FBT001 - a callback
            if session.fresh:
                self._starts(key, coming)
                # One that its mesh does not know yet is taken for joining when its Dataplane arrives.
                state = self._meshes.state(key.mesh)
                if state is not None and key.name in state.snapshot.proxies:
                    self._meshes.note(key.mesh, joining={key.name: coming})

        return announce

    def drains(self, key: Key) -> None:
        """A proxy that drains is not sent traffic because it listens, or is about to."""
        self._listening.get(key.mesh, {}).pop(key.name, None)
        stream = self._by_key.get(key)
        if stream is not None:
            stream.drains = True

    def _starts(self, key: Key, starting: bool) -> None:  # noqa: FBT001 - what is noted
        self._moved = perf_counter()
        if starting:
            self._starting[key.mesh].add(key.name)
        else:
            self._starting[key.mesh].discard(key.name)

    async def start(self, stream: Stream, commands: list[Command]) -> None:
        """Take in an admitted stream; ``commands`` came from its first request."""
        self._by_key[stream.key] = stream
        self._by_mesh[stream.key.mesh][stream] = None
        await self._meshes.reached(stream.admitted)
        if stream.session.fresh:
            stream.joining = True
            self._listening.get(stream.key.mesh, {}).pop(stream.key.name, None)
            stream.observation.holds_nothing()
            if not self._is_noted(stream):
                self._meshes.note(stream.key.mesh, joining={stream.key.name: True})
        else:
            # An earlier stream may have ended before the proxy was seen to listen.
            stream.joining = self._is_noted(stream)
        await self._carry_out(stream, commands)
        await self._refresh(stream, self._meshes.state(stream.key.mesh))

    def _is_noted(self, stream: Stream) -> bool:
        """Whether the mesh knows the proxy as one that joins."""
        state = self._meshes.state(stream.key.mesh)
        return state is not None and stream.key.name in state.snapshot.joining

    def finish(self, stream: Stream) -> None:
        """Forget a stream that ended."""
        stream.ended = True
        if self._by_key.get(stream.key) is stream:
            del self._by_key[stream.key]
            self._starts(stream.key, False)
        self._by_mesh[stream.key.mesh].pop(stream, None)
        self._trust.answered(stream)
        self._tell_watchers()
        stream.observation.closed(self._clock())

    async def received(self, stream: Stream, message: bytes) -> None:
        """
        Take a request of the proxy.

        Raises:
            BadRequest: the stream must end.
        """
        await self._carry_out(stream, stream.session.receive(message))

    async def run(self) -> None:
        """Bring streams up to date until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow_meshes(), name="xds: follow meshes")
            group.create_task(self._renew(), name="xds: renew certificates")

    def _mesh_changed(self, mesh: str, state: MeshState | None) -> None:
        self._trust.mesh_changed(mesh, state)
        self._wake(mesh)

    def _wake(self, mesh: str) -> None:
        self._dirty[mesh] = None
        self._changed.set()

    async def _follow_meshes(self) -> None:
        ended = work = 0.0
        repeated = 0
        while True:
            await self._changed.wait()
            # When a thousand proxies join, each changes endpoints for all others: let changes gather, or telling them
            # takes all the time there is. One change by itself goes at once.
            since = perf_counter() - ended
            pause = _PAUSES[repeated] * work
            if since < (min(pause, _LONGEST_PAUSE_IN_CROWD) if self._crowd_starts() else _CHURN_SECONDS):
                await self._gather(pause - since)
                repeated = min(repeated + 1, len(_PAUSES) - 1)
            else:
                repeated = 0
            self._note_listening()
            self._changed.clear()
            dirty, self._dirty = self._dirty, {}
            work = 0.0
            for mesh in dirty:
                work += await self._bring_up_to_date(mesh)
            ended = perf_counter()

    def _crowd_starts(self) -> bool:
        """Whether a crowd is starting, and any of them came or began to listen a moment ago: some never will."""
        if perf_counter() - self._moved > _LONGEST_PAUSE:
            return False
        return sum(len(self._starting.get(mesh, ())) for mesh in self._dirty) > _CROWD

    async def _gather(self, seconds: float) -> None:
        """Let changes gather for so long, but not for longer than what is allowed."""
        left = min(seconds, _LONGEST_PAUSE_IN_CROWD)
        while left > 0:
            await asyncio.sleep(min(left, _LONGEST_PAUSE))
            left -= _LONGEST_PAUSE
            if not self._crowd_starts():
                return

    async def _bring_up_to_date(self, mesh: str) -> float:
        """The seconds of work it was, without the turns of others."""
        state = self._meshes.state(mesh)
        work, turn = 0.0, perf_counter()
        for stream in self.of_mesh(mesh):
            if not stream.ended and stream.admitted <= self._meshes.revision:
                await self._refresh(stream, state)
            # The loop's own clock stands still within a turn.
            if perf_counter() - turn > _TURN_SECONDS:
                work += perf_counter() - turn
                await asyncio.sleep(0)
                turn = perf_counter()
        return work + perf_counter() - turn

    def _note_listening(self) -> None:
        """Let proxies that listen now take part, all of a round in one new snapshot."""
        listening, self._listening = self._listening, {}
        for mesh, issued in listening.items():
            confirmed = {name: True for name, holds in issued.items() if holds}
            self._meshes.note(mesh, joining=dict.fromkeys(issued, False), issued=confirmed)

    async def _refresh(self, stream: Stream, state: MeshState | None, *, only_secrets: bool = False) -> None:
        """
        Bring one stream to the newest snapshot; on any failure its proxy keeps what it has.

        With ``only_secrets`` the rest waits for the next round, which every new snapshot brings: a proxy that joins
        among many would otherwise be sent all endpoints again with each secret it asks for.
        """
        proxy = None if state is None else state.snapshot.proxies.get(stream.key.name)
        if state is None or proxy is None:
            return
        try:
            await self._certify(stream, state, proxy)
        except Exception as error:  # noqa: BLE001 - one proxy's fault must not stop the others
            self.counts.certificates_failed[stream.key.mesh] += 1
            self._failed(stream, error, state.snapshot)
            identity = names.identity_secret(stream.key.mesh)
            if identity not in stream.certificates and not stream.uncertified:
                stream.uncertified = True
                self._try_again(stream, identity)
            return
        try:
            # Certifying may have waited: take the newest snapshot from here on, without waiting again.
            proxy = state.snapshot.proxies.get(stream.key.name, proxy)
            if stream.plan is None or not only_secrets:
                started = perf_counter()
                stream.plan = self._planner.plan(state.snapshot, proxy, stream.traits, stream.plan)
                self.counts.generation_seconds += perf_counter() - started
                self.counts.generated[stream.key.mesh] += 1
            desired = _unique(stream.plan.desired(stream.secrets))
        except Exception as error:  # noqa: BLE001 - see above
            self._failed(stream, error, state.snapshot)
            return
        stream.problem, stream.problem_in, stream.blamed = "", None, ()
        stream.observation.stuck("")
        await self._carry_out(stream, stream.session.update(desired))
        self._observe_readiness(stream, state)

    def _failed(self, stream: Stream, error: Exception, snapshot: MeshSnapshot) -> None:
        self.counts.failed += 1
        expected = isinstance(error, MeshError)
        reason = str(error) if expected else f"unexpected: {error!r}"
        if reason != stream.problem:
            # What a user wrote and can mend is no error of ours.
            tell = log.warning if expected else log.error
            tell(
                "proxy keeps its last configuration",
                mesh=stream.key.mesh,
                dataplane=stream.key.name,
                reason=reason,
                exc_info=not expected,
            )
        stream.problem, stream.problem_in = reason, snapshot
        stream.blamed = error.policies if isinstance(error, CannotApply) else ()
        stream.observation.stuck(reason)

    async def _certify(self, stream: Stream, state: MeshState, proxy: Proxy) -> None:
        """Make sure that every certificate the proxy asked for exists and is fresh."""
        now = self._clock()
        basis, known = (proxy, state.issuing), stream.certified
        if (
            known is not None
            and known[0] is basis[0]
            and known[1] is basis[1]
            and all(now < certificate.renew_at for certificate in stream.certificates.values())
        ):
            return
        wanted: dict[str, Certificate] = {}
        identity = names.identity_secret(stream.key.mesh)
        if identity in stream.held and state.issuing is not None:
            issuing = self._trust.issuing_now(stream.key.mesh, state.issuing)
            wanted[identity] = await self._identities.identity(
                proxy, issuing, stream.certificates.get(identity), stream.held[identity], now
            )
            if state.issuing is not basis[1] or state.snapshot.proxies.get(stream.key.name) is not proxy:
                return  # overtaken while it waited: the round that each new snapshot brings sees to it
        if names.ADMIN_SECRET in stream.held and stream.traits.admin is not None:
            wanted[names.ADMIN_SECRET] = self._identities.admin(
                facts.networking(proxy.resource.spec).address,
                stream.certificates.get(names.ADMIN_SECRET),
                stream.held[names.ADMIN_SECRET],
                now,
            )
        stream.certified = None if self._trust.spreads(stream.key.mesh) else basis
        if wanted == stream.certificates:
            return
        for name, certificate in wanted.items():
            if stream.certificates.get(name) is not certificate:
                self.counts.certificates[stream.key.mesh] += not certificate.secret.held
                heapq.heappush(self._renewals, (certificate.renew_at, next(self._tiebreak), stream, name))
                self._due.set()
        stream.certificates = wanted
        stream.secrets = Layer.of(certificate.secret for certificate in wanted.values())

    async def _renew(self) -> None:
        while True:
            now = self._clock()
            while self._renewals and self._renewals[0][0] <= now:
                _, _, stream, name = heapq.heappop(self._renewals)
                await self._renew_one(stream, name, now)
            self._due.clear()
            try:
                async with asyncio.timeout(self._until_next(now)):
                    await self._due.wait()
            except TimeoutError:
                continue

    async def _renew_one(self, stream: Stream, name: str, now: datetime) -> None:
        """Make a certificate that is due, unless that was done meanwhile."""
        certificate = stream.certificates.get(name)
        if certificate is None:
            due, stream.uncertified = stream.uncertified, False
        else:
            due = certificate.renew_at <= now
        if stream.ended or not due:
            return
        await self._refresh(stream, self._meshes.state(stream.key.mesh))
        if certificate is not None and stream.certificates.get(name) is certificate:
            self._try_again(stream, name)  # while the old one lasts

    def _try_again(self, stream: Stream, name: str) -> None:
        retry = self._clock() + timedelta(seconds=_RETRY_SECONDS)
        heapq.heappush(self._renewals, (retry, next(self._tiebreak), stream, name))
        self._due.set()

    def _until_next(self, now: datetime) -> float | None:
        return max(0.05, (self._renewals[0][0] - now).total_seconds()) if self._renewals else None

    async def _carry_out(self, stream: Stream, commands: Iterable[Command]) -> None:
        refresh = False
        for command in commands:
            match command:
                case Send(type_url, message):
                    stream.outbox.append(message)
                    stream.wake.set()
                    stream.observation.sent(type_url)
                    stream.sent_at[type_url] = stream.plan.snapshot.known_at if stream.plan is not None else 0.0
                    self.counts.sent[type_url] += 1
                    self.counts.sent_bytes[type_url] += len(message)
                case Acked(type_url):
                    stream.rejections.pop(type_url, None)
                    stream.observation.acknowledged(type_url, self._clock())
                    if type_url == names.SECRET:
                        self._trust.answered(stream)
                    self.counts.acknowledged[type_url] += 1
                    self._delivered(max(0.0, asyncio.get_running_loop().time() - stream.sent_at[type_url]))
                case Nacked(type_url, version, message):
                    self.counts.rejected[type_url] += 1
                    stream.rejections[type_url] = message
                    log.warning(
                        "proxy refused its configuration and keeps the last one",
                        mesh=stream.key.mesh,
                        dataplane=stream.key.name,
                        type=type_url.rpartition(".")[2],
                        envoy=message,
                    )
                    stream.observation.rejected(type_url, version, message, self._clock())
                case Subscribed(names.SECRET, wanted, held):
                    refresh = self._asked_for(stream, wanted, held) or refresh
                case Subscribed() | Opened():
                    pass
        self._tell_watchers()
        state = self._meshes.state(stream.key.mesh)
        if refresh and stream.plan is not None:
            await self._refresh(stream, state, only_secrets=True)
        elif state is not None:
            self._observe_readiness(stream, state)

    def _asked_for(self, stream: Stream, wanted: frozenset[str], held: object) -> bool:
        """Note which secrets the proxy asks for; one asked for again was lost and must be made again."""
        versions = held if isinstance(held, dict) else dict(held)  # type: ignore[call-overload]
        stream.certified = None
        for name in wanted:
            stream.held[name] = versions.get(name, "")
            certificate = stream.certificates.get(name)
            if certificate is not None and certificate.secret.held and certificate.secret.version != stream.held[name]:
                del stream.certificates[name]
        return bool(wanted)

    def _observe_readiness(self, stream: Stream, state: MeshState) -> None:
        """
        See whether the proxy has all it needs to serve, now that it answered.

        It takes part in mutual TLS once it has its certificate and listens with it; it is sent traffic once it listens.
        A proxy that refused a listener listens on the others, so it is sent traffic all the same.
        """
        plan = stream.plan
        if plan is None or plan.snapshot.settings != state.snapshot.settings:
            return
        certificate = stream.certificates.get(names.identity_secret(stream.key.mesh))
        if not stream.joining and stream.judged == (certificate, plan.snapshot.settings):
            return
        session = stream.session
        if not all(map(session.heard, _SERVING)):
            return
        if state.issuing is not None and not (certificate is not None and session.settled(names.SECRET)):
            return
        issued = False
        if all(map(session.settled, _SERVING)):
            stream.judged = (certificate, plan.snapshot.settings)
            if state.issuing is None:
                stream.observation.secured(None, (), self._clock())
            else:
                stream.observation.secured(certificate, state.issuing.backends, self._clock())
                issued = True
        if stream.joining and not stream.drains:
            stream.joining = False
            self._starts(stream.key, False)
            self._listening.setdefault(stream.key.mesh, {})[stream.key.name] = issued
            self._wake(stream.key.mesh)


def _unique(desired: Desired) -> Desired:
    """
    Drop from the shared outbounds what bears the name of something of the proxy's own.

    A service may be called like a local cluster (``localhost:8080``); the proxy's own application wins.
    """
    own, outbounds = desired.layers[0], desired.layers[1]
    clashing = own.by_name(names.CLUSTER).keys() & outbounds.by_name(names.CLUSTER).keys()
    if not clashing:
        return desired
    kept: dict[str, dict[str, XdsResource]] = {url: dict(outbounds.by_name(url)) for url in outbounds.types()}
    for name in clashing:
        del kept[names.CLUSTER][name]
    return Desired((own, Layer(kept), *desired.layers[2:]), desired.revision)
