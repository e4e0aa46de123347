"""What the control plane tells about itself and its mesh: diagnostics, MADS, metrics, tracing."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from kuma.cp.config.fields import Count, Port, Section, section, setting
from kuma.cp.config.sections.general import TlsServer

_NO_ASSIGNMENTS: Final = "the monitoring assignment server is not built yet"
_NO_TRACES: Final = "traces of the control plane are not built yet"


class MonitoringAssignmentServer(TlsServer):
    """``monitoringAssignmentServer``."""

    enabled: bool = setting(True)
    port: Port = setting(5676, inert=_NO_ASSIGNMENTS)
    api_versions: tuple[str, ...] = setting(("v1",), inert=_NO_ASSIGNMENTS)
    assignment_refresh_interval: timedelta = setting(timedelta(seconds=1), inert=_NO_ASSIGNMENTS)
    default_fetch_timeout: timedelta = setting(timedelta(seconds=30), inert=_NO_ASSIGNMENTS)
    tls_enabled: bool = setting(False, inert=_NO_ASSIGNMENTS)


class Diagnostics(TlsServer):
    """``diagnostics``."""

    server_port: Port = setting(5680)
    debug_endpoints: bool = setting(False, inert="there are no Go profiles")
    tls_enabled: bool = setting(False)


class DataplaneMetrics(Section):
    """``metrics.dataplane``; a limit of 0 means unlimited."""

    subscription_limit: int = setting(2)
    idle_timeout: timedelta = setting(timedelta(minutes=5), inert="a proxy that is gone is noticed by its connection")


class ZoneMetrics(Section):
    """``metrics.zone``; a limit of 0 means unlimited."""

    subscription_limit: int = setting(10)
    idle_timeout: timedelta = setting(timedelta(minutes=5))
    compact_finished_subscriptions: bool = setting(False)


class MeshMetrics(Section):
    """``metrics.mesh``."""

    min_resync_timeout: timedelta = setting(timedelta(0), deprecated="use metrics.mesh.minResyncInterval instead")
    max_resync_timeout: timedelta = setting(timedelta(0), deprecated="use metrics.mesh.fullResyncInterval instead")
    buffer_size: Count = setting(1000, inert="insights are computed when they are read")
    min_resync_interval: timedelta = setting(timedelta(seconds=1))
    full_resync_interval: timedelta = setting(timedelta(seconds=20), inert="insights are computed when they are read")
    event_processors: Count = setting(1, inert="insights are computed when they are read")


class ControlPlaneMetrics(Section):
    """``metrics.controlPlane``."""

    report_resources_count: bool = setting(True)


class MetricsOpenTelemetry(Section):
    """``metrics.openTelemetry``; active only with ``OTEL_EXPORTER_OTLP_ENDPOINT``."""

    enabled: bool = setting(True)


class Metrics(Section):
    """``metrics``."""

    dataplane: DataplaneMetrics = section(DataplaneMetrics)
    zone: ZoneMetrics = section(ZoneMetrics, inert="there is no global control plane")
    mesh: MeshMetrics = section(MeshMetrics)
    control_plane: ControlPlaneMetrics = section(ControlPlaneMetrics)
    open_telemetry: MetricsOpenTelemetry = section(MetricsOpenTelemetry, env="OPENTELEMETRY_")


class TracingOpenTelemetry(Section):
    """``tracing.openTelemetry``."""

    enabled: bool = setting(False, inert=_NO_TRACES)
    endpoint: str = setting("", inert=_NO_TRACES)


class Tracing(Section):
    """``tracing``."""

    open_telemetry: TracingOpenTelemetry = section(TracingOpenTelemetry, env="OPENTELEMETRY_")
