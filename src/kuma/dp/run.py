"""``kuma-dp run``: who we are, join, start Envoy, stay with it."""

from __future__ import annotations

import asyncio
import logging
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from kuma.core.xds.sockets import access_log_pipe
from kuma.dp.access_log import AccessLogStreamer
from kuma.dp.admin import Admin, Bootstrap
from kuma.dp.control_plane import current_token
from kuma.dp.envoy import Envoy, EnvoyVersion, arguments, find, version
from kuma.dp.farewell import say_farewell
from kuma.dp.join import Joined, join
from kuma.dp.machine import has_ipv6
from kuma.dp.proxy import Proxy, described
from kuma.dp.readiness import Readiness
from kuma.dp.request import request_body
from kuma.dp.settings import Settings
from kuma.dp.startup import tell_when_serving
from kuma.dp.supervise import Farewell, Orders, supervise
from kuma.dp.token import expiry
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
    token = current_token(settings)  # a wrong one is better known now than after Envoy was looked for
    end = expiry(token) if token else None
    if end is not None and end <= datetime.now(UTC):
        log.warning(
            "the dataplane token expired at %s; make a new one with 'kumactl generate dataplane-token'",
            end.isoformat(timespec="seconds"),
        )
    return asyncio.run(_live(settings, proxy, log_level))


async def _live(settings: Settings, proxy: Proxy, log_level: str) -> int:
    asyncio.get_running_loop().set_exception_handler(_unexpected)
    if settings.idle:
        log.warning(
            "%s: no effect, because DNS for the mesh needs the transparent proxy, which is not available yet",
            ", ".join(settings.idle),
        )
    with ExitStack() as stack:
        orders = Orders()
        stack.enter_context(orders.listening())
        directory = stack.enter_context(work_dir(settings.work_dir))
        readiness = Readiness(ipv6=has_ipv6(), everywhere=settings.kubernetes)
        stack.callback(readiness.close)
        await readiness.start(settings.readiness_port, any_port=not settings.readiness_port_chosen)
        return await _Life(settings, proxy, directory, readiness, orders, log_level).live()


@dataclass(frozen=True, slots=True)
class _Prepared:
    """Everything Envoy needs to start."""

    binary: str
    version: EnvoyVersion
    joined: Joined
    bootstrap: Bootstrap


@dataclass(frozen=True, slots=True)
class _Life:
    """One proxy, from joining to its end."""

    settings: Settings
    proxy: Proxy
    directory: Path
    readiness: Readiness
    orders: Orders
    log_level: str

    async def live(self) -> int:
        """The exit code."""
        prepared = await self._unless_ended()
        if prepared is None:
            log.info("asked to end before Envoy was started")
            return 0
        with AccessLogStreamer(Path(access_log_pipe(str(self.directory), self.proxy.name, self.proxy.mesh))) as logs:
            return await self._with_envoy(prepared, logs)

    @property
    def token_copy(self) -> Path:
        """Where Envoy finds the token, when the control plane lets Envoy read it."""
        return self.directory / self.proxy.name

    async def _unless_ended(self) -> _Prepared | None:
        """Join; ``None`` when a signal came first."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(None) as scope:
                self.orders.interrupt = lambda: scope.reschedule(loop.time())
                if self.orders.ending:
                    return None
                return await self._prepare()
        except TimeoutError:
            if not self.orders.ending:
                raise
            return None
        finally:
            self.orders.interrupt = bool

    async def _prepare(self) -> _Prepared:
        binary = find(self.settings.binary_path)
        envoy = await version(binary)
        if not envoy.compatible:
            log.warning("Envoy %s at %s: this release was not tried with it", envoy.version, binary)
        who = f"{self.proxy.mesh}.{self.proxy.name}".lstrip(".")
        log.info("joining %s as %s", self.settings.control_plane, who)
        body = request_body(self.settings, self.proxy, envoy, self.directory, self.token_copy, self.readiness.port)
        joined = await join(self.settings, body)
        return _Prepared(binary, envoy, joined, Bootstrap.read(joined.bootstrap))

    async def _with_envoy(self, prepared: _Prepared, logs: AccessLogStreamer) -> int:
        config = self.directory / "bootstrap.yaml"
        write_private(config, prepared.joined.bootstrap)
        deliver = self._deliver if prepared.bootstrap.token_is_reloaded else None
        if deliver is not None:
            deliver(current_token(self.settings))
        envoy = await Envoy.start(prepared.binary, arguments(config, self.settings, self.log_level))
        try:
            log.info(
                "Envoy %s started (pid %d); readiness on port %d",
                prepared.version.version,
                envoy.pid,
                self.readiness.port,
            )
            admin = Admin(prepared.bootstrap.admin)
            self.readiness.running(admin)
            await self.readiness.also_on(admin.host)
            async with asyncio.TaskGroup() as tasks:
                token = "" if self.settings.token else self.settings.token_path
                helpers = (
                    tasks.create_task(watch(token, deliver), name="token file"),
                    tasks.create_task(tell_when_serving(admin), name="start of Envoy"),
                )
                streamer = tasks.create_task(logs.run(), name="access log")
                code = await supervise(envoy, admin, self.orders, self.settings.drain_time, self._farewell)
                for helper in helpers:
                    helper.cancel()
                streamer.cancel()
            return code
        finally:
            await envoy.kill()

    @property
    def _farewell(self) -> Farewell:
        return Farewell(self.readiness.terminating, lambda: say_farewell(self.settings, self.proxy))

    def _deliver(self, token: str) -> None:
        write_private(self.token_copy, token.encode())


def _unexpected(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """A fault in a callback is one line; its trace is for those who asked for debug."""
    error = context.get("exception")
    log.error("unexpected: %s%s", context.get("message", ""), f": {error}" if error else "")
    log.debug("where it happened:", exc_info=error)
