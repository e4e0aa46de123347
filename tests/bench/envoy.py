"""What an Envoy says on its discovery stream: which types it asks for and when, and that it accepts what it gets.

It asks for clusters first, then for their endpoints and secrets, for listeners once all of these were answered, and
for the secrets that listeners name. When it comes back on a new stream it asks for everything at once and says what
it holds. Nothing is read twice: proxies of one mesh are sent equal bytes, and what a message says is remembered.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from google.protobuf.any_pb2 import Any as AnyMessage

from kuma.core.xds.names import CLUSTER, ENDPOINT, LISTENER, SECRET
from kuma.envoy_api.envoy.config.cluster.v3.cluster_pb2 import Cluster
from kuma.envoy_api.envoy.config.core.v3.base_pb2 import Node, TransportSocket
from kuma.envoy_api.envoy.config.endpoint.v3.endpoint_pb2 import ClusterLoadAssignment
from kuma.envoy_api.envoy.config.listener.v3.listener_pb2 import Listener
from kuma.envoy_api.envoy.extensions.transport_sockets.tls.v3.secret_pb2 import Secret
from kuma.envoy_api.envoy.extensions.transport_sockets.tls.v3.tls_pb2 import DownstreamTlsContext, UpstreamTlsContext
from kuma.envoy_api.envoy.service.discovery.v3.discovery_pb2 import (
    DeltaDiscoveryRequest,
    DeltaDiscoveryResponse,
    DiscoveryRequest,
    DiscoveryResponse,
)

TYPES: Final = (CLUSTER, ENDPOINT, LISTENER, SECRET)
SHORT: Final = {CLUSTER: "cds", ENDPOINT: "eds", LISTENER: "lds", SECRET: "sds"}
_REMEMBERED: Final = 256
_MESSAGES: Final = {CLUSTER: Cluster, ENDPOINT: ClusterLoadAssignment, LISTENER: Listener, SECRET: Secret}


@dataclass(slots=True)
class Response:
    """A response as read. ``versions`` are those of its resources; in the dialect without such, the bytes' hash."""

    type_url: str
    nonce: str
    version: str
    raw: bytes
    versions: dict[str, object]
    removed: tuple[str, ...]
    assignments: frozenset[str]
    """Names under which its clusters want endpoints."""
    secrets: frozenset[str]
    """Secrets that its clusters or listeners name."""
    ack: bytes
    sought: tuple[bytes, bool] = (b"", False)

    @property
    def carries(self) -> bool:
        """Whether it brings or removes anything."""
        return bool(self.versions or self.removed)

    def has(self, text: bytes) -> bool:
        """Whether the text stands anywhere in it."""
        if self.sought[0] != text:
            self.sought = (text, text in self.raw)
        return self.sought[1]


class Reader:
    """Reads responses of one dialect."""

    def __init__(self, *, delta: bool) -> None:
        self._delta = delta
        self._known: OrderedDict[bytes, Response] = OrderedDict()

    def read(self, message: bytes) -> Response:
        """What a message says."""
        known = self._known.get(message)
        if known is None:
            known = self._known[message] = self._read_delta(message) if self._delta else self._read_whole(message)
            if len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)
        return known

    def _read_delta(self, message: bytes) -> Response:
        response = DeltaDiscoveryResponse.FromString(message)
        ack = DeltaDiscoveryRequest(type_url=response.type_url, response_nonce=response.nonce)
        versions: dict[str, object] = {one.name: one.version for one in response.resources}
        bodies = [one.resource for one in response.resources]
        return Response(
            response.type_url,
            response.nonce,
            "",
            message,
            versions,
            tuple(response.removed_resources),
            *_named(bodies),
            ack.SerializeToString(),
        )

    def _read_whole(self, message: bytes) -> Response:
        response = DiscoveryResponse.FromString(message)
        ack = DiscoveryRequest(
            type_url=response.type_url, response_nonce=response.nonce, version_info=response.version_info
        )
        versions: dict[str, object] = {_name(body): hash(body.value) for body in response.resources}
        return Response(
            response.type_url,
            response.nonce,
            response.version_info,
            message,
            versions,
            (),
            *_named(response.resources),
            ack.SerializeToString(),
        )


def _name(body: AnyMessage) -> str:
    read = _MESSAGES[body.type_url].FromString(body.value)
    return read.cluster_name if isinstance(read, ClusterLoadAssignment) else str(read.name)


def _named(bodies: Iterable[AnyMessage]) -> tuple[frozenset[str], frozenset[str]]:
    assignments: set[str] = set()
    secrets: set[str] = set()
    for body in bodies:
        if body.type_url == CLUSTER:
            cluster = Cluster.FromString(body.value)
            if cluster.type == Cluster.EDS:
                assignments.add(cluster.eds_cluster_config.service_name or cluster.name)
            for socket in (
                cluster.transport_socket,
                *(one.transport_socket for one in cluster.transport_socket_matches),
            ):
                secrets.update(_secrets(socket))
        elif body.type_url == LISTENER:
            for chain in Listener.FromString(body.value).filter_chains:
                secrets.update(_secrets(chain.transport_socket))
    return frozenset(assignments), frozenset(secrets)


