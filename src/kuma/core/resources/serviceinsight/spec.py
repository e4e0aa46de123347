"""The shape of a ServiceInsight: one object per mesh inside, shown as one object per service."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import Field

from kuma.core.model.spec import LegacySpec
from kuma.core.resources._wire import UInt32, WireEnum


class ServiceStatus(WireEnum):
    """How a service stands; ``none`` for one that nobody offers."""

    NONE = "none"
    OFFLINE = "offline"
    PARTIALLY_DEGRADED = "partially_degraded"
    ONLINE = "online"
    NOT_AVAILABLE = "not_available"


class ServiceType(WireEnum):
    """What offers a service."""

    INTERNAL = "internal"
    EXTERNAL = "external"
    GATEWAY_DELEGATED = "gateway_delegated"
    GATEWAY_BUILTIN = "gateway_builtin"


class DataplaneStat(LegacySpec):
    """Proxies of a service; those ready in part count in the total only."""

    total: UInt32 = 0
    online: UInt32 = 0
    offline: UInt32 = 0


class Service(LegacySpec):
    """One service. ``DataplaneStat()`` and no status is what an unknown service looks like."""

    status: ServiceStatus = ServiceStatus.NONE
    dataplanes: DataplaneStat | None = None
    issued_backends: Mapping[str, UInt32] = Field(default_factory=dict)
    service_type: ServiceType = ServiceType.INTERNAL
    address_port: str = ""
    zones: tuple[str, ...] = ()


class ServiceInsight(LegacySpec):
    """All services of a mesh, by name."""

    services: Mapping[str, Service] = Field(default_factory=dict)
