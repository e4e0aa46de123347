"""What a user may write in a Mesh.

Backends carry a free-form ``conf`` on the wire, because its shape depends on their ``type``; ``builtin_conf`` and its
sisters in ``backends.py`` read it.
"""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import Field

from kuma.core.model.spec import LegacyDuration, LegacySpec
from kuma.core.resources._wire import Flag, Number, Struct, WireEnum
from kuma.core.resources.prometheus import MetricsBackend


class MtlsMode(WireEnum):
    """Whether an inbound takes encrypted traffic only, or plain text too."""

    STRICT = "STRICT"
    PERMISSIVE = "PERMISSIVE"


class MeshServicesMode(WireEnum):
    """How far services are MeshService resources rather than tags."""

    DISABLED = "Disabled"
    EVERYWHERE = "Everywhere"
    REACHABLE_BACKENDS = "ReachableBackends"
    EXCLUSIVE = "Exclusive"


class Rotation(LegacySpec):
    """When a proxy's certificate is replaced."""

    expiration: str = ""
    """Lifetime of a proxy's certificate; read by ``kuma.core.resources.mesh.backends.lifetime``."""


class DpCert(LegacySpec):
    """How certificates of proxies are issued."""

    rotation: Rotation | None = None
    request_timeout: LegacyDuration | None = None


class RootChain(LegacySpec):
    """How the root certificates are fetched."""

    request_timeout: LegacyDuration | None = None


class CaBackend(LegacySpec):
    """One certificate authority of the mesh. Several may be listed; one issues, all are trusted."""

    name: str = ""
    type: str = ""
    mode: MtlsMode = MtlsMode.STRICT
    dp_cert: DpCert | None = None
    root_chain: RootChain | None = None
    conf: Struct | None = None


class Mtls(LegacySpec):
    """The authorities of the mesh and which of them issues; none enabled means plain text."""

    enabled_backend: str = ""
    backends: tuple[CaBackend, ...] = ()
    skip_validation: Flag = False


class LoggingBackend(LegacySpec):
    """A place that access logs go to."""

    name: str = ""
    format: str = ""
    type: str = ""
    conf: Struct | None = None


class Logging(LegacySpec):
    """Where access logs may go."""

    default_backend: str = ""
    backends: tuple[LoggingBackend, ...] = ()


class TracingBackend(LegacySpec):
    """A place that traces go to."""

    name: str = ""
    sampling: Number | None = None
    type: str = ""
    conf: Struct | None = None


class Tracing(LegacySpec):
    """Where traces may go."""

    default_backend: str = ""
    backends: tuple[TracingBackend, ...] = ()


class Metrics(LegacySpec):
    """Where metrics are offered, and which of the backends is on."""

    enabled_backend: str = ""
    backends: tuple[MetricsBackend, ...] = ()


class Outbound(LegacySpec):
    """What proxies do with traffic that leaves the mesh."""

    passthrough: Flag | None = None
    """Whether traffic to addresses outside the mesh is let through; unset means yes."""


class Networking(LegacySpec):
    """Traffic that is not between two proxies."""

    outbound: Outbound | None = None


class Routing(LegacySpec):
    """How traffic finds its way between zones and out of the mesh."""

    locality_aware_load_balancing: Flag = False
    zone_egress: Flag = False
    default_forbid_mesh_external_service_access: Flag = False


class MembershipRule(LegacySpec):
    """Tags that a proxy has; ``*`` stands for any value."""

    tags: Mapping[str, str] = Field(default_factory=dict)


class DataplaneProxyConstraints(LegacySpec):
    """Who may join: any of the requirements must hold, and none of the restrictions."""

    requirements: tuple[MembershipRule, ...] = ()
    restrictions: tuple[MembershipRule, ...] = ()


class Constraints(LegacySpec):
    """Who may be in the mesh."""

    dataplane_proxy: DataplaneProxyConstraints | None = None


class MeshServices(LegacySpec):
    """Whether services are resources of their own."""

    mode: MeshServicesMode = MeshServicesMode.DISABLED


class Mesh(LegacySpec):
    """The isolated space that proxies, services and policies belong to."""

    mtls: Mtls | None = None
    tracing: Tracing | None = None
    logging: Logging | None = None
    metrics: Metrics | None = None
    networking: Networking | None = None
    routing: Routing | None = None
    constraints: Constraints | None = None
    skip_creating_initial_policies: tuple[str, ...] = ()
    mesh_services: MeshServices | None = None
