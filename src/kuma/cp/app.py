"""The composition root of kuma-cp: the only module that knows all parts, starts them and stops them."""

from __future__ import annotations

import asyncio
import gc
import secrets
import ssl
import sys
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import structlog
from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector

from kuma.core.errors import ConfigInvalid, StoreUnavailable
from kuma.core.identity.claims import UserClaims
from kuma.core.snapshot.plan import Planner
from kuma.core.xds.bootstrap import BootstrapParams
from kuma.core.xds.generate import Generator
from kuma.core.xds.health import ProbeDefaults
from kuma.core.xds.wire import Wire
from kuma.cp.access.control import Access, Allowed, StaticAccess
from kuma.cp.ca.authorities import Authorities
from kuma.cp.ca.authority import CertificateAuthority
from kuma.cp.certificates.machine import addresses, host_name
from kuma.cp.certificates.server import ensure_server_tls
from kuma.cp.certificates.stored import CONTROL_PLANE_CA, ENVOY_ADMIN_CA, ensure_stored_authority
from kuma.cp.certificates.watch import CertificateWatch
from kuma.cp.config import Config, with_tls
from kuma.cp.config.sections.api_server import ApiServer
from kuma.cp.config.sections.tokens import MeshedValidator, Validator
from kuma.cp.greeting import greet
from kuma.cp.metrics import ControlPlaneCollector, Identity, LoopLag, delivery_histogram
from kuma.cp.reconcile.addresses import Addresses
from kuma.cp.reconcile.admin import EnvoyAdminClient
from kuma.cp.reconcile.cleanup import Cleanup
from kuma.cp.reconcile.credentials import Credentials
from kuma.cp.reconcile.draining import Draining
from kuma.cp.reconcile.identities import Identities
from kuma.cp.reconcile.insights import Insights
from kuma.cp.reconcile.inspection import Inspection
from kuma.cp.reconcile.meshes import Meshes
from kuma.cp.reconcile.registration import Registration
from kuma.cp.reconcile.rollout import Rollouts
from kuma.cp.reconcile.streams import Streams
from kuma.cp.resources import Resources
from kuma.cp.resources.defaults import ADMIN_TOKEN, Wishes, cluster_id, create_defaults
from kuma.cp.server.api import rest_api
from kuma.cp.server.api.ports import Backends, Instance
from kuma.cp.server.diagnostics.application import Diagnostics
from kuma.cp.server.diagnostics.levels import LogLevels
from kuma.cp.server.dp.ads import AdsServer
from kuma.cp.server.dp.bootstrap import BootstrapServer
from kuma.cp.server.dp.drain import DrainServer
from kuma.cp.server.dp.hds import HdsServer
from kuma.cp.server.dp.server import DataplaneServer, Services
from kuma.cp.server.listening import HttpServer, TimeLimits
from kuma.cp.server.renewal import Shown, api_files, listen_securely, pair_files
from kuma.cp.server.sockets import api_context, check_port, everywhere, server_context
from kuma.cp.store.metered import MeteredStore
from kuma.cp.store.opening import open_store
from kuma.cp.tokens.issuer import TokenIssuer
from kuma.cp.tokens.keys import SigningKeys
from kuma.cp.tokens.kinds import TokenKind
from kuma.cp.tokens.material import StaticKey, read_public_key
from kuma.cp.tokens.verifier import TokenVerifier, Trust

_STOP_WITHIN: Final = timedelta(seconds=3)
_TRIM_EVERY: Final = timedelta(minutes=1)
_LAG_PROBE_SECONDS: Final = 0.5
_GC_THRESHOLD: Final = 50_000
_SWITCH_SECONDS: Final = 0.001

log = structlog.get_logger("kuma-cp")


@dataclass(frozen=True, slots=True)
class _Security:
    """Keys, certificates and who may do what."""

    keys: SigningKeys
    issuer: TokenIssuer
    verifier: TokenVerifier
    authorities: Authorities
    admin_authority: CertificateAuthority
    access: Access


def _new_id() -> str:
    return str(uuid4())


def utc_now() -> datetime:
    """The clock of the program."""
    return datetime.now(UTC)


async def serve(config: Config, levels: LogLevels, stop: asyncio.Event) -> None:
    """
    Run the control plane until ``stop``.

    ``config`` is autoconfigured, but for the certificate files.

    Raises:
        ConfigInvalid: a setting cannot be carried out (a port is taken, a certificate is unusable).
        StoreUnavailable: the store cannot be opened.
    """
    store = MeteredStore(
        await open_store(
            config.store.type,
            path=Path(config.store.sqlite.path),
            key_text=config.store.encryption.key,
            key_file=Path(config.store.encryption.key_file),
        )
    )
    try:
        await _ControlPlane(config, levels, store).run(stop)
    finally:
        await store.close()