def _secrets(socket: TransportSocket) -> Iterator[str]:
    for context in (UpstreamTlsContext(), DownstreamTlsContext()):
        if socket.typed_config.Is(context.DESCRIPTOR):
            socket.typed_config.Unpack(context)
            common = context.common_tls_context
            combined = common.combined_validation_context.validation_context_sds_secret_config
            configs = (
                *common.tls_certificate_sds_secret_configs,
                common.validation_context_sds_secret_config,
                combined,
            )
            # A secret without a source is in the bootstrap.
            yield from (config.name for config in configs if config.HasField("sds_config"))


@dataclass(slots=True)
class _Type:
    asked: bool = False
    names: set[str] = field(default_factory=set)
    held: dict[str, object] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)
    version: str = ""
    nonce: str = ""
    names_as_bytes: bytes = b""

    def answered(self) -> bool:
        """Whether everything asked for by name is here, or known not to exist."""
        return self.asked and len(self.names) <= len(self.held) + len(self.gone)


class Envoy:
    """One proxy's side of the conversation, over all its streams."""

    def __init__(self, node: bytes, reader: Reader, *, delta: bool) -> None:
        self._node = Node.FromString(node)
        self._reader = reader
        self._delta = delta
        self._types = {url: _Type() for url in TYPES}

    @property
    def configured(self) -> bool:
        """Whether it has all it asked for, and listens."""
        listeners = self._types[LISTENER]
        return bool(listeners.held) and all(state.answered() for state in self._types.values())

    def open(self) -> list[bytes]:
        """The first requests on a new stream."""
        asked = [url for url in TYPES if self._types[url].asked] or [CLUSTER]
        requests = []
        for url in asked:
            state = self._types[url]
            state.asked, state.nonce = True, ""
            requests.append(self._first(url, state, self._node if url == asked[0] else None))
        return requests

    def receive(self, message: bytes) -> tuple[Response, list[bytes]]:
        """A response, and the requests that follow it."""
        response = self._reader.read(message)
        state = self._types[response.type_url]
        changed = False
        if not self._delta and response.type_url in {CLUSTER, LISTENER}:
            changed = any(state.held.get(name) != version for name, version in response.versions.items())
            state.held = dict(response.versions)
        else:
            state.held.update(response.versions)
            for name in response.removed:
                state.held.pop(name, None)
            if response.type_url not in {CLUSTER, LISTENER}:
                state.gone.update(response.removed)
                if state.gone:
                    state.gone -= response.versions.keys()
        state.version, state.nonce = response.version, response.nonce
        requests = []
        if response.type_url == CLUSTER:
            requests += self._follow(ENDPOINT, self._endpoints_for(response), again=changed)
            requests += self._follow(SECRET, self._types[SECRET].names | response.secrets)
        elif response.type_url == LISTENER:
            requests += self._follow(SECRET, self._types[SECRET].names | response.secrets)
        requests.insert(0, response.ack + (b"" if self._delta else state.names_as_bytes))
        listeners = self._types[LISTENER]
        if not listeners.asked and self._types[ENDPOINT].answered() and self._types[SECRET].answered():
            listeners.asked = True
            requests.append(self._first(LISTENER, listeners, None))
        return response, requests

    def _endpoints_for(self, response: Response) -> set[str]:
        present = self._types[ENDPOINT].names
        if self._delta:
            return (present | response.assignments).difference(response.removed)
        return set(response.assignments)

    def _follow(self, url: str, names: Iterable[str], *, again: bool = False) -> list[bytes]:
        """Ask for what is needed now and was not before. ``again``: repeat the request when a cluster changed."""
        state = self._types[url]
        names = set(names)
        added, dropped = names - state.names, state.names - names
        if state.asked and not added and not dropped and not again:
            return []
        state.asked, state.names = True, names
        for name in dropped:
            state.held.pop(name, None)
        state.gone &= names
        if self._delta:
            request = DeltaDiscoveryRequest(
                type_url=url, resource_names_subscribe=sorted(added), resource_names_unsubscribe=sorted(dropped)
            )
            return [request.SerializeToString()]
        return [self._whole(url, state, None)]

    def _first(self, url: str, state: _Type, node: Node | None) -> bytes:
        if not self._delta:
            return self._whole(url, state, node)
        return DeltaDiscoveryRequest(
            node=node,
            type_url=url,
            resource_names_subscribe=sorted(state.names),
            initial_resource_versions={name: str(version) for name, version in state.held.items()},
        ).SerializeToString()

    def _whole(self, url: str, state: _Type, node: Node | None) -> bytes:
        state.names_as_bytes = DiscoveryRequest(resource_names=sorted(state.names)).SerializeToString()
        rest = DiscoveryRequest(node=node, type_url=url, version_info=state.version, response_nonce=state.nonce)
        return rest.SerializeToString() + state.names_as_bytes
