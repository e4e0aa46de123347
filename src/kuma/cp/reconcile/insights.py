"""What is observed of connected proxies, written to the store as DataplaneInsights.

Writes are batched: news that a person waits for (connected, disconnected, rejected, certificate) within
``NEWS_PAUSE``, counters every ``flush_interval``. An unchanged insight is not written, and none of these writes wakes
the computation of a mesh unless a proxy's readiness for mutual TLS changed.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, Protocol

import structlog

from kuma.core.model.resource import Key
from kuma.core.xds.names import CLUSTER, ENDPOINT, LISTENER, ROUTE
from kuma.cp.reconcile.identities import Certificate
from kuma.cp.store.port import CONTROL_PLANE, Put, Store

NEWS_PAUSE: Final = 0.1
"""Seconds that news may wait for more news to be written with."""
_COUNTED: Final = {CLUSTER: "cds", ENDPOINT: "eds", LISTENER: "lds", ROUTE: "rds"}
_MAX_MESSAGE: Final = 4096
_REGISTERED: Final = "registeredByProxy"
"""In an insight's metadata: the Dataplane was written by its proxy, and is removed with it."""
_MADE_PER_TURN: Final = 20
"""Insights made before other tasks get their turn."""
Clock = Callable[[], datetime]

log = structlog.get_logger("insights")


def timestamp(moment: datetime) -> str:
    """RFC 3339 in UTC, as protobuf's JSON mapping prints it."""
    text = moment.isoformat(timespec="microseconds" if moment.microsecond else "seconds")
    return text.replace("+00:00", "Z")


@dataclass(slots=True)
class _Counter:
    sent: int = 0
    acknowledged: int = 0
    rejected: int = 0
    last_rejection: Mapping[str, str] | None = None

    def to_json(self) -> dict[str, Any]:
        fields: dict[str, Any] = {}
        if self.sent:
            fields["responsesSent"] = str(self.sent)
        if self.acknowledged:
            fields["responsesAcknowledged"] = str(self.acknowledged)
        if self.rejected:
            fields["responsesRejected"] = str(self.rejected)
        if self.last_rejection:
            fields["lastRejection"] = dict(self.last_rejection)
        return fields


class Tell(Protocol):
    """Called with every news of a stream; ``urgent`` news are waited for by somebody."""

    def __call__(self, observation: Observation, *, urgent: bool) -> None: ...


