"""The data plane server with everything behind it, in this process, and proxies that talk to it over TLS and gRPC."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc

from kuma.core.identity.claims import DataplaneClaims
from kuma.core.model.kinds import BY_NAME
from kuma.core.model.resource import Key
from kuma.core.snapshot.plan import Planner
from kuma.core.xds.bootstrap import BootstrapParams
from kuma.core.xds.generate import Generator
from kuma.core.xds.health import ProbeDefaults
from kuma.core.xds.names import CLUSTER, ENDPOINT, LISTENER, SECRET
from kuma.core.xds.wire import Wire
from kuma.cp.ca.authorities import Authorities
from kuma.cp.ca.authority import CertificateAuthority
from kuma.cp.certificates.server import ServerTls, ensure_server_tls
from kuma.cp.certificates.stored import CONTROL_PLANE_CA, ENVOY_ADMIN_CA, ensure_stored_authority
from kuma.cp.config.sections.dp_server import DpServer
from kuma.cp.reconcile.addresses import Addresses
from kuma.cp.reconcile.credentials import Credentials
from kuma.cp.reconcile.draining import Draining
from kuma.cp.reconcile.identities import Identities
from kuma.cp.reconcile.insights import Insights
from kuma.cp.reconcile.meshes import Meshes
from kuma.cp.reconcile.registration import Registration
from kuma.cp.reconcile.streams import Streams
from kuma.cp.resources.service import Resources
from kuma.cp.server.dp import ads, hds
from kuma.cp.server.dp.ads import AdsServer
from kuma.cp.server.dp.bootstrap import BootstrapServer
from kuma.cp.server.dp.drain import DrainServer
from kuma.cp.server.dp.hds import HdsServer
from kuma.cp.server.dp.server import DataplaneServer, Services
from kuma.cp.store.memory import MemoryStore
from kuma.cp.store.port import CONTROL_PLANE
from kuma.cp.tokens.issuer import TokenIssuer
from kuma.cp.tokens.keys import SigningKeys
from kuma.cp.tokens.verifier import TokenVerifier
from kuma.envoy_api.envoy.config.cluster.v3.cluster_pb2 import Cluster
from kuma.envoy_api.envoy.config.core.v3.base_pb2 import Node
from kuma.envoy_api.envoy.config.endpoint.v3.endpoint_pb2 import ClusterLoadAssignment
from kuma.envoy_api.envoy.config.listener.v3.listener_pb2 import Listener
from kuma.envoy_api.envoy.extensions.transport_sockets.tls.v3.secret_pb2 import Secret
from kuma.envoy_api.envoy.service.discovery.v3.discovery_pb2 import (
    DeltaDiscoveryRequest,
    DeltaDiscoveryResponse,
    DiscoveryRequest,
    DiscoveryResponse,
)
from kuma.envoy_api.envoy.service.health.v3.hds_pb2 import (
    HealthCheckRequestOrEndpointHealthResponse,
    HealthCheckSpecifier,
)
from tests.e2e.harness.ports import free_port

PATIENCE = 20.0


def now() -> datetime:
    """The clock is the real one: tokens and certificates are checked against it."""
    return datetime.now(UTC)


async def eventually(condition: Callable[[], Any]) -> Any:
    """What a condition gives once it is true. Fails with a sentence when it does not become true."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + PATIENCE
    while True:
        found = condition()
        if asyncio.iscoroutine(found):
            found = await found
        if found:
            return found
        if loop.time() > deadline:
            raise AssertionError(f"never came to be: {getattr(condition, '__doc__', None) or condition}")
        await asyncio.sleep(0.01)


@dataclass
class Stack:
    """A control plane as far as proxies see it."""

    store: MemoryStore
    resources: Resources
    issuer: TokenIssuer
    meshes: Meshes
    streams: Streams
    insights: Insights
    credentials: Credentials
    health: HdsServer
    tls: ServerTls
    port: int
    authority: CertificateAuthority
    server: DataplaneServer

    async def apply(self, **document: Any) -> int:
        """Write a resource, as a user does; the revision that contains it."""
        kind = BY_NAME[document["type"]]
        written = await self.resources.put(
            kind,
            document.get("mesh", ""),
            document["name"],
            document,
            author=CONTROL_PLANE,
            allowed=lambda _: None,
        )
        return written.revision

    async def delete(self, kind: str, name: str) -> None:
        """Delete a resource of the mesh ``default``."""
        await self.resources.delete(BY_NAME[kind], "default", name, author=CONTROL_PLANE, allowed=lambda _: None)

    async def token(self, name: str = "", mesh: str = "default", **claims: Any) -> str:
        """A dataplane token."""
        valid_for = claims.pop("valid_for", timedelta(hours=1))
        return await self.issuer.issue_dataplane_token(
            DataplaneClaims(name, mesh, **claims), now=now(), valid_for=valid_for
        )

    async def insight(self, name: str) -> dict[str, Any]:
        """What is observed of a proxy; empty when there is nothing."""
        record = await self.store.find(Key("DataplaneInsight", "default", name))
        return {} if record is None else json.loads(record.spec)

    def channel(self) -> grpc.aio.Channel:
        """A connection of its own."""
        return grpc.aio.secure_channel(
            f"localhost:{self.port}",
            grpc.ssl_channel_credentials(self.tls.ca_pem),
            options=[("grpc.use_local_subchannel_pool", 1)],
        )


