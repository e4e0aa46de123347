"""HDS: sends each proxy what to probe, and writes what it found to its Dataplane."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import datetime
from time import perf_counter
from typing import Any, Final

import structlog
from google.protobuf.message import DecodeError
from granian.rsgi import ProtocolClosed  # type: ignore[attr-defined]  # re-exported without a mark

from kuma.core.errors import BadRequest, Conflict, MeshError
from kuma.core.model.codec import decode_spec, encode_spec
from kuma.core.model.resource import Key
from kuma.core.resources.dataplane import facts
from kuma.core.snapshot.proxy import Proxy
from kuma.core.xds.health import ProbeDefaults, admin_is_well, found_health, specifier
from kuma.core.xds.node import ProxyNode
from kuma.core.xds.view import AdminView
from kuma.cp.reconcile.credentials import Credentials
from kuma.cp.reconcile.meshes import Meshes, MeshState
from kuma.cp.reconcile.registration import Registration
from kuma.cp.server.dp import grpc
from kuma.cp.server.dp.proxies import admin_view
from kuma.cp.server.dp.refusals import Refusals
from kuma.cp.store.port import CONTROL_PLANE, Put, Store
from kuma.envoy_api.envoy.service.health.v3.hds_pb2 import (
    EndpointHealthResponse,
    HealthCheckRequestOrEndpointHealthResponse,
)

PATH: Final = "/envoy.service.health.v3.HealthDiscoveryService/StreamHealthCheck"
_FIRST_REQUEST_SECONDS: Final = 30
_WRITE_ATTEMPTS: Final = 5
Clock = Callable[[], datetime]

log = structlog.get_logger("hds")


@dataclass(slots=True, eq=False)
class _Watched:
    """The Dataplane of one stream; ``changed`` is set whenever it is another object than before."""

    key: Key
    proxy: Proxy | None = None
    seen_well: bool = False
    """Envoy's admin interface answered once. Before that it only says that Envoy is still starting."""
    changed: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(slots=True)
class HealthCounts:
    """What passed over all streams since the start."""

    requests: int = 0
    reports: int = 0
    generated: int = 0
    generation_seconds: float = 0.0
    failed: int = 0


