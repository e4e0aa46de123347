"""Settings of the control plane as a whole, and of the entities it creates by itself."""

from __future__ import annotations

from datetime import timedelta

from kuma.cp.config.fields import Count, Port, Section, section, setting


class TlsLimits(Section):
    """What TLS may be spoken; cipher names are Go's (IANA), see ``kuma.cp.config.tls``."""

    tls_min_version: str = setting("TLSv1_2")
    tls_max_version: str = setting("")
    tls_cipher_suites: tuple[str, ...] = setting(())


class TlsServer(TlsLimits):
    """A server with a certificate; an empty pair is filled with the general one at start."""

    tls_cert_file: str = setting("")
    tls_key_file: str = setting("")


class General(TlsServer):
    """``general``."""

    dns_cache_ttl: timedelta = setting(timedelta(seconds=10), wire="dnsCacheTTL")
    work_dir: str = setting("")
    resilient_component_base_backoff: timedelta = setting(
        timedelta(seconds=5), inert="parts of the control plane are not restarted one by one"
    )
    resilient_component_max_backoff: timedelta = setting(
        timedelta(minutes=1), inert="parts of the control plane are not restarted one by one"
    )
    cert_generation_base_backoff: timedelta = setting(
        timedelta(seconds=5), inert="a certificate that could not be issued is tried again every 5 s"
    )
    cert_generation_max_backoff: timedelta = setting(
        timedelta(minutes=5), inert="a certificate that could not be issued is tried again every 5 s"
    )
    cert_generation_circuit_breaker_min_proxies: Count = setting(
        10, inert="a certificate that could not be issued is tried again every 5 s"
    )


class Defaults(Section):
    """``defaults``: what is created without being asked for."""

    skip_mesh_creation: bool = setting(False)
    skip_tenant_resources: bool = setting(False)
    create_mesh_routing_resources: bool = setting(
        False, inert="TrafficPermission and TrafficRoute are not built yet; no traffic needs them"
    )
    skip_hostname_generators: bool = setting(
        False,
        wire="SkipHostnameGenerators",  # Kuma prints this one capitalised
        inert="HostnameGenerator resources are not built yet",
    )


class Reports(Section):
    """``reports``."""

    enabled: bool = setting(False, inert="this product never sends usage reports")


class EventBus(Section):
    """``eventBus``."""

    buffer_size: Count = setting(100, inert="no event is ever dropped")


class Catalog(Section):
    """``interCp.catalog``: how replicas find each other."""

    instance_address: str = setting("")
    heartbeat_interval: timedelta = setting(timedelta(seconds=5))
    writer_interval: timedelta = setting(timedelta(seconds=15))


class InterCpServer(TlsLimits):
    """``interCp.server``."""

    port: Port = setting(5683)


class InterCp(Section):
    """``interCp``: traffic between replicas of the control plane."""

    catalog: Catalog = section(Catalog, inert="replicas are not built yet")
    server: InterCpServer = section(InterCpServer, inert="replicas are not built yet")
