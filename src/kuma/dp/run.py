"""``kuma-dp run``: who we are, join, start Envoy, stay with it."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kuma.core.version import COMPATIBLE_VERSION
from kuma.dp.admin import Admin, Bootstrap
from kuma.dp.envoy import Envoy, EnvoyVersion, arguments, find, version
from kuma.dp.join import Joined, current_token, join
from kuma.dp.machine import has_ipv6, memory_limit, system_ca_path
from kuma.dp.proxy import Proxy, described
from kuma.dp.readiness import Readiness
from kuma.dp.settings import Settings
from kuma.dp.supervise import Orders, supervise
from kuma.dp.token_file import watch
from kuma.dp.workdir import work_dir, write_private

log = logging.getLogger("kuma.dp")


def run(settings: Settings, log_level: str) -> int:
    """
    Live as a proxy; the exit code.

    Raises:
        MeshError: the start is not possible; the text says why.
    """
    proxy = described(settings)
    current_token(settings)  # a wrong token is better known now than after Envoy was looked for
    return asyncio.run(_live(settings, proxy, log_level))


async def _live(settings: Settings, proxy: Proxy, log_level: str) -> int:
    asyncio.get_running_loop().set_exception_handler(_unexpected)
    if settings.idle:
        log.warning(
            "%s: no effect, because DNS for the mesh needs the transparent proxy, which is not available yet",
            ", ".join(settings.idle),
        )
    orders = Orders()
    with ExitStack() as stack:
        stack.enter_context(orders.listening())
        directory = stack.enter_context(work_dir(settings.work_dir))
        settings = _with_token_file(settings, directory, proxy)
        readiness = Readiness(ipv6=has_ipv6(), everywhere=settings.kubernetes)
        stack.callback(readiness.close)
        await readiness.start(settings.readiness_port, any_port=not settings.readiness_port_chosen)
        prepared = await _unless_ended(settings, proxy, directory, readiness.port, orders)
        if prepared is None:
            log.info("asked to end before Envoy was started")
            return 0
        return await _with_envoy(settings, prepared, directory, readiness, orders, log_level)


@dataclass(frozen=True, slots=True)
class _Prepared:
    binary: str
    version: EnvoyVersion
    joined: Joined
    bootstrap: Bootstrap


async def _unless_ended(
    settings: Settings, proxy: Proxy, directory: Path, readiness_port: int, orders: Orders
) -> _Prepared | None:
    """Join; ``None`` when a signal came first."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(None) as scope:
            orders.interrupt = lambda: scope.reschedule(loop.time())
            if orders.ending:
                return None
            return await _prepare(settings, proxy, directory, readiness_port)
    except TimeoutError:
        if not orders.ending:
            raise
        return None
    finally:
        orders.interrupt = bool


async def _prepare(settings: Settings, proxy: Proxy, directory: Path, readiness_port: int) -> _Prepared:
    binary = find(settings.binary_path)
    envoy = await version(binary)
    if not envoy.compatible:
        log.warning("Envoy %s at %s: this release was not tried with it", envoy.version, binary)
    log.info("joining %s as %s", settings.control_plane, f"{proxy.mesh}.{proxy.name}".lstrip("."))
    joined = await join(settings, request_body(settings, proxy, envoy, directory, readiness_port))
    return _Prepared(binary, envoy, joined, Bootstrap.read(joined.bootstrap))


async def _with_envoy(
    settings: Settings, prepared: _Prepared, directory: Path, readiness: Readiness, orders: Orders, log_level: str
) -> int:
    config = directory / "bootstrap.yaml"
    write_private(config, prepared.joined.bootstrap)
    envoy = await Envoy.start(prepared.binary, arguments(config, settings, log_level))
    log.info("Envoy %s started (pid %d); readiness on port %d", prepared.version.version, envoy.pid, readiness.port)
    admin = Admin(prepared.bootstrap.admin)
    readiness.running(admin)
    if admin.host:
        await readiness.also_on(admin.host)
    try:
        async with asyncio.TaskGroup() as tasks:
            watcher = tasks.create_task(
                watch(settings.token_path, envoy_reads_it=prepared.bootstrap.token_is_reloaded), name="token file"
            )
            code = await supervise(envoy, admin, orders, settings.drain_time, readiness.terminating)
            watcher.cancel()
        return code
    finally:
        await envoy.kill()


def request_body(
    settings: Settings, proxy: Proxy, envoy: EnvoyVersion, directory: Path, readiness_port: int
) -> Mapping[str, Any]:
    """What is asked of the control plane, without token and CA. Field names are Kuma's."""
    body = {
        "mesh": proxy.mesh,
        "name": proxy.name,
        "proxyType": proxy.type,
        "dataplaneTokenPath": settings.token_path,
        "dataplaneResource": proxy.resource,
        "version": {
            "kumaDp": {"version": COMPATIBLE_VERSION, "gitTag": "", "gitCommit": "", "buildDate": ""},
            "envoy": {"version": envoy.version, "build": envoy.build, "kumaDpCompatible": envoy.compatible},
        },
        "dynamicMetadata": {"HOST_IP": settings.host_ip} if settings.host_ip else {},
        "dnsPort": settings.dns_port,
        "readinessPort": readiness_port,
        "operatingSystem": "linux" if sys.platform == "linux" else sys.platform,
        "features": list(settings.features),
        "resources": {"maxHeapSizeBytes": settings.max_memory_bytes or memory_limit()},
        "workdir": str(directory),
        "metricsResources": {"certPath": settings.metrics_cert_path, "keyPath": settings.metrics_key_path},
        "systemCaPath": settings.system_ca_path or system_ca_path(),
        "ipv6Enabled": settings.ipv6 and has_ipv6(),
        "spireResources": {"socketPath": settings.spire_socket_path},
    }
    optional = ("dataplaneTokenPath", "dataplaneResource")
    return {key: value for key, value in body.items() if value or key not in optional}


def _with_token_file(settings: Settings, directory: Path, proxy: Proxy) -> Settings:
    """Envoy may have to read the token itself, so a token given as text gets a file; the path is made absolute."""
    if settings.token:
        path = directory / proxy.name
        write_private(path, settings.token.strip().encode())
        return replace(settings, token_path=str(path))
    return replace(settings, token_path=str(Path(settings.token_path).absolute())) if settings.token_path else settings


def _unexpected(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """A fault in a callback is one line; its trace is for those who asked for debug."""
    error = context.get("exception")
    log.error("unexpected: %s%s", context.get("message", ""), f": {error}" if error else "")
    log.debug("where it happened:", exc_info=error)
