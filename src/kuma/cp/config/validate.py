"""What types cannot say about the settings. The sentences and their wrappers are Kuma's where Kuma has the rule.

Every fault is found in one go; a person corrects a configuration once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from ipaddress import ip_network
from typing import Final
from urllib.parse import urlsplit

from kuma.core.errors import ConfigInvalid
from kuma.core.units import is_hostname, is_ip
from kuma.cp.config.sections.general import TlsLimits, TlsServer
from kuma.cp.config.sections.store import PostgresStore
from kuma.cp.config.sections.tokens import PublicKey
from kuma.cp.config.tls import openssl_ciphers, tls_rules, tls_version
from kuma.cp.config.tree import GLOBAL, KUBERNETES, STANDALONE, UNIVERSAL, ZONE, Config
from kuma.cp.config.validate_kubernetes import kubernetes_faults

STORE_TYPES: Final = ("postgres", "kubernetes", "memory", "sqlite")
_MODES: Final = (STANDALONE, ZONE, GLOBAL)
_VERIFYING: Final = ("verifyCa", "verifyFull")
_NEVER: Final = timedelta(0)

Rule = Callable[[Config], Iterator[str]]


def faults(config: Config) -> tuple[str, ...]:
    """Everything wrong with the settings; empty when the control plane may start."""
    return tuple(f"{wrapper} validation failed: {fault}" for wrapper, rule in _RULES for fault in rule(config)) + tuple(
        _environment(config)
    )


def _mode(config: Config) -> Iterator[str]:
    if config.mode not in _MODES:
        yield f"invalid mode. Available modes: {', '.join(_MODES)}"
    elif config.mode == GLOBAL:
        yield "mode global is not supported by this product; use standalone (or zone, which is the same here)"


def _environment(config: Config) -> Iterator[str]:
    if config.environment not in (KUBERNETES, UNIVERSAL):
        yield f"Environment should be either {KUBERNETES} or {UNIVERSAL}"


def _general(config: Config) -> Iterator[str]:
    general = config.general
    yield from _tls(general)
    yield from _backoffs(
        "ResilientComponent", general.resilient_component_base_backoff, general.resilient_component_max_backoff
    )
    yield from _backoffs("CertGeneration", general.cert_generation_base_backoff, general.cert_generation_max_backoff)


def _store(config: Config) -> Iterator[str]:
    store = config.store
    if store.type not in STORE_TYPES:
        yield f"Type should be either {', '.join(STORE_TYPES[:-1])} or {STORE_TYPES[-1]}"
    if store.type == "postgres":
        yield from (f"Postgres validation failed: {fault}" for fault in _postgres(store.postgres))
    if store.type == "kubernetes" and not store.kubernetes.system_namespace:
        yield "Kubernetes validation failed: SystemNamespace should not be empty"
    if store.cache.enabled and store.cache.expiration_time < _NEVER:
        yield "Cache validation failed: ExpirationTime should be positive or equal 0"
    if store.upsert.conflict_retry_base_backoff < _NEVER:
        yield "Upsert validation failed: ConflictRetryBaseBackoff cannot be lower than 0"
    if store.change_log.max_age <= _NEVER:
        yield "ChangeLog validation failed: MaxAge should be greater than 0"


def _postgres(postgres: PostgresStore) -> Iterator[str]:
    for name in ("host", "user", "password", "db_name"):
        if not getattr(postgres, name):
            yield f"{'DbName' if name == 'db_name' else name.capitalize()} should not be empty"
    if postgres.port < 1:
        yield "Port should be in the range [1, 65535]"
    if postgres.driver_name not in ("pgx", "postgres"):
        yield "DriverName should be either pgx or postgres"
    if postgres.min_open_connections > postgres.max_open_connections:
        yield "MinOpenConnections should not be greater than MaxOpenConnections"
    tls = postgres.tls
    if tls.mode not in ("disable", "verifyNone", *_VERIFYING):
        yield f"TLS validation failed: invalid mode: {tls.mode}; known are disable, verifyNone, verifyCa, verifyFull"
    if tls.mode in _VERIFYING and not tls.ca_path:
        yield f"TLS validation failed: CAPath cannot be empty when mode is {tls.mode}"
    if bool(tls.cert_path) != bool(tls.key_path):
        yield "TLS validation failed: CertPath and KeyPath have to be set together"


def _zone(config: Config) -> Iterator[str]:
    name = config.multizone.zone.name
    if not name:
        yield "Name is mandatory in Zone mode"
    elif len(name) > 63 or not is_hostname(name):
        yield f"Wrong zone name {name!r}: it has to be a DNS name of at most 63 characters"
    address = config.multizone.zone.global_address
    if address and urlsplit(address).scheme not in ("grpc", "grpcs"):
        yield f"unsupported scheme in zone GlobalAddress {address!r}. Use one of grpc, grpcs"


def _xds_server(config: Config) -> Iterator[str]:
    xds = config.xds_server
    if xds.dataplane_configuration_refresh_interval <= _NEVER:
        yield "DataplaneConfigurationRefreshInterval must be positive"
    if xds.dataplane_status_flush_interval <= _NEVER:
        yield "DataplaneStatusFlushInterval must be positive"
    if xds.dataplane_deregistration_delay < _NEVER:
        yield "DataplaneDeregistrationDelay must be positive or equal to 0"


def _bootstrap_server(config: Config) -> Iterator[str]:
    params = config.bootstrap_server.params
    if not is_ip(params.admin_address):
        yield "Params validation failed: AdminAddress should be a valid IP address"
    if not params.admin_access_log_path:
        yield "Params validation failed: AdminAccessLogPath cannot be empty"
    if params.xds_connect_timeout < _NEVER:
        yield "Params validation failed: XdsConnectTimeout cannot be negative"


def _mads(config: Config) -> Iterator[str]:
    mads = config.monitoring_assignment_server
    yield from _tls(mads)
    if mads.assignment_refresh_interval <= _NEVER:
        yield "AssignmentRefreshInterval must be positive"
    if not mads.api_versions:
        yield "ApiVersions must contain at least one version"
    yield from (f"invalid API version: {version}; known is v1" for version in mads.api_versions if version != "v1")


def _runtime(config: Config) -> Iterator[str]:
    if config.on_kubernetes:
        yield from (f"Kubernetes validation failed: {fault}" for fault in kubernetes_faults(config.runtime.kubernetes))
        return
    universal = config.runtime.universal
    if universal.dataplane_cleanup_age <= _NEVER:
        yield "Universal validation failed: DataplaneCleanupAge must be positive"
    if universal.vip_refresh_interval <= _NEVER:
        yield "Universal validation failed: VIPRefreshInterval must be positive"


def _metrics(config: Config) -> Iterator[str]:
    metrics = config.metrics
    if metrics.dataplane.subscription_limit < 0:
        yield "Dataplane validation failed: SubscriptionLimit should be positive or equal 0"
    if metrics.zone.subscription_limit < 0:
        yield "Zone validation failed: SubscriptionLimit should be positive or equal 0"
    if metrics.mesh.full_resync_interval <= metrics.mesh.min_resync_interval:
        yield "Mesh validation failed: FullResyncInterval should be greater than MinResyncInterval"


def _api_server(config: Config) -> Iterator[str]:
    api = config.api_server
    for name, server in (("HTTP", api.http), ("HTTPS", api.https)):
        if server.enabled and not is_ip(server.interface) and not is_hostname(server.interface):
            yield f"{name} validation failed: Interface {server.interface!r} is not an IP address or a host name"
    yield from (f"HTTPS validation failed: {fault}" for fault in _tls(api.https))
    for name, path in (("BasePath", api.base_path), ("GUI validation failed: BasePath", api.gui.base_path)):
        if not path.startswith("/"):
            yield f"{name} {path!r} has to start with /"
    for name, url in (("RootUrl", api.root_url), ("GUI validation failed: RootUrl", api.gui.root_url)):
        if url and not _is_url(url):
            yield f"{name} is not a valid url"
    yield from _one_of("Authn.Type", api.authn.type, ("tokens", "adminClientCerts"))
    yield from _public_keys("Authn.Tokens", api.authn.tokens.validator.public_keys)
    for name in ("read_header_timeout", "read_timeout", "write_timeout", "idle_timeout"):
        if getattr(api, name) < _NEVER:
            yield f"{''.join(map(str.capitalize, name.split('_')))} cannot be negative"


def _dns_server(config: Config) -> Iterator[str]:
    if not is_hostname(config.dns_server.domain):
        yield f"Domain {config.dns_server.domain!r} is not a DNS name"
    if not _is_cidr(config.dns_server.cidr):
        yield f"Must provide a valid CIDR, {config.dns_server.cidr!r} is none"


def _diagnostics(config: Config) -> Iterator[str]:
    yield from _tls(config.diagnostics)


def _dp_server(config: Config) -> Iterator[str]:
    server = config.dp_server
    yield from _tls(server)
    if server.graceful_shutdown_timeout <= _NEVER:
        yield "GracefulShutdownTimeout must be greater than 0"
    if server.read_header_timeout < _NEVER:
        yield "ReadHeaderTimeout cannot be negative"
    dp_proxy, zone_proxy = server.authn.dp_proxy, server.authn.zone_proxy
    accounts = ("serviceAccountToken",) if config.on_kubernetes else ()  # elsewhere nobody could check them
    yield from _one_of("Authn.DpProxy.Type", dp_proxy.type, ("", "dpToken", *accounts, "none"))
    yield from _one_of("Authn.ZoneProxy.Type", zone_proxy.type, ("", "zoneToken", *accounts, "none"))
    yield from _public_keys("Authn.DpProxy.DpToken", dp_proxy.dp_token.validator.public_keys)
    yield from _public_keys("Authn.ZoneProxy.ZoneToken", zone_proxy.zone_token.validator.public_keys)
    hds = server.hds
    if hds.enabled:
        for name, interval in (("Interval", hds.interval), ("RefreshInterval", hds.refresh_interval)):
            if interval <= _NEVER:
                yield f"Hds.{name} must be greater than 0"


def _access(config: Config) -> Iterator[str]:
    yield from _one_of("Type", config.access.type, ("static",))


def _inter_cp(config: Config) -> Iterator[str]:
    yield from _tls_limits(config.inter_cp.server)
    catalog = config.inter_cp.catalog
    if catalog.instance_address and not is_ip(catalog.instance_address):
        yield "Catalog validation failed: InstanceAddress has to be a valid IP address"
    if catalog.heartbeat_interval <= _NEVER or catalog.writer_interval <= _NEVER:
        yield "Catalog validation failed: HeartbeatInterval and WriterInterval must be positive"


def _ipam(config: Config) -> Iterator[str]:
    ipam = config.ipam
    pools = {
        "MeshService": ipam.mesh_service,
        "MeshExternalService": ipam.mesh_external_service,
        "MeshMultiZoneService": ipam.mesh_multi_zone_service,
    }
    for name, pool in pools.items():
        if not _is_cidr(pool.cidr):
            yield f"{name}.CIDR {pool.cidr!r} is not a valid CIDR"
    yield from (
        f"KnownInternalCIDRs: {cidr!r} is not a valid CIDR" for cidr in ipam.known_internal_cidrs if not _is_cidr(cidr)
    )
    if ipam.allocation_interval <= _NEVER:
        yield "AllocationInterval must be positive"


def _mesh_service(config: Config) -> Iterator[str]:
    for key in config.mesh_service.label_propagation.allowed_label_keys:
        if key.split("/")[0] in ("kuma.io", "k8s.kuma.io") and "/" in key:
            yield f"LabelPropagation.AllowedLabelKeys: {key!r} is reserved and cannot be propagated"


def _tls(server: TlsServer) -> Iterator[str]:
    if server.tls_key_file and not server.tls_cert_file:
        yield "TlsCertFile cannot be empty if TlsKeyFile has been set"
    if server.tls_cert_file and not server.tls_key_file:
        yield "TlsKeyFile cannot be empty if TlsCertFile has been set"
    yield from _tls_limits(server)


def _tls_limits(limits: TlsLimits) -> Iterator[str]:
    faulty = False
    for name, text in (("TlsMinVersion", limits.tls_min_version), ("TlsMaxVersion", limits.tls_max_version)):
        try:
            tls_version(text)
        except ConfigInvalid as error:
            faulty = True
            yield f"{name}: {error}"
    try:
        openssl_ciphers(limits.tls_cipher_suites)
    except ConfigInvalid as error:
        faulty = True
        yield f"TlsCipherSuites: {error}"
    if faulty:
        return
    try:
        tls_rules(limits.tls_min_version, limits.tls_max_version, limits.tls_cipher_suites)
    except ConfigInvalid as error:
        yield str(error)


def _public_keys(where: str, keys: tuple[PublicKey, ...]) -> Iterator[str]:
    for at, key in enumerate(keys):
        here = f"{where}.Validator.PublicKeys[{at}]"
        if not key.kid:
            yield f"{here}: .KID is required"
        if bool(key.key) == bool(key.key_file):
            yield f"{here}: exactly one of .Key and .KeyFile has to be set"


def _one_of(name: str, value: str, allowed: tuple[str, ...]) -> Iterator[str]:
    if value not in allowed:
        yield f"{name} {value!r} is unknown, should be one of {', '.join(filter(None, allowed))}"


def _backoffs(name: str, base: timedelta, longest: timedelta) -> Iterator[str]:
    if base <= _NEVER or longest < base:
        yield f"{name}BaseBackoff must be positive and not greater than {name}MaxBackoff"


def _is_cidr(text: str) -> bool:
    try:
        ip_network(text, strict=False)
    except ValueError:
        return False
    return "/" in text


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    return bool(parts.scheme and parts.netloc)


_RULES: Final[tuple[tuple[str, Rule], ...]] = (
    ("Mode", _mode),
    ("General", _general),
    ("Multizone Zone", _zone),
    ("Xds Server", _xds_server),
    ("Bootstrap Server", _bootstrap_server),
    ("Monitoring Assignment Server", _mads),
    ("Runtime", _runtime),
    ("Metrics", _metrics),
    ("Store", _store),
    ("ApiServer", _api_server),
    ("DNSServer", _dns_server),
    ("Diagnostics", _diagnostics),
    ("DpServer", _dp_server),
    ("Access", _access),
    ("InterCp", _inter_cp),
    ("IPAM", _ipam),
    ("MeshService", _mesh_service),
)