@asynccontextmanager
async def running(
    folder: Path,
    *,
    deregistration_delay: float = 0.3,
    all_back_in: float = 0.0,
    limits: Mapping[str, Any] | None = None,
    authorities_of: Callable[[MemoryStore], Authorities] = Authorities,
) -> AsyncIterator[Stack]:
    """
    A stack with the mesh ``default``.

    ``all_back_in`` seconds proxies of an earlier run may still come back; ``limits`` are TLS settings of the port.
    """
    store = MemoryStore()
    resources = Resources(store, now)
    await resources.put(
        BY_NAME["Mesh"],
        "",
        "default",
        {"type": "Mesh", "name": "default", "skipCreatingInitialPolicies": ["*"]},
        author=CONTROL_PLANE,
        allowed=lambda _: None,
    )
    authority = await ensure_stored_authority(store, CONTROL_PLANE_CA, now=now())
    admin = await ensure_stored_authority(store, ENVOY_ADMIN_CA, now=now())
    tls = await ensure_server_tls(folder, authority, hosts=[], addresses=["127.0.0.1"], now=now())
    keys, authorities = SigningKeys(store), authorities_of(store)
    ids = itertools.count()
    meshes = Meshes(store, authorities, Addresses(timedelta(seconds=60)))
    meshes.observe(keys.observe)
    meshes.observe(authorities.observe)
    verifier = TokenVerifier(keys)
    credentials = Credentials(verifier)
    meshes.observe(credentials.observe)
    streams = Streams(meshes, Planner(Generator()), Identities(authorities, admin), Wire("cp-1"), now, lambda _: None)

    def exists(key: Key) -> bool:
        state = meshes.state(key.mesh)
        return state is not None and key.name in state.snapshot.proxies

    insights = Insights(store, "cp-1", now, exists, flush_interval=timedelta(seconds=0.2), limit=10)
    registration = Registration(
        store,
        resources,
        verifier,
        now,
        require_token=True,
        deregistration_delay=timedelta(seconds=deregistration_delay),
    )
    port = free_port()
    health = HdsServer(store, meshes, registration, credentials, now, ProbeDefaults())
    server = DataplaneServer(
        "127.0.0.1",
        DpServer.model_validate({"port": port, **(limits or {})}),
        tls,
        Services(
            bootstrap=BootstrapServer(store, BootstrapParams(xds_host="", xds_port=port), lambda: tls, "default"),
            ads=AdsServer(streams, registration, credentials, insights, admin.pem, "cp-1"),
            hds=health,
            drain=DrainServer(registration, Draining(meshes, streams, all_back_in=all_back_in, patience=0.5)),
        ),
        folder,
        settled=timedelta(seconds=0.5),
    )
    issuer = TokenIssuer(keys, new_id=lambda: str(next(ids)))
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(meshes.run())]
        await meshes.ready.wait()
        tasks += [
            group.create_task(work)
            for work in (
                insights.run(),
                registration.run(),
                credentials.run(),
                streams.run(),
                server.run(),
                _listening(port),
            )
        ]
        await tasks[-1]
        yield Stack(
            store, resources, issuer, meshes, streams, insights, credentials, health, tls, port, authority, server
        )
        streams.end_all()
        for task in reversed(tasks):
            task.cancel()


async def _listening(port: int) -> None:
    async def connects() -> bool:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            return False
        writer.close()
        await writer.wait_closed()
        return True

    await eventually(connects)


