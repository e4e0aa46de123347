"""The data plane server's socket: HTTPS and gRPC on one port, by Granian in our own event loop.

Granian gives the caller's real address, both HTTP versions and TLS in one listener. Its limits and how they are met
are in docs/adr/0002-granian-for-the-data-plane-port.md.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, Final

import structlog
from granian.constants import Interfaces, SSLProtocols
from granian.http import HTTP1Settings, HTTP2Settings
from granian.server.embed import Server

from kuma.cp.certificates.server import ServerTls
from kuma.cp.server.dp import ads, bootstrap, grpc, hds
from kuma.cp.server.dp.ads import AdsServer
from kuma.cp.server.dp.bootstrap import BootstrapServer
from kuma.cp.server.dp.hds import HdsServer

MAX_STREAMS: Final = 100_000
"""Streams served at a time; Granian queues what is beyond its backpressure, so this must exceed any fleet."""
KEEPALIVE_SECONDS: Final = 15
_BACKLOG: Final = 4096
_TLS: Final = {"TLSv1_2": SSLProtocols.tls12, "TLSv1_3": SSLProtocols.tls13}
_NOT_FOUND: Final = b"404: Page Not Found"
_PLAIN: Final = [("content-type", "text/plain; charset=utf-8")]

log = structlog.get_logger("dp-server")


class DataplaneServer:
    """Listens until cancelled."""

    def __init__(
        self,
        address: str,
        port: int,
        certificate: ServerTls,
        minimum_tls: str,
        read_header_timeout: float,
        *,
        bootstrap_server: BootstrapServer,
        ads_server: AdsServer,
        hds_server: HdsServer | None,
    ) -> None:
        self._bootstrap = bootstrap_server
        self._ads = ads_server
        self._hds = hds_server
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
        if grpc.is_grpc(scope):
            match scope.path:
                case ads.DELTA_PATH:
                    await self._ads.serve(scope, exchange, delta=True)
                case ads.SOTW_PATH:
                    await self._ads.serve(scope, exchange, delta=False)
                case hds.PATH if self._hds is not None:
                    await self._hds.serve(scope, exchange)
                case _:
                    grpc.refuse(exchange, grpc.UNIMPLEMENTED, f"unknown method {scope.path}")
        elif scope.path.rstrip("/") != bootstrap.PATH:
            exchange.response_bytes(404, _PLAIN, _NOT_FOUND)
        elif scope.method != "POST":
            exchange.response_bytes(405, [*_PLAIN, ("allow", "POST")], b"405: Method Not Allowed")
        else:
            await self._bootstrap.serve(scope, exchange)