@dataclass(slots=True, eq=False)
class Observation:
    """What is observed of one stream; the stream tells, the writer writes."""

    key: Key
    stream: str
    instance: str
    connected: datetime
    versions: Mapping[str, Any]
    tell: Tell
    registered: bool = False
    disconnected: datetime | None = None
    updated: datetime | None = None
    counters: dict[str, _Counter] = field(default_factory=dict)
    mtls: dict[str, Any] | None = None
    judged: bool = False
    """Whether ``mtls`` is known; until then what an earlier stream told holds."""
    regenerations: int = 0
    problem: str = ""
    """Why no configuration can be made for the proxy, which keeps its last one."""
    earlier_regenerations: int | None = None
    """Certificates issued to the proxy before this stream, None until they were looked up."""

    @property
    def version(self) -> str:
        """The version of the proxy's kuma-dp."""
        told = self.versions.get("kumaDp")
        version = told.get("version") if isinstance(told, Mapping) else None
        return version if isinstance(version, str) else "unknown"

    def sent(self, type_url: str) -> None:
        """A response went out."""
        self._counter(type_url).sent += 1
        self.tell(self, urgent=False)

    def acknowledged(self, type_url: str, now: datetime) -> None:
        """A response was accepted."""
        self._counter(type_url).acknowledged += 1
        self.updated = now
        self.tell(self, urgent=False)

    def rejected(self, type_url: str, version: str, message: str, now: datetime) -> None:
        """A response was refused, in Envoy's words."""
        counter = self._counter(type_url)
        counter.rejected += 1
        counter.last_rejection = {"time": timestamp(now), "version": version, "message": message[:_MAX_MESSAGE]}
        self.updated = now
        self.tell(self, urgent=True)

    def stuck(self, problem: str) -> None:
        """No configuration can be made for the proxy, or, with an empty text, it can be again."""
        if problem != self.problem:
            self.problem = problem[:_MAX_MESSAGE]
            self.tell(self, urgent=True)

    def closed(self, now: datetime) -> None:
        """The stream ended."""
        self.disconnected = now
        self.tell(self, urgent=True)

    def holds_nothing(self) -> None:
        """The proxy's Envoy has just started, so what an earlier one held is gone."""
        self.judged = True

    def secured(self, certificate: Certificate | None, trusted: tuple[str, ...], now: datetime) -> None:
        """The proxy holds this certificate and trusts these backends; None: it takes no part in mutual TLS."""
        first, self.judged = not self.judged, True
        if certificate is None:
            changed, self.mtls = first or self.mtls is not None, None
        else:
            expires = timestamp(certificate.not_after)
            changed = self.mtls is None or self.mtls["certificateExpirationTime"] != expires
            self.regenerations += changed and not certificate.secret.held
            made = certificate.not_before if certificate.secret.held else now
            present = {
                "certificateExpirationTime": expires,
                "lastCertificateRegeneration": timestamp(made)
                if changed
                else (self.mtls or {})["lastCertificateRegeneration"],
                "issuedBackend": certificate.backend,
                "supportedBackends": list(trusted),
            }
            changed = changed or present != self.mtls
            self.mtls = present
        if changed:
            self.tell(self, urgent=True)

    def subscription(self) -> dict[str, Any]:
        """The stream as a subscription of the insight."""
        total = _Counter(
            sum(counter.sent for counter in self.counters.values()),
            sum(counter.acknowledged for counter in self.counters.values()),
            sum(counter.rejected for counter in self.counters.values()),
        )
        status: dict[str, Any] = {"total": total.to_json()}
        if self.updated is not None:
            status["lastUpdateTime"] = timestamp(self.updated)
        if self.problem:
            status["problem"] = self.problem
        status.update((_COUNTED[url], counter.to_json()) for url, counter in self.counters.items() if url in _COUNTED)
        subscription: dict[str, Any] = {
            "id": self.stream,
            "controlPlaneInstanceId": self.instance,
            "connectTime": timestamp(self.connected),
            "status": status,
            "version": self.versions,
        }
        if self.disconnected is not None:
            subscription["disconnectTime"] = timestamp(self.disconnected)
        return subscription

    def _counter(self, type_url: str) -> _Counter:
        return self.counters.setdefault(type_url, _Counter())


