"""What a discovery conversation is made of: desired states, the proxy's words, and what was said back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from kuma.core.xds.names import CLUSTER, ENDPOINT, LISTENER, SECRET
from kuma.core.xds.resources import Desired, Layer, LayerDeltas, XdsResource
from kuma.core.xds.session import Command, DeltaSession, Send, Session, SotwSession
from kuma.core.xds.wire import Wire
from kuma.envoy_api.envoy.config.core.v3.base_pb2 import Node
from kuma.envoy_api.envoy.service.discovery.v3.discovery_pb2 import (
    DeltaDiscoveryRequest,
    DeltaDiscoveryResponse,
    DiscoveryRequest,
    DiscoveryResponse,
)

NODE = Node(id="default.web")
SHORT = {CLUSTER: "CDS", ENDPOINT: "EDS", LISTENER: "LDS", SECRET: "SDS"}


def resource(type_url: str, name: str, content: object = 1) -> XdsResource:
    """A resource of some content; a listener leads to the cluster of its name."""
    leads_to = frozenset({name} if type_url == LISTENER else ())
    return XdsResource(type_url, name, f"{name}={content}".encode(), leads_to=leads_to)


def layer(
    clusters: Mapping[str, object] | None = None,
    endpoints: Mapping[str, object] | None = None,
    listeners: Mapping[str, object] | None = None,
    secrets: Mapping[str, object] | None = None,
) -> Layer:
    """A layer of named contents."""
    kinds = ((CLUSTER, clusters), (ENDPOINT, endpoints), (LISTENER, listeners), (SECRET, secrets))
    return Layer.of(resource(url, name, content) for url, some in kinds for name, content in (some or {}).items())


def desired(*layers: Layer, revision: int = 1) -> Desired:
    """What a proxy should have, always of three layers."""
    return Desired((*layers, *[Layer({})] * (3 - len(layers))), revision)


def services(*names: str, content: object = 1, revision: int = 1) -> Desired:
    """Each service with a cluster, endpoints and a listener, all of this content."""
    same = dict.fromkeys(names, content)
    return desired(layer(same, same, same), revision=revision)


@dataclass(frozen=True)
class Said:
    """One response as the proxy reads it. ``resources`` are contents by name."""

    kind: str
    resources: Mapping[str, str]
    removed: tuple[str, ...] = ()
    nonce: str = field(default="", compare=False)
    version: str = field(default="", compare=False)
    versions: Mapping[str, str] = field(default_factory=dict, compare=False)


def sent(kind: str, *names: str, content: object = 1, removed: Iterable[str] = ()) -> Said:
    """A response that is expected."""
    return Said(kind, {name: f"{name}={content}" for name in names}, tuple(removed))


class Delta:
    """A proxy that speaks the incremental dialect."""

    dialect = "delta"

    def __init__(self, wire: Wire | None = None, deltas: LayerDeltas | None = None) -> None:
        self.session: Session = DeltaSession(wire or Wire("cp-1"), deltas or LayerDeltas())

    def ask(
        self, url: str, *names: str, held: Mapping[str, str] | None = None, node: Node | None = NODE
    ) -> list[object]:
        """Subscribe."""
        return self._feed(
            DeltaDiscoveryRequest(
                node=node, type_url=url, resource_names_subscribe=names, initial_resource_versions=held or {}
            )
        )

    def drop(self, url: str, *names: str) -> list[object]:
        """Unsubscribe."""
        return self._feed(DeltaDiscoveryRequest(type_url=url, resource_names_unsubscribe=names))

    def answer(self, url: str, said: Said, error: str = "") -> list[object]:
        """Accept a response, or refuse it with a text."""
        request = DeltaDiscoveryRequest(type_url=url, response_nonce=said.nonce)
        if error:
            request.error_detail.message = error
        return self._feed(request)

    def want(self, state: Desired) -> list[object]:
        """What the control plane wants the proxy to have from now on."""
        return self._read(self.session.update(state))

    def _feed(self, request: DeltaDiscoveryRequest) -> list[object]:
        return self._read(self.session.receive(request.SerializeToString()))

    def _read(self, commands: list[Command]) -> list[object]:
        return [read_delta(command.message) if isinstance(command, Send) else command for command in commands]


def read_delta(message: bytes) -> Said:
    """A DeltaDiscoveryResponse in short."""
    response = DeltaDiscoveryResponse.FromString(message)
    assert response.control_plane.identifier == "cp-1"
    assert all(one.resource.type_url == response.type_url for one in response.resources)
    return Said(
        SHORT[response.type_url],
        {one.name: one.resource.value.decode() for one in response.resources},
        tuple(response.removed_resources),
        response.nonce,
        versions={one.name: one.version for one in response.resources},
    )


class Sotw:
    """A proxy that speaks the state-of-the-world dialect."""

    dialect = "sotw"

    def __init__(self, wire: Wire | None = None, deltas: LayerDeltas | None = None) -> None:
        self.session: Session = SotwSession(wire or Wire("cp-1"), deltas or LayerDeltas())
        self._names: dict[str, tuple[str, ...]] = {}
        self._last: dict[str, tuple[str, str]] = {}

    def ask(self, url: str, *names: str, version: str = "", node: Node | None = NODE) -> list[object]:
        """Ask for exactly these names (for clusters and listeners: for all)."""
        self._names[url] = names
        accepted, nonce = self._last.get(url, (version, ""))
        return self._feed(
            DiscoveryRequest(node=node, type_url=url, resource_names=names, version_info=accepted, response_nonce=nonce)
        )

    def answer(self, url: str, said: Said, error: str = "") -> list[object]:
        """Accept a response, or refuse it with a text."""
        before = self._last.get(url, ("", ""))[0]
        self._last[url] = (before if error else said.version, said.nonce)
        request = DiscoveryRequest(
            type_url=url,
            resource_names=self._names.get(url, ()),
            version_info=self._last[url][0],
            response_nonce=said.nonce,
        )
        if error:
            request.error_detail.message = error
        return self._feed(request)

    def want(self, state: Desired) -> list[object]:
        """What the control plane wants the proxy to have from now on."""
        return self._read(self.session.update(state))

    def _feed(self, request: DiscoveryRequest) -> list[object]:
        return self._read(self.session.receive(request.SerializeToString()))

    def _read(self, commands: list[Command]) -> list[object]:
        return [read_sotw(command.message) if isinstance(command, Send) else command for command in commands]


def read_sotw(message: bytes) -> Said:
    """A DiscoveryResponse in short."""
    response = DiscoveryResponse.FromString(message)
    assert response.control_plane.identifier == "cp-1"
    bodies = [one.value.decode() for one in response.resources]
    return Said(
        SHORT[response.type_url],
        {body.partition("=")[0]: body for body in bodies},
        nonce=response.nonce,
        version=response.version_info,
    )


def responses(commands: Iterable[object]) -> list[Said]:
    """Only what goes over the wire."""
    return [command for command in commands if isinstance(command, Said)]


def settle(proxy: Delta | Sotw, commands: Iterable[object]) -> list[Said]:
    """Accept everything until nothing more comes; all that was sent, in order."""
    urls = {short: url for url, short in SHORT.items()}
    waiting = responses(commands)
    seen: list[Said] = []
    while waiting:
        said = waiting.pop(0)
        seen.append(said)
        waiting += responses(proxy.answer(urls[said.kind], said))
        assert len(seen) < 1000, "the conversation does not end"
    return seen


def connected(proxy: Delta | Sotw, state: Desired) -> Delta | Sotw:
    """A proxy that asked for all it needs, as Envoy does, and accepted it."""
    settle(proxy, proxy.want(state))
    settle(proxy, proxy.ask(CLUSTER))
    settle(proxy, proxy.ask(ENDPOINT, *sorted(state.names(ENDPOINT))))
    settle(proxy, proxy.ask(LISTENER))
    settle(proxy, proxy.ask(SECRET, *sorted(state.names(SECRET))))
    assert proxy.session.in_sync()
    return proxy