class _ControlPlane:
    """One instance, wired."""

    def __init__(self, config: Config, levels: LogLevels, store: MeteredStore) -> None:
        self._config = config
        self._levels = levels
        self._store = store
        self._ready = False
        self._certificates = CertificateWatch()
        self._tasks: list[asyncio.Task[None]] = []
        self._instance_id = f"{host_name()}-{secrets.token_hex(2)}"

    async def run(self, stop: asyncio.Event) -> None:
        """Start everything, wait, stop everything."""
        config = await self._with_certificates()
        security = await self._security()
        shown = Shown(config.dp_server)
        self._check_ports(config)
        resources = Resources(
            self._store,
            utc_now,
            security.keys.observe,
            zone=config.multizone.zone.name,
            environment=config.environment,
            unsafe_delete=config.store.unsafe_delete,
            admin_ports=_admin_ports(config.api_server),
        )
        await self._create_defaults(config, security)
        this_cluster = await cluster_id(self._store, new_id=_new_id, now=utc_now())

        meshes = Meshes(self._store, security.authorities, Addresses(config.general.dns_cache_ttl))
        meshes.observe(security.keys.observe)
        meshes.observe(security.authorities.observe)
        credentials = Credentials(security.verifier)
        meshes.observe(credentials.observe)
        registry = _registry(self._store)
        planner = Planner(Generator(config.ipam.known_internal_cidrs))
        streams = Streams(
            meshes,
            planner,
            Identities(security.authorities, security.admin_authority),
            Wire(self._instance_id),
            utc_now,
            delivery_histogram(registry).observe,
        )
        insights = Insights(
            self._store,
            self._instance_id,
            utc_now,
            lambda key: (state := meshes.state(key.mesh)) is not None and key.name in state.snapshot.proxies,
            flush_interval=config.xds_server.dataplane_status_flush_interval,
            limit=config.metrics.dataplane.subscription_limit,
        )
        away = await insights.close_stale()
        registration = Registration(
            self._store,
            resources,
            security.verifier,
            utc_now,
            require_token=config.dp_server.authn.dp_proxy.type != "none",
            deregistration_delay=config.xds_server.dataplane_deregistration_delay,
        )
        registration.expect(away)
        health = self._health(config, meshes, registration, credentials)
        lag = LoopLag()
        registry.register(
            ControlPlaneCollector(Identity(self._instance_id, this_cluster), meshes, streams, health, lag)
        )
        api = rest_api(
            Backends(
                config=config,
                instance=Instance(host_name(), self._instance_id, lambda: this_cluster),
                store=self._store,
                resources=resources,
                access=security.access,
                issuer=security.issuer,
                envoy_admin=EnvoyAdminClient(streams, security.admin_authority, utc_now),
                inspector=Inspection(meshes, streams, Planner(Generator(config.ipam.known_internal_cidrs))),
                rollouts=Rollouts(meshes, streams),
                verify_user=_user_check(security.verifier) if config.api_server.authn.type == "tokens" else None,
                ca_fingerprint=lambda: shown.fingerprint,
                now=utc_now,
                new_request_id=lambda: secrets.token_hex(8),
            ),
            registry,
        )
        dataplanes = DataplaneServer(
            everywhere(),
            config.dp_server,
            await shown.read(self._certificates),
            Services(
                bootstrap=self._bootstrap(config, shown),
                ads=AdsServer(
                    streams, registration, credentials, insights, security.admin_authority.pem, self._instance_id
                ),
                hds=health,
                drain=DrainServer(registration, Draining(meshes, streams)),
            ),
            Path(config.general.work_dir),
        )
        shown.give_to(dataplanes.renew)

        async with asyncio.TaskGroup() as group:
            self._start(group, "meshes", meshes.run())
            self._start(group, "names of dataplanes", meshes.follow_names())
            await meshes.ready.wait()
            self._start(group, "insights", insights.run())
            self._start(group, "registration", registration.run())
            self._start(group, "tokens of streams", credentials.run())
            self._start(group, "streams", streams.run())
            self._start_chores(group, config, registration)
            self._start(group, "event loop lag", _watch_lag(lag))
            self._start(group, "dp server", dataplanes.run())
            servers = await self._listen(config, api, Diagnostics(lambda: self._ready, registry, self._levels))
            self._start(group, "certificate files", self._certificates.run())
            _settle_memory()
            self._ready = True
            with_admin_token = await self._store.find(ADMIN_TOKEN) is not None
            greet(config, _static_access(config), shown.tls.fingerprint, with_admin_token=with_admin_token)
            await stop.wait()
            log.info("stopping")
            self._ready = False
            # All at once: one slow client on each port must not add up.
            await asyncio.gather(*(server.close(_STOP_WITHIN) for server in servers))
            streams.end_all()
            for task in reversed(self._tasks):
                task.cancel()
        log.info("stopped")

    def _start(self, group: asyncio.TaskGroup, name: str, work: Coroutine[Any, Any, None]) -> None:
        self._tasks.append(group.create_task(work, name=name))

    def _start_chores(self, group: asyncio.TaskGroup, config: Config, registration: Registration) -> None:
        self._start(group, "cleanup", self._cleanup(config, registration).run())
        self._start(group, "change log", self._trim(config))
        if config.metrics.control_plane.report_resources_count:
            self._start(group, "resource counts", self._store.count())

    async def _create_defaults(self, config: Config, security: _Security) -> None:
        if config.defaults.skip_tenant_resources:
            return
        authn = config.api_server.authn
        wishes = Wishes(
            mesh=not config.defaults.skip_mesh_creation,
            user_tokens=authn.type == "tokens",
            admin_token=authn.tokens.bootstrap_admin_token and authn.tokens.enable_issuer,
        )
        made = await create_defaults(
            self._store,
            security.keys,
            security.issuer,
            wishes=wishes,
            zone=config.multizone.zone.name,
            environment=config.environment,
            clock=utc_now,
        )
        if made.mesh:
            log.info("created the mesh 'default' with its policies")

    async def _with_certificates(self) -> Config:
        """The settings, with the operator's certificate for each server, else one that is issued here."""
        general = self._config.general
        authority = await ensure_stored_authority(self._store, CONTROL_PLANE_CA, now=utc_now())
        if general.tls_cert_file:
            return with_tls(self._config, general.tls_cert_file, general.tls_key_file)
        issued = await ensure_server_tls(
            Path(general.work_dir), authority, hosts=[host_name()], addresses=addresses(), now=utc_now()
        )
        return with_tls(self._config, str(issued.cert_file), str(issued.key_file))

    async def _security(self) -> _Security:
        config, now = self._config, utc_now()
        keys = SigningKeys(self._store)
        authn = config.dp_server.authn
        validators: dict[TokenKind, Validator | MeshedValidator] = {
            TokenKind.USER: config.api_server.authn.tokens.validator,
            TokenKind.DATAPLANE: authn.dp_proxy.dp_token.validator,
            TokenKind.ZONE: authn.zone_proxy.zone_token.validator,
        }
        trust = {kind: Trust(one.use_secrets, _static_keys(one.public_keys)) for kind, one in validators.items()}
        enabled = {
            TokenKind.USER: config.api_server.authn.tokens.enable_issuer,
            TokenKind.DATAPLANE: authn.dp_proxy.dp_token.enable_issuer,
            TokenKind.ZONE: authn.zone_proxy.zone_token.enable_issuer,
        }
        return _Security(
            keys,
            TokenIssuer(keys, new_id=_new_id, enabled=enabled),
            TokenVerifier(keys, trust=trust, store_in_memory=config.store.type == "memory"),
            Authorities(self._store),
            await ensure_stored_authority(self._store, ENVOY_ADMIN_CA, now=now),
            Access(_static_access(config)),
        )

    def _bootstrap(self, config: Config, shown: Shown) -> BootstrapServer:
        params = config.bootstrap_server.params
        return BootstrapServer(
            self._store,
            BootstrapParams(
                xds_host=params.xds_host,
                xds_port=params.xds_port,
                token_required=config.dp_server.authn.dp_proxy.type != "none",
                reloadable_tokens=config.dp_server.authn.enable_reloadable_tokens,
                delta_default=config.experimental.delta_xds,
                hds=config.dp_server.hds.enabled,
                xds_connect_timeout=params.xds_connect_timeout,
                xds_max_receive_message_bytes=params.xds_grpc_max_receive_message_bytes,
                admin_address=params.admin_address,
                admin_port=params.admin_port,
                admin_unix_socket=params.envoy_admin_unix_socket,
                admin_access_log_path=params.admin_access_log_path,
                readiness_port=params.readiness_port,
                gateway_max_connections=config.proxy.gateway.global_downstream_max_connections,
            ),
            lambda: shown.tls,
            config.multizone.zone.name,
        )

    def _health(
        self, config: Config, meshes: Meshes, registration: Registration, credentials: Credentials
    ) -> HdsServer | None:
        settings = config.dp_server.hds
        if not settings.enabled:
            return None
        checks = settings.check_defaults
        defaults = ProbeDefaults(
            report_interval=settings.interval,
            interval=checks.interval,
            timeout=checks.timeout,
            no_traffic_interval=checks.no_traffic_interval,
            healthy_threshold=checks.healthy_threshold,
            unhealthy_threshold=checks.unhealthy_threshold,
        )
        return HdsServer(self._store, meshes, registration, credentials, utc_now, defaults)

    def _cleanup(self, config: Config, registration: Registration) -> Cleanup:
        return Cleanup(self._store, registration.connected, utc_now, config.runtime.universal.dataplane_cleanup_age)

    def _check_ports(self, config: Config) -> None:
        api = config.api_server
        if api.http.enabled:
            check_port("HTTP API", api.http.interface, api.http.port)
        if api.https.enabled:
            check_port("HTTPS API", api.https.interface, api.https.port)
        check_port("data plane", everywhere(), config.dp_server.port)
        check_port("diagnostics", everywhere(), config.diagnostics.server_port)

    async def _listen(self, config: Config, api: Any, diagnostics: Any) -> list[HttpServer]:
        settings = config.api_server
        limits = TimeLimits(settings.read_header_timeout, settings.write_timeout, settings.idle_timeout)

        async def listen(application: Any, host: str, port: int, tls: ssl.SSLContext | None = None) -> HttpServer:
            return await HttpServer.listen(application, host.strip("[]"), port, tls=tls, limits=limits)

        servers: list[HttpServer] = []
        if settings.http.enabled:
            servers.append(await listen(api, settings.http.interface, settings.http.port))
        if (https := settings.https).enabled:
            servers.append(
                await listen_securely(
                    "HTTPS API",
                    self._certificates,
                    lambda: api_files(settings),
                    lambda: api_context(settings),
                    lambda tls: listen(api, https.interface, https.port, tls),
                )
            )
        if (own := config.diagnostics).tls_enabled:
            servers.append(
                await listen_securely(
                    "diagnostics",
                    self._certificates,
                    lambda: pair_files(own),
                    lambda: server_context(own),
                    lambda tls: listen(diagnostics, "", own.server_port, tls),
                )
            )
        else:
            servers.append(await listen(diagnostics, "", own.server_port))
        return servers

    async def _trim(self, config: Config) -> None:
        settings = config.store.change_log
        while True:
            await asyncio.sleep(_TRIM_EVERY.total_seconds())
            try:
                await self._store.trim(
                    now=utc_now(),
                    max_age=settings.max_age,
                    max_entries=settings.max_entries,
                    max_bytes=settings.max_bytes,
                )
            except StoreUnavailable as error:
                log.warning("the change log is trimmed later", reason=str(error))