def node(name: str, resource: Mapping[str, Any] | None = None, mesh: str = "default", **metadata: str) -> Node:
    """A proxy as its bootstrap describes it."""
    made = Node(id=f"{mesh}.{name}")
    made.metadata.update({"version": {"kumaDp": {"version": "0.1"}, "envoy": {"version": "1.40"}}, **metadata})
    if resource is not None:
        made.metadata.update({"dataplane.resource": json.dumps(resource)})
    return made


def dataplane(name: str, service: str, *outbounds: str, port: int = 8080, **tags: str) -> dict[str, Any]:
    """A Dataplane as kuma-dp sends it."""
    return {
        "type": "Dataplane",
        "mesh": "default",
        "name": name,
        "networking": {
            "address": "10.0.0.1",
            "inbound": [{"port": port, "tags": {"kuma.io/service": service, "kuma.io/protocol": "http", **tags}}],
            "outbound": [
                {"port": 10001 + number, "tags": {"kuma.io/service": one}} for number, one in enumerate(outbounds)
            ],
        },
    }


SUBSCRIBED = (ENDPOINT, SECRET)
NAMED = {CLUSTER: Cluster, ENDPOINT: ClusterLoadAssignment, LISTENER: Listener, SECRET: Secret}


@dataclass
class Proxy:
    """
    A proxy that behaves as Envoy: asks for clusters, then for listeners, and for what these need; answers everything.

    ``refuses`` maps a type to a text: such responses are refused with it.
    """

    stack: Stack
    node: Node
    token: str
    delta: bool
    refuses: dict[str, str] = field(default_factory=dict)
    has: dict[str, dict[str, bytes]] = field(default_factory=dict)
    versions: dict[str, dict[str, str]] = field(default_factory=dict)
    sets: dict[str, str] = field(default_factory=dict)
    seen: list[str] = field(default_factory=list)
    """The types of all responses, in order."""
    received: list[tuple[str, bytes]] = field(default_factory=list)
    """Every resource it ever accepted, by type, in order."""
    mute: frozenset[str] = frozenset()
    """Types that are read and not answered."""
    waits: dict[str, asyncio.Event] = field(default_factory=dict)
    """Types that are answered, and all that comes after them read, once their event is set."""

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[Proxy]:
        """With an open stream; held resources are brought along."""
        async with self.stack.channel() as channel:
            self._call = self._open(channel)
            self._wants: dict[str, set[str]] = {ENDPOINT: set(), SECRET: set()}
            self._nonces: dict[str, str] = {}
            await self._ask(CLUSTER, set(), set())
            if self.has.get(CLUSTER):
                await self._follow()
                self._nonces[LISTENER] = ""
                await self._ask(LISTENER, set(), set())
            reader = asyncio.create_task(self._read())
            try:
                yield self
            finally:
                self._call.cancel()
                reader.cancel()
                [ended] = await asyncio.gather(reader, return_exceptions=True)
            if not isinstance(ended, asyncio.CancelledError | grpc.aio.AioRpcError | asyncio.InvalidStateError | None):
                raise ended

    async def refusal(self) -> tuple[grpc.StatusCode, str]:
        """How the control plane refuses the stream."""
        async with self.stack.channel() as channel:
            call = self._open(channel)
            self._wants, self._nonces = {}, {}
            await self._ask(CLUSTER, set(), set())
            async with asyncio.timeout(PATIENCE):
                return await call.code(), await call.details()

    async def ended(self) -> None:
        """Wait until the control plane ends the open stream."""
        async with asyncio.timeout(PATIENCE):
            await self._call.code()

    def names(self, url: str) -> set[str]:
        """What it holds of a type."""
        return set(self.has.get(url, ()))

    async def holds(self, url: str, *names: str) -> None:
        """Wait until it holds exactly these."""
        try:
            await eventually(lambda: self.names(url) == set(names))
        except AssertionError:
            raise AssertionError(f"holds {sorted(self.names(url))}, not {sorted(names)}") from None

    def _open(self, channel: grpc.aio.Channel) -> Any:
        metadata = (("authorization", self.token),) if self.token else ()
        self._call = channel.stream_stream(ads.DELTA_PATH if self.delta else ads.SOTW_PATH)(metadata=metadata)
        return self._call

    async def _read(self) -> None:
        async for message in self._call:
            response = (DeltaDiscoveryResponse if self.delta else DiscoveryResponse).FromString(message)
            url = response.type_url
            self.seen.append(url)
            self._nonces[url] = response.nonce
            if url in self.mute:
                continue
            if url in self.waits:
                await self.waits[url].wait()
            error = self.refuses.get(url, "")
            if not error:
                self._apply(response)
            await self._answer(url, response, error)
            if url == CLUSTER and LISTENER not in self._nonces:
                self._nonces.setdefault(LISTENER, "")
                await self._ask(LISTENER, set(), set())
            await self._follow()

    def _apply(self, response: Any) -> None:
        url = response.type_url
        held = self.has.setdefault(url, {})
        self.received += [(url, (one.resource if self.delta else one).value) for one in response.resources]
        if self.delta:
            for one in response.resources:
                held[one.name] = one.resource.value
                self.versions.setdefault(url, {})[one.name] = one.version
            for name in response.removed_resources:
                held.pop(name, None)
                self.versions.get(url, {}).pop(name, None)
            return
        if url not in SUBSCRIBED:
            held.clear()
        self.sets[url] = response.version_info
        for one in response.resources:
            held[_name(url, one.value)] = one.value

    async def _answer(self, url: str, response: Any, error: str) -> None:
        request = DeltaDiscoveryRequest(type_url=url) if self.delta else self._whole(url)
        request.response_nonce = response.nonce
        if error:
            request.error_detail.message = error
        await self._call.write(request.SerializeToString())

    async def _follow(self) -> None:
        clusters = {name for name, body in self.has.get(CLUSTER, {}).items() if _is_eds(body)}
        secrets: set[str] = set()
        for body in (*self.has.get(LISTENER, {}).values(), *self.has.get(CLUSTER, {}).values()):
            if b"identity_cert:secret:default" in body:
                secrets |= {"identity_cert:secret:default", "mesh_ca:secret:default"}
        for url, names in ((ENDPOINT, clusters), (SECRET, secrets)):
            before = self._wants[url]
            if names != before:
                self._wants[url] = names
                for name in before - names:
                    self.has.get(url, {}).pop(name, None)
                await self._ask(url, names, before)

    async def _ask(self, url: str, names: set[str], before: set[str]) -> None:
        if self.delta:
            first = not self._nonces.get(url)
            request = DeltaDiscoveryRequest(
                node=self.node,
                type_url=url,
                resource_names_subscribe=sorted(names - before),
                resource_names_unsubscribe=sorted(before - names),
                initial_resource_versions=self.versions.get(url, {}) if first else {},
            )
        else:
            request = self._whole(url)
            request.node.CopyFrom(self.node)
        await self._call.write(request.SerializeToString())

    def _whole(self, url: str) -> DiscoveryRequest:
        return DiscoveryRequest(
            type_url=url,
            resource_names=sorted(self._wants.get(url, ())),
            version_info=self.sets.get(url, ""),
            response_nonce=self._nonces.get(url, ""),
        )