class HdsServer:
    """Serves HDS streams. A proxy joins by its ADS stream; here it only has to show the same token."""

    def __init__(
        self,
        store: Store,
        meshes: Meshes,
        registration: Registration,
        credentials: Credentials,
        clock: Clock,
        defaults: ProbeDefaults,
    ) -> None:
        self._store = store
        self._meshes = meshes
        self._registration = registration
        self._credentials = credentials
        self._clock = clock
        self._defaults = defaults
        self._watched: dict[str, dict[_Watched, None]] = defaultdict(dict)
        self._refusals = Refusals()
        self.counts = HealthCounts()
        meshes.listen(self._mesh_changed)

    def __len__(self) -> int:
        return sum(map(len, self._watched.values()))

    async def serve(self, scope: grpc.Scope, exchange: grpc.Exchange) -> None:
        """One stream, from its first request to its end."""
        incoming = aiter(grpc.messages(exchange))
        watched: _Watched | None = None
        try:
            async with asyncio.timeout(_FIRST_REQUEST_SECONDS):
                first = _parse(await anext(incoming))
                self.counts.requests += 1
                node = ProxyNode.parse(first.health_check_request.node)
                watched = self._watch(Key("Dataplane", node.mesh, node.name))
                proxy = await _present(watched)
                credential = await self._registration.authenticate(
                    watched.key, grpc.credential(scope), proxy.resource.spec, proxy.resource.meta.labels
                )
            ended = asyncio.Event()
            held = self._credentials.held(watched.key, credential, ended.set)
            with held, grpc.accepted(exchange) as response:
                await self._converse(watched, node, incoming, response, ended)
        except StopAsyncIteration:
            return
        except TimeoutError:
            grpc.refuse(exchange, grpc.UNAVAILABLE, "the dataplane of this proxy did not appear; try again later")
        except MeshError as error:
            who = f"{watched.key.mesh}.{watched.key.name}" if watched is not None else ""
            self._refusals.tell("health stream refused", node=who, address=scope.client, reason=str(error))
            grpc.refuse(exchange, grpc.UNAUTHENTICATED, f"authentication failed: {error}")
        except ExceptionGroup as errors:
            unexpected = errors.split((MeshError, ProtocolClosed))[1]
            if unexpected is not None:
                raise unexpected from None
        finally:
            if watched is not None:
                self._watched[watched.key.mesh].pop(watched, None)

    async def _converse(
        self,
        watched: _Watched,
        node: ProxyNode,
        incoming: AsyncIterator[bytes],
        response: grpc.Response,
        ended: asyncio.Event,
    ) -> None:
        """Until either side ends, or ``ended``."""
        async with asyncio.TaskGroup() as group:
            tasks: list[asyncio.Task[Any]] = [
                group.create_task(self._send(watched, admin_view(node, b""), response), name=f"hds send {node.name}"),
                group.create_task(self._receive(watched, incoming), name=f"hds receive {node.name}"),
                group.create_task(ended.wait(), name=f"hds end {node.name}"),
            ]
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                task.cancel()

    async def _send(self, watched: _Watched, admin: AdminView | None, response: grpc.Response) -> None:
        sent = b""
        while True:
            watched.changed.clear()
            if watched.proxy is not None:
                message = self._made(watched.proxy, admin)
                if message != sent:
                    await response.send(message)
                    sent = message
            await watched.changed.wait()

    def _made(self, proxy: Proxy, admin: AdminView | None) -> bytes:
        started = perf_counter()
        try:
            message = specifier(proxy.resource.spec, admin, self._defaults).SerializeToString(deterministic=True)
        except MeshError:
            self.counts.failed += 1
            raise
        self.counts.generated += 1
        self.counts.generation_seconds += perf_counter() - started
        return message

    async def _receive(self, watched: _Watched, incoming: AsyncIterator[bytes]) -> None:
        async for message in incoming:
            request = _parse(message)
            self.counts.reports += request.HasField("endpoint_health_response")
            if request.HasField("endpoint_health_response") and watched.proxy is not None:
                watched.seen_well = watched.seen_well or admin_is_well(request.endpoint_health_response)
                if not watched.seen_well:
                    continue
                spec = watched.proxy.resource.spec
                if facts.with_health(spec, found_health(spec, request.endpoint_health_response)) is not spec:
                    await self._take(watched.key, request.endpoint_health_response)

    async def _take(self, key: Key, report: EndpointHealthResponse) -> None:
        """Write what a report says; a concurrent write of the Dataplane is respected."""
        for _ in range(_WRITE_ATTEMPTS):
            record = await self._store.find(key)
            if record is None:
                return
            before = decode_spec("Dataplane", record.spec)
            after = facts.with_health(before, found_health(before, report))
            if after is before:
                return
            put = Put(
                key, encode_spec(after), record.labels, record.status, record.owner, record.version, unlogged=True
            )
            try:
                await self._store.write([put], author=CONTROL_PLANE, now=self._clock())
            except Conflict:
                continue
            ready = {facts.section_of(x): facts.is_ready(x) for x in facts.networking(after).inbound}
            log.info("health of inbounds changed", mesh=key.mesh, dataplane=key.name, ready=ready)
            return

    def _watch(self, key: Key) -> _Watched:
        watched = _Watched(key)
        self._watched[key.mesh][watched] = None
        _look(watched, self._meshes.state(key.mesh))
        return watched

    def _mesh_changed(self, mesh: str, state: MeshState | None) -> None:
        for watched in self._watched.get(mesh, ()):
            _look(watched, state)


def _look(watched: _Watched, state: MeshState | None) -> None:
    proxy = None if state is None else state.snapshot.proxies.get(watched.key.name)
    if proxy is not watched.proxy:
        watched.proxy = proxy
        watched.changed.set()


async def _present(watched: _Watched) -> Proxy:
    """Wait until the Dataplane exists: this stream may be faster than the ADS stream that registers it."""
    while watched.proxy is None:
        await watched.changed.wait()
        watched.changed.clear()
    return watched.proxy


def _parse(message: bytes) -> HealthCheckRequestOrEndpointHealthResponse:
    try:
        return HealthCheckRequestOrEndpointHealthResponse.FromString(message)
    except DecodeError as error:
        raise BadRequest("not a health discovery request") from error