def _registry(store: MeteredStore) -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(store)
    for collector in (ProcessCollector, PlatformCollector, GCCollector):
        collector(registry=registry)
    return registry


def _settle_memory() -> None:
    """What exists now stays: keep it out of garbage collections, and collect less often than for short scripts."""
    gc.collect()
    gc.freeze()
    # A thread of the store may hold the interpreter for so long before the event loop gets it back.
    sys.setswitchinterval(_SWITCH_SECONDS)
    gc.set_threshold(_GC_THRESHOLD, 20, 20)


async def _watch_lag(lag: LoopLag) -> None:
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + _LAG_PROBE_SECONDS
        await asyncio.sleep(_LAG_PROBE_SECONDS)
        lag.highest = max(lag.highest, loop.time() - due)


def _user_check(verifier: TokenVerifier) -> Callable[[str], Coroutine[Any, Any, UserClaims]]:
    async def check(token: str) -> UserClaims:
        return (await verifier.verify_user(token, now=utc_now())).claims

    return check


def _static_keys(public_keys: Any) -> tuple[StaticKey, ...]:
    """
    The verification keys of the settings.

    Raises:
        ConfigInvalid: a key file cannot be read.
    """
    found: list[StaticKey] = []
    for one in public_keys:
        try:
            pem = one.key.encode() if one.key else Path(one.key_file).read_bytes()
        except OSError as error:
            raise ConfigInvalid(f"the public key file {one.key_file} cannot be read: {error.strerror}") from error
        try:
            found.append(StaticKey(one.kid, read_public_key(pem), getattr(one, "mesh", "")))
        except ValueError as error:
            raise ConfigInvalid(f"the public key with kid {one.kid!r} cannot be used: {error}") from error
    return tuple(found)


def _static_access(config: Config) -> StaticAccess:
    static = config.access.static
    return StaticAccess(
        **{
            name: Allowed(getattr(static, name).users, getattr(static, name).groups)
            for name in StaticAccess.__dataclass_fields__
        }
    )


def _admin_ports(api: ApiServer) -> frozenset[int]:
    """Where a caller from this host is the administrator."""
    servers = (api.http, api.https) if api.authn.localhost_is_admin else ()
    return frozenset(server.port for server in servers if server.enabled)
