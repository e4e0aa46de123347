"""The shape of a MeshInsight. Sections are always present; counters that are zero are left out."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import Field

from kuma.core.model.spec import LegacySpec
from kuma.core.resources._wire import UInt32


class DataplaneStat(LegacySpec):
    """Proxies by how they stand."""

    total: UInt32 = 0
    online: UInt32 = 0
    offline: UInt32 = 0
    partially_degraded: UInt32 = 0


class DataplanesByType(LegacySpec):
    """``gateway`` counts both kinds of gateway."""

    standard: DataplaneStat | None = None
    gateway: DataplaneStat | None = None
    gateway_builtin: DataplaneStat | None = None
    gateway_delegated: DataplaneStat | None = None


class Count(LegacySpec):
    """A number of resources."""

    total: UInt32 = 0


class DpVersions(LegacySpec):
    """Proxies by the versions they told."""

    kuma_dp: Mapping[str, DataplaneStat] = Field(default_factory=dict)
    envoy: Mapping[str, DataplaneStat] = Field(default_factory=dict)


class Mtls(LegacySpec):
    """Proxies by the authority that issued their certificate, and by each authority they trust."""

    issued_backends: Mapping[str, DataplaneStat] = Field(default_factory=dict)
    supported_backends: Mapping[str, DataplaneStat] = Field(default_factory=dict)


class ServiceStat(LegacySpec):
    """Services by where they run."""

    total: UInt32 = 0
    internal: UInt32 = 0
    external: UInt32 = 0


class MeshInsight(LegacySpec):
    """The figures of one mesh."""

    dataplanes: DataplaneStat | None = None
    policies: Mapping[str, Count] = Field(default_factory=dict)
    dp_versions: DpVersions | None = None
    mtls: Mtls | None = Field(default=None, alias="mTLS")
    services: ServiceStat | None = None
    dataplanes_by_type: DataplanesByType | None = None
    resources: Mapping[str, Count] = Field(default_factory=dict)
