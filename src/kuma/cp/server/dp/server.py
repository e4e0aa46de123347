"""The data plane server's socket: HTTPS and gRPC on one port, and the certificate that is shown there.

Each certificate has a listener of its own on the shared socket. When the certificate changes, a new listener takes the
connections from then on, and the former one lives until its last stream has ended: no stream is broken for it, and no
connection is lost. What serves, and its limits: docs/adr/0002-granian-for-the-data-plane-port.md.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import structlog
from granian.constants import SSLProtocols

from kuma.core.errors import ConfigInvalid
from kuma.cp.certificates.server import ServerTls
from kuma.cp.config import tls_rules
from kuma.cp.config.sections.dp_server import DpServer
from kuma.cp.server.dp import ads, bootstrap, drain, grpc, hds
from kuma.cp.server.dp.ads import AdsServer
from kuma.cp.server.dp.bootstrap import BootstrapServer
from kuma.cp.server.dp.drain import DrainServer
from kuma.cp.server.dp.front import Front
from kuma.cp.server.dp.hds import HdsServer
from kuma.cp.server.dp.http import TEXT
from kuma.cp.server.dp.pair import for_granian
from kuma.cp.server.dp.worker import BACKLOG, Http, Worker
from kuma.cp.server.sockets import tls_context

SETTLED: Final = timedelta(seconds=12)
"""After this no connection that a former listener accepted is still in its handshake."""
MOST_FORMER: Final = 4
"""Listeners of former certificates that may live on for the sake of their streams; each has threads of its own."""
_NOT_FOUND: Final = b"404: Page Not Found"

log = structlog.get_logger("dp-server")

Listener = Worker | Front


@dataclass(frozen=True, slots=True)
class Services:
    """What is served on the port; without ``hds`` proxies do not report health."""

    bootstrap: BootstrapServer
    ads: AdsServer
    hds: HdsServer | None
    drain: DrainServer


class DataplaneServer:
    """Listens until cancelled."""

    def __init__(
        self,
        address: str,
        settings: DpServer,
        certificate: ServerTls,
        services: Services,
        folder: Path,
        *,
        settled: timedelta = SETTLED,
    ) -> None:
        """``folder`` is for sockets that only this control plane uses."""
        self._folder = folder
        self._address = address
        self._settings = settings
        self._certificate = certificate
        self._services = services
        self._settled = settled
        self._http = Http(self._serve, settings.read_header_timeout.total_seconds())
        self._former: list[Listener] = []
        self._started = asyncio.Event()

    async def run(self) -> None:
        """
        Serve until cancelled.

        Raises:
            OSError: the port cannot be bound.
            ConfigInvalid: the certificate cannot be used with these settings.
        """
        with _listening(self._address, self._settings.port) as self._socket:
            async with asyncio.TaskGroup() as self._group:
                try:
                    self._listener = await self._listen(self._certificate)
                except ConfigInvalid as error:
                    raise ConfigInvalid(f"the data plane server: {error}") from error
                self._started.set()
                await asyncio.Event().wait()

    async def renew(self, certificate: ServerTls) -> None:
        """
        Show this certificate from the next connection on.

        Raises:
            ConfigInvalid: it cannot be used with these settings; the former one stays.
        """
        await self._started.wait()
        fresh = await self._listen(certificate)
        former, self._listener = self._listener, fresh
        former.retire()
        self._former.append(former)
        self._group.create_task(self._see_off(former), name="dp server former listener")
        if len(self._former) > MOST_FORMER:
            self._former[0].cut()

    async def _listen(self, certificate: ServerTls) -> Listener:
        rules = tls_rules(
            self._settings.tls_min_version, self._settings.tls_max_version, self._settings.tls_cipher_suites
        )
        listener: Listener
        if rules.only_a_minimum and (pair := for_granian(certificate)) is not None:
            oldest = SSLProtocols.tls13 if rules.minimum == ssl.TLSVersion.TLSv1_3 else SSLProtocols.tls12
            listener = Worker(self._http, self._socket.dup(), pair, oldest)
        else:
            context = tls_context(self._settings, certificate)
            listener = Front(self._http, self._socket.dup(), context, self._folder)
        await listener.start(self._group)
        return listener

    async def _see_off(self, former: Listener) -> None:
        """Let it end once no handshake can be under way there, and its last stream has ended."""
        await asyncio.sleep(self._settled.total_seconds())
        former.stop()
        await former.ended()
        self._former.remove(former)

    async def _serve(self, scope: Any, exchange: Any) -> None:
        try:
            await self._route(scope, exchange)
        except asyncio.CancelledError:
            raise
        except Exception:
            # The one place where a stream's unexpected failure ends: it is logged, its proxy reconnects.
            log.exception("request failed", path=scope.path, address=scope.client)
            raise

    async def _route(self, scope: grpc.Scope, exchange: grpc.Exchange) -> None:
        services = self._services
        if grpc.is_grpc(scope):
            match scope.path:
                case ads.DELTA_PATH:
                    await services.ads.serve(scope, exchange, delta=True)
                case ads.SOTW_PATH:
                    await services.ads.serve(scope, exchange, delta=False)
                case hds.PATH if services.hds is not None:
                    await services.hds.serve(scope, exchange)
                case _:
                    grpc.refuse(exchange, grpc.UNIMPLEMENTED, f"unknown method {scope.path}")
        elif (path := scope.path.rstrip("/")) not in (bootstrap.PATH, drain.PATH):
            exchange.response_bytes(404, TEXT, _NOT_FOUND)
        elif scope.method != "POST":
            exchange.response_bytes(405, [*TEXT, ("allow", "POST")], b"405: Method Not Allowed")
        elif path == drain.PATH:
            await services.drain.serve(scope, exchange)
        else:
            await services.bootstrap.serve(scope, exchange)


def _listening(address: str, port: int) -> socket.socket:
    """A socket for both families where the address stands for both."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    made = socket.create_server(
        (address, port), family=family, backlog=BACKLOG, dualstack_ipv6=address == "::" and socket.has_dualstack_ipv6()
    )
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # what is accepted has it from here
    made.setblocking(False)
    return made