def _name(url: str, body: bytes) -> str:
    message = NAMED[url].FromString(body)
    return str(message.cluster_name if url == ENDPOINT else message.name)


def _is_eds(body: bytes) -> bool:
    return bool(Cluster.FromString(body).type == Cluster.EDS)


@dataclass
class Prober:
    """The side of a proxy that reports the health of its application."""

    stack: Stack
    node: Node
    token: str

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[Prober]:
        """With an open stream; ``wanted`` is the first that comes back."""
        async with self.stack.channel() as channel:
            self._call = channel.stream_stream(hds.PATH)(metadata=(("authorization", self.token),))
            request = HealthCheckRequestOrEndpointHealthResponse()
            request.health_check_request.node.CopyFrom(self.node)
            await self._call.write(request.SerializeToString())
            try:
                yield self
            finally:
                self._call.cancel()

    async def wanted(self) -> HealthCheckSpecifier:
        """What it is told to probe."""
        async with asyncio.timeout(PATIENCE):
            return HealthCheckSpecifier.FromString(await self._call.read())

    async def refusal(self) -> tuple[grpc.StatusCode, str]:
        """How the control plane ends the stream."""
        async with asyncio.timeout(PATIENCE):
            return await self._call.code(), await self._call.details()

    async def ended(self) -> None:
        """Wait until the control plane ends the stream."""
        async with asyncio.timeout(PATIENCE):
            with suppress(grpc.aio.AioRpcError):  # it ends without a status, which is an error to gRPC
                while await self._call.read() is not grpc.aio.EOF:
                    continue

    async def report(self, health: Mapping[str, int]) -> None:
        """Tell the health of clusters."""
        message = HealthCheckRequestOrEndpointHealthResponse()
        for name, status in health.items():
            cluster = message.endpoint_health_response.cluster_endpoints_health.add(cluster_name=name)
            cluster.locality_endpoints_health.add().endpoints_health.add(health_status=status)
        await self._call.write(message.SerializeToString())
