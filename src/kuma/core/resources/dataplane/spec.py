"""What a user may write in a Dataplane."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import Field

from kuma.core.model.spec import LegacyDuration, LegacySpec
from kuma.core.resources._wire import Flag, UInt32, WireEnum
from kuma.core.resources.prometheus import MetricsBackend


class State(WireEnum):
    """Whether an inbound or listener takes traffic. ``Ignored``: it exists, but nobody is sent there."""

    READY = "Ready"
    NOT_READY = "NotReady"
    IGNORED = "Ignored"


class GatewayType(WireEnum):
    """``DELEGATED``: another gateway runs beside the proxy. ``BUILTIN``: the proxy itself is the gateway."""

    DELEGATED = "DELEGATED"
    BUILTIN = "BUILTIN"


class IpFamilyMode(WireEnum):
    """Which IP families transparent proxying redirects."""

    UNSPECIFIED = "UnSpecified"
    DUAL_STACK = "DualStack"
    IPV4 = "IPv4"
    IPV6 = "IPv6"


class ListenerType(WireEnum):
    """Which role a zone proxy listener plays; every written listener needs one of the two."""

    UNSPECIFIED = "Unspecified"
    ZONE_INGRESS = "ZoneIngress"
    ZONE_EGRESS = "ZoneEgress"


class Health(LegacySpec):
    """What a probe found; ``{}`` says "not ready", no health section says nothing."""

    ready: Flag = False


class TcpProbe(LegacySpec):
    """Probing by opening a connection; there is nothing to set."""


class ServiceProbe(LegacySpec):
    """How the proxy probes the application beside it."""

    interval: LegacyDuration | None = None
    timeout: LegacyDuration | None = None
    unhealthy_threshold: UInt32 | None = None
    healthy_threshold: UInt32 | None = None
    tcp: TcpProbe | None = None


class Inbound(LegacySpec):
    """A service that the application offers."""

    port: UInt32 = 0
    service_port: UInt32 = 0
    service_address: str = ""
    address: str = ""
    tags: Mapping[str, str] = Field(default_factory=dict)
    health: Health | None = None
    service_probe: ServiceProbe | None = None
    state: State = State.READY
    name: str = ""
    protocol: str = ""


class OutboundBackendRef(LegacySpec):
    """A consumed service, named as a resource instead of by tags."""

    kind: str = ""
    name: str = ""
    port: UInt32 = 0
    labels: Mapping[str, str] = Field(default_factory=dict)


class Outbound(LegacySpec):
    """A service that the application consumes. ``service`` is the old spelling of the one tag."""

    address: str = ""
    port: UInt32 = 0
    service: str = ""
    tags: Mapping[str, str] = Field(default_factory=dict)
    backend_ref: OutboundBackendRef | None = None


class Gateway(LegacySpec):
    """Says that the proxy stands at the edge of the mesh, and for which service."""

    tags: Mapping[str, str] = Field(default_factory=dict)
    type: GatewayType = GatewayType.DELEGATED


class ReachableBackend(LegacySpec):
    """Resources that a transparent proxy may reach: one by name, or many by labels."""

    kind: str = ""
    name: str = ""
    namespace: str = ""
    port: UInt32 | None = None
    labels: Mapping[str, str] = Field(default_factory=dict)


class ReachableBackends(LegacySpec):
    """Present without ``refs``: nothing is reachable."""

    refs: tuple[ReachableBackend, ...] = ()


class TransparentProxying(LegacySpec):
    """How traffic that the host redirects to the proxy is taken up."""

    redirect_port_inbound: UInt32 = 0
    redirect_port_outbound: UInt32 = 0
    direct_access_services: tuple[str, ...] = ()
    reachable_services: tuple[str, ...] = ()
    ip_family_mode: IpFamilyMode = IpFamilyMode.UNSPECIFIED
    reachable_backends: ReachableBackends | None = None


class Listener(LegacySpec):
    """A zone proxy embedded in this proxy."""

    type: ListenerType = ListenerType.UNSPECIFIED
    address: str = ""
    port: UInt32 = 0
    name: str = ""
    state: State = State.READY


class Admin(LegacySpec):
    """Where Envoy's own interface listens, on loopback."""

    port: UInt32 = 0


class Networking(LegacySpec):
    """Where the proxy is, what it serves and what it consumes."""

    address: str = ""
    advertised_address: str = ""
    inbound: tuple[Inbound, ...] = ()
    outbound: tuple[Outbound, ...] = ()
    gateway: Gateway | None = None
    transparent_proxying: TransparentProxying | None = None
    admin: Admin | None = None
    listeners: tuple[Listener, ...] = ()


class ProbeEndpoint(LegacySpec):
    """A path of the application that is shown without mTLS."""

    inbound_port: UInt32 = 0
    inbound_path: str = ""
    path: str = ""


class Probes(LegacySpec):
    """The port on which such paths are shown."""

    port: UInt32 = 0
    endpoints: tuple[ProbeEndpoint, ...] = ()


class Dataplane(LegacySpec):
    """One proxy beside one application."""

    networking: Networking | None = None
    metrics: MetricsBackend | None = None
    probes: Probes | None = None
