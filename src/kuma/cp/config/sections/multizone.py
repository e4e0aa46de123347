"""Zones: the name of this one is used, everything about a global control plane is accepted and has no effect."""

from __future__ import annotations

from datetime import timedelta

from kuma.cp.config.fields import Count, Port, Section, section, setting
from kuma.cp.config.sections.general import TlsServer

_NO_GLOBAL = "this control plane has no global one above it"


class KdsTracing(Section):
    """``multizone.global.kds.tracing``."""

    enabled: bool = setting(True)


class GlobalKds(TlsServer):
    """``multizone.global.kds``."""

    grpc_port: Port = setting(5685)
    refresh_interval: timedelta = setting(timedelta(seconds=1))
    zone_insight_flush_interval: timedelta = setting(timedelta(seconds=10))
    tls_enabled: bool = setting(True)
    max_msg_size: Count = setting(10_485_760)
    msg_send_timeout: timedelta = setting(timedelta(minutes=1))
    nack_backoff: timedelta = setting(timedelta(seconds=5))
    response_backoff: timedelta = setting(timedelta(0))
    log_payloads: bool = setting(False)
    tracing: KdsTracing = section(KdsTracing)


class Global(Section):
    """``multizone.global``."""

    kds: GlobalKds = section(GlobalKds)


class ZoneKds(Section):
    """``multizone.zone.kds``."""

    refresh_interval: timedelta = setting(timedelta(seconds=1))
    root_ca_file: str = setting("")
    tls_skip_verify: bool = setting(False)
    max_msg_size: Count = setting(10_485_760)
    msg_send_timeout: timedelta = setting(timedelta(minutes=1))
    nack_backoff: timedelta = setting(timedelta(seconds=5))
    response_backoff: timedelta = setting(timedelta(0))
    log_payloads: bool = setting(False)


class Zone(Section):
    """``multizone.zone``."""

    name: str = setting("default")
    global_address: str = setting("", inert=_NO_GLOBAL)
    kds: ZoneKds = section(ZoneKds, inert=_NO_GLOBAL)
    disable_origin_label_validation: bool = setting(False, inert=_NO_GLOBAL)
    ingress_update_interval: timedelta = setting(timedelta(seconds=1), inert="there is no zone ingress")


class Multizone(Section):
    """``multizone``."""

    global_: Global = section(Global, wire="global", env="GLOBAL_", inert=_NO_GLOBAL)
    zone: Zone = section(Zone)
