"""What one proxy sees of its mesh: frozen, hashable, and all that ``generate`` may look at.

Views compare by content, so equal views may share one computation.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

from kuma.core.policies._kit.rules import InboundRules, Merged, Towards
from kuma.core.xds.log_facts import UNKNOWN_PROXY, LogFacts

HTTP_PROTOCOLS = frozenset({"http", "http2", "grpc"})


class TlsMode(Enum):
    """How an inbound treats plaintext: never TLS, both, or TLS only."""

    OFF = "off"
    PERMISSIVE = "permissive"
    STRICT = "strict"


Tags = tuple[tuple[str, str], ...]
"""Tags as sorted pairs."""


@dataclass(frozen=True, slots=True)
class InboundView:
    """An address on which the proxy receives traffic for its own application."""

    mesh: str
    address: str
    port: int
    workload_address: str
    workload_port: int
    section: str
    """The inbound's name, else its port as text."""
    protocol: str
    tags: Tags
    tls: TlsMode
    reuse_port: bool
    ipv6: bool
    kafka_filter: bool = False
    """Whether the proxy's Envoy has the Kafka filter and the inbound speaks Kafka."""
    logs: LogFacts = UNKNOWN_PROXY
    """What access logs say about the proxy, where it writes any."""

    @property
    def service(self) -> str:
        """The ``kuma.io/service`` tag, empty when the inbound has none."""
        return dict(self.tags).get("kuma.io/service", "")

    @property
    def is_http(self) -> bool:
        """Whether the protocol is HTTP or built on it."""
        return self.protocol in HTTP_PROTOCOLS


@dataclass(frozen=True, slots=True)
class Backend:
    """A destination that a routing policy leads to: what is asked for, what it speaks, whether with mutual TLS."""

    tags: Tags
    protocol: str
    tls: bool


@dataclass(frozen=True, slots=True)
class Caller:
    """
    Who calls, where policies want to know: the proxy's own tags as the header ``x-kuma-tags`` says them.

    ``on_requests`` tells whether every request carries the header; else only health checks do.
    """

    tags: str = ""
    on_requests: bool = False


NOBODY = Caller()


@dataclass(frozen=True, slots=True)
class OutboundView:
    """An address on which the proxy accepts its application's traffic to one service."""

    mesh: str
    address: str
    port: int
    tags: Tags
    """What the outbound asks for: ``kuma.io/service`` and any further tags."""
    protocol: str
    """What the destination speaks; ``tcp`` when its endpoints do not agree."""
    tls: bool
    """Whether the destination is to be reached with mutual TLS."""
    ipv6: bool
    backends: tuple[Backend, ...] = ()
    """Further destinations, which routing policies may lead to."""
    caller: Caller = NOBODY
    logs: LogFacts = UNKNOWN_PROXY
    """What access logs say about the proxy, where it writes any; unknown else, so that proxies may share the view."""

    @property
    def service(self) -> str:
        """The ``kuma.io/service`` tag."""
        return dict(self.tags)["kuma.io/service"]

    @property
    def is_http(self) -> bool:
        """Whether the protocol is HTTP or built on it."""
        return self.protocol in HTTP_PROTOCOLS


@dataclass(frozen=True, slots=True)
class AdminView:
    """How the proxy's admin interface and readiness are reached."""

    port: int
    admin_address: str
    socket_path: str
    """Path of Envoy's admin socket; empty when the admin interface listens on ``admin_address``."""
    readiness_port: int
    trusted_ca: bytes
    """PEM of the CA that signs the certificates of the control plane's admin client and of this listener."""
    address: str = ""
    """The proxy's own address, on which the control plane may reach the admin interface."""
    taken: bool = False
    """Whether the application is reached or calls others on that address and port; then it is not the admin's."""


Patches = tuple[tuple[str, Merged[Any]], ...]
"""The confs that patch complete resources, each with its kind and policy, in the order of application."""


@dataclass(frozen=True, slots=True)
class ProxyView:
    """What is the proxy's own: not shared with any other. ``rules`` has, per inbound, the rules of each policy kind."""

    admin: AdminView | None
    inbounds: tuple[InboundView, ...]
    rules: tuple[tuple[tuple[str, InboundRules[Any]], ...], ...]
    patches: Patches = ()


@dataclass(frozen=True, slots=True)
class OutboundRules:
    """The confs of each policy kind for one outbound; compares by what they say."""

    towards: tuple[tuple[str, Towards[Any]], ...]

    def __hash__(self) -> int:
        return hash(
            tuple(
                (kind, towards.spoken, *towards.confs.items(), *towards.routes.items())
                for kind, towards in self.towards
            )
        )


@dataclass(frozen=True, slots=True)
class OutboundsView:
    """What proxies of one class share: outbounds and the confs that hold for each."""

    outbounds: tuple[tuple[OutboundView, OutboundRules], ...]
    patches: Patches = ()