class Insights:
    """
    Writes observations.

    ``exists`` tells whether a Dataplane exists (an insight never outlives it); ``limit`` is how many subscriptions are
    kept of one proxy, 0 for all.
    """

    def __init__(
        self,
        store: Store,
        instance: str,
        clock: Clock,
        exists: Callable[[Key], bool],
        *,
        flush_interval: timedelta,
        limit: int,
    ) -> None:
        self._store = store
        self._exists = exists
        self._instance = instance
        self._clock = clock
        self._flush_interval = flush_interval.total_seconds()
        self._limit = limit
        self._waiting: dict[Observation, None] = {}
        self._news = asyncio.Event()
        self._earlier: dict[Key, tuple[list[dict[str, Any]], dict[str, Any] | None]] = {}

    def open(self, key: Key, stream: str, versions: Mapping[str, Any], *, registered: bool = False) -> Observation:
        """Begin to observe a stream; ``key`` is that of the Dataplane, ``registered`` tells that it came with it."""
        plain = json.loads(json.dumps(versions, default=dict))
        made = Observation(key, stream, self._instance, self._clock(), plain, self._tell, registered)
        self._tell(made, urgent=True)
        return made

    async def run(self) -> None:
        """Write until cancelled, then write what is left."""
        try:
            while True:
                try:
                    async with asyncio.timeout(self._flush_interval):
                        await self._news.wait()
                    await asyncio.sleep(NEWS_PAUSE)
                except TimeoutError:
                    pass
                await self.flush()
        finally:
            await self.flush()

    async def close_stale(self) -> tuple[Key, ...]:
        """
        Mark streams as ended that an earlier run of this control plane left open.

        Only for stores that belong to one instance; what is connected will say so again.

        Returns:
            The Dataplanes among them that came with their proxy, and go with it if it does not come back.
        """
        now = timestamp(self._clock())
        batch: list[Put] = []
        registered: list[Key] = []
        for record in await self._store.list("DataplaneInsight"):
            spec = json.loads(record.spec)
            stale = [one for one in spec.get("subscriptions", ()) if "disconnectTime" not in one]
            for subscription in stale:
                subscription["disconnectTime"] = now
            if stale:
                batch.append(_put(record.key, spec, record.owner))
                if spec.get("metadata", {}).get(_REGISTERED):
                    registered.append(Key("Dataplane", record.key.mesh, record.key.name))
        if batch:
            await self._store.write(batch, author=CONTROL_PLANE, now=self._clock())
        return tuple(registered)

    async def flush(self) -> None:
        """Write what waits."""
        self._news.clear()
        waiting, self._waiting = self._waiting, {}
        if not waiting:
            return
        known = {one: None for one in waiting if self._exists(one.key)}
        # A proxy that has just registered is not in its mesh's snapshot yet; one that left is never again.
        self._waiting.update((one, None) for one in waiting if one not in known and one.disconnected is None)
        try:
            batch: list[Put] = []
            for one in known:
                batch.append(await self._insight(one))
                if len(batch) % _MADE_PER_TURN == 0:
                    await asyncio.sleep(0)  # many at once must not hold up others
            if batch:
                await self._store.write(batch, author=CONTROL_PLANE, now=self._clock())
        except Exception as error:  # noqa: BLE001 - what is observed must not stop what is served
            log.warning("insights wait for the store", reason=repr(error), proxies=len(known))
            self._waiting = {**known, **self._waiting}
        for observation in waiting:
            if observation.disconnected is not None:
                self._earlier.pop(_insight_key(observation.key), None)

    async def _insight(self, observation: Observation) -> Put:
        key = _insight_key(observation.key)
        if key not in self._earlier:
            record = await self._store.find(key)
            spec = {} if record is None else json.loads(record.spec)
            kept = [one for one in spec.get("subscriptions", ()) if one["id"] != observation.stream]
            self._earlier[key] = (self._kept(kept), spec.get("mTLS"))
        earlier, last_mtls = self._earlier[key]
        if observation.earlier_regenerations is None:
            observation.earlier_regenerations = int((last_mtls or {}).get("certificateRegenerations", 0))
        spec = {"subscriptions": [*earlier, observation.subscription()]}
        mtls = last_mtls
        if observation.judged:
            regenerations = observation.earlier_regenerations + observation.regenerations
            mtls = observation.mtls and {**observation.mtls, "certificateRegenerations": regenerations}
        if mtls is not None:
            spec["mTLS"] = mtls
        if observation.registered:
            spec["metadata"] = {_REGISTERED: True}
        if observation.disconnected is not None:
            # The proxy's next stream may be in the same batch.
            self._earlier[key] = (self._kept(spec["subscriptions"]), mtls)
        return _put(key, spec, observation.key)

    def _kept(self, earlier: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The subscriptions that stay beside that of a new stream."""
        if self._limit == 0:
            return earlier
        return earlier[-(self._limit - 1) :] if self._limit > 1 else []

    def _tell(self, observation: Observation, *, urgent: bool) -> None:
        self._waiting[observation] = None
        if urgent:
            self._news.set()


def _insight_key(dataplane: Key) -> Key:
    return Key("DataplaneInsight", dataplane.mesh, dataplane.name)


def _put(key: Key, spec: Mapping[str, Any], owner: Key | None) -> Put:
    text = json.dumps(spec, separators=(",", ":"), ensure_ascii=False).encode()
    return Put(key, text, labels={"kuma.io/mesh": key.mesh}, owner=owner, unlogged=True)
