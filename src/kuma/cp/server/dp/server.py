"""The data plane server's socket: HTTPS and gRPC on one port, by Granian in our own event loop.

Granian gives the caller's real address, both HTTP versions and TLS in one listener. Its limits and how they are met
are in docs/adr/0002-granian-for-the-data-plane-port.md.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import structlog
from granian.constants import Interfaces, SSLProtocols
from granian.http import HTTP1Settings, HTTP2Settings
from granian.server.embed import Server

from kuma.cp.certificates.server import ServerTls
from kuma.cp.server.dp import ads, bootstrap, drain, grpc, hds
from kuma.cp.server.dp.ads import AdsServer
from kuma.cp.server.dp.bootstrap import BootstrapServer
from kuma.cp.server.dp.drain import DrainServer
from kuma.cp.server.dp.hds import HdsServer
from kuma.cp.server.dp.http import TEXT

MAX_STREAMS: Final = 100_000
"""Streams served at a time; Granian queues what is beyond its backpressure, so this must exceed any fleet."""
KEEPALIVE_SECONDS: Final = 15
_BACKLOG: Final = 4096
_TLS: Final = {"TLSv1_2": SSLProtocols.tls12, "TLSv1_3": SSLProtocols.tls13}
_NOT_FOUND: Final = b"404: Page Not Found"

log = structlog.get_logger("dp-server")


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
        port: int,
        certificate: ServerTls,
        minimum_tls: str,
        read_header_timeout: float,
        services: Services,
    ) -> None:
        self._services = services
        self._server = Server(
            self._serve,
            address=address,
            port=port,
            interface=Interfaces.RSGI,
            websockets=False,
            log_enabled=False,
            backlog=_BACKLOG,
            backpressure=MAX_STREAMS,
            ssl_cert=Path(certificate.cert_file),
            ssl_key=Path(certificate.key_file),
            ssl_protocol_min=_TLS.get(minimum_tls, SSLProtocols.tls12),
            http1_settings=HTTP1Settings(header_read_timeout=int(read_header_timeout * 1000)),
            http2_settings=HTTP2Settings(
                keep_alive_interval=KEEPALIVE_SECONDS * 1000,
                keep_alive_timeout=KEEPALIVE_SECONDS,
                max_headers_size=64 * 1024,
            ),
        )

    async def run(self) -> None:
        """
        Serve until cancelled.

        Raises:
            OSError: the port cannot be bound.
        """
        try:
            await self._server.serve()
        finally:
            self._server.stop()  # type: ignore[no-untyped-call]

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
