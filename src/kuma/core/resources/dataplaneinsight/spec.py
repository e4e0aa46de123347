"""The shape of a DataplaneInsight."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import Field

from kuma.core.model.spec import LegacySpec
from kuma.core.resources._wire import Flag, Struct, Timestamp, UInt32, UInt64


class Rejection(LegacySpec):
    """A configuration that Envoy refused, in Envoy's words. Ours: Kuma only counts."""

    time: Timestamp | None = None
    version: str = ""
    message: str = ""


class Stats(LegacySpec):
    """What was sent on one discovery service of one stream, and how it was answered."""

    responses_sent: UInt64 = 0
    responses_acknowledged: UInt64 = 0
    responses_rejected: UInt64 = 0
    last_rejection: Rejection | None = None


class Status(LegacySpec):
    """Counters of one stream. A section that is set and all zero is printed as ``{}``."""

    last_update_time: Timestamp | None = None
    problem: str = ""
    """Ours: why no configuration can be made for the proxy, which keeps its last one."""
    total: Stats | None = None
    cds: Stats | None = None
    eds: Stats | None = None
    lds: Stats | None = None
    rds: Stats | None = None


class KumaDpVersion(LegacySpec):
    """The build of kuma-dp, as it told when it connected."""

    version: str = ""
    git_tag: str = ""
    git_commit: str = ""
    build_date: str = ""
    kuma_cp_compatible: Flag = False


class EnvoyVersion(LegacySpec):
    """The build of Envoy, as it told when it connected."""

    version: str = ""
    build: str = ""
    kuma_dp_compatible: Flag = False


class Version(LegacySpec):
    """All versions a proxy told when it connected."""

    kuma_dp: KumaDpVersion | None = None
    envoy: EnvoyVersion | None = None
    dependencies: Mapping[str, str] = Field(default_factory=dict)


class Subscription(LegacySpec):
    """One ADS stream, open while it has no ``disconnectTime``."""

    id: str = ""
    control_plane_instance_id: str = ""
    connect_time: Timestamp | None = None
    disconnect_time: Timestamp | None = None
    status: Status | None = None
    version: Version | None = None
    generation: UInt32 = 0


class Mtls(LegacySpec):
    """The certificate a proxy holds, and the authorities it trusts."""

    certificate_expiration_time: Timestamp | None = None
    last_certificate_regeneration: Timestamp | None = None
    certificate_regenerations: UInt32 = 0
    issued_backend: str = ""
    supported_backends: tuple[str, ...] = ()


class OtelSignal(LegacySpec):
    """How one OpenTelemetry signal of a proxy was decided."""

    state: str = ""
    enabled: Flag = False
    env_allowed: Flag = False
    env_input_present: Flag = False
    blocked_reasons: tuple[str, ...] = ()
    missing_fields: tuple[str, ...] = ()
    override_kinds: tuple[str, ...] = ()


class OtelBackend(LegacySpec):
    """The signals towards one OpenTelemetry backend."""

    name: str = ""
    traces: OtelSignal | None = None
    logs: OtelSignal | None = None
    metrics: OtelSignal | None = None


class OpenTelemetry(LegacySpec):
    """How the OpenTelemetry settings of a proxy were decided."""

    backends: tuple[OtelBackend, ...] = ()


class DataplaneInsight(LegacySpec):
    """What the control plane observed of one proxy."""

    subscriptions: tuple[Subscription, ...] = ()
    mtls: Mtls | None = Field(default=None, alias="mTLS")
    metadata: Struct | None = None
    open_telemetry: OpenTelemetry | None = None
