"""The server for data plane proxies and what their bootstrap says: ``dpServer``, ``bootstrapServer``, ``xdsServer``."""

from __future__ import annotations

from datetime import timedelta

from kuma.cp.config.fields import Count, Port, Section, section, setting
from kuma.cp.config.sections.general import TlsServer
from kuma.cp.config.sections.tokens import DpTokens, ZoneTokens


class DpProxyAuthn(Section):
    """``dpServer.authn.dpProxy``; an empty type follows the environment."""

    type: str = setting("")
    dp_token: DpTokens = section(DpTokens)


class ZoneProxyAuthn(Section):
    """``dpServer.authn.zoneProxy``; an empty type follows the environment."""

    type: str = setting("")
    zone_token: ZoneTokens = section(ZoneTokens)


class DpAuthn(Section):
    """``dpServer.authn``."""

    dp_proxy: DpProxyAuthn = section(DpProxyAuthn)
    zone_proxy: ZoneProxyAuthn = section(ZoneProxyAuthn)
    enable_reloadable_tokens: bool = setting(False)


class HealthCheck(Section):
    """``dpServer.hds.checkDefaults``."""

    timeout: timedelta = setting(timedelta(seconds=2))
    interval: timedelta = setting(timedelta(seconds=1))
    no_traffic_interval: timedelta = setting(timedelta(seconds=1))
    healthy_threshold: Count = setting(1)
    unhealthy_threshold: Count = setting(1)


class Hds(Section):
    """``dpServer.hds``: health checks that Envoy runs for the control plane."""

    enabled: bool = setting(True)
    interval: timedelta = setting(timedelta(seconds=5))
    refresh_interval: timedelta = setting(
        timedelta(seconds=10), inert="a proxy is told what to probe when that changes"
    )
    check_defaults: HealthCheck = section(HealthCheck, env="CHECK_")


class DpServer(TlsServer):
    """``dpServer``."""

    port: Port = setting(5678)
    read_header_timeout: timedelta = setting(timedelta(seconds=5))
    graceful_shutdown_timeout: timedelta = setting(
        timedelta(seconds=10), inert="streams are closed at once, and proxies keep what they have"
    )
    authn: DpAuthn = section(DpAuthn)
    hds: Hds = section(Hds)


class BootstrapParams(Section):
    """``bootstrapServer.params``; ``xdsPort`` 0 becomes the port of ``dpServer``."""

    admin_address: str = setting("127.0.0.1")
    admin_port: Port = setting(9901)
    envoy_admin_unix_socket: bool = setting(True)
    readiness_port: Port = setting(9902)
    admin_access_log_path: str = setting("/dev/null")
    xds_host: str = setting("")
    xds_port: Port = setting(0)
    xds_connect_timeout: timedelta = setting(timedelta(seconds=1))
    xds_grpc_max_receive_message_bytes: Count = setting(4_194_304)
    corefile_template_path: str = setting("", inert="DNS is not built yet")


class BootstrapServer(Section):
    """``bootstrapServer``."""

    params: BootstrapParams = section(BootstrapParams)


class XdsServer(Section):
    """``xdsServer``."""

    dataplane_configuration_refresh_interval: timedelta = setting(
        timedelta(seconds=1), inert="changes are pushed when they happen"
    )
    dataplane_status_flush_interval: timedelta = setting(timedelta(seconds=10))
    nack_backoff: timedelta = setting(
        timedelta(seconds=5), inert="what a proxy refused is not sent again until it changes"
    )
    dataplane_deregistration_delay: timedelta = setting(
        timedelta(seconds=10), env="KUMA_XDS_DATAPLANE_DEREGISTRATION_DELAY"
    )


class GatewayProxy(Section):
    """``proxy.gateway``."""

    global_downstream_max_connections: Count = setting(50_000)


class Proxy(Section):
    """``proxy``."""

    gateway: GatewayProxy = section(GatewayProxy)
