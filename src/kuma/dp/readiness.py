"""``GET /ready``: whether this proxy should get traffic.

Before Envoy runs: 503 NOT_READY. While kuma-dp drains: 503 TERMINATING. Between them Envoy decides, where its admin
interface is on a Unix socket that only kuma-dp can reach; otherwise 200 READY.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from ipaddress import ip_address
from typing import Final

from kuma.core.errors import ConfigInvalid
from kuma.core.units import is_ip
from kuma.dp.admin import Admin
from kuma.dp.http import Answer, HttpError

log = logging.getLogger("kuma.dp.readiness")

_MAX_HEAD: Final = 8192
_MAX_OPEN: Final = 64
_SECONDS: Final = 5
_BACKLOG: Final = 64
_ATTEMPTS: Final = 20
_TEXT: Final = "text/plain"


class Readiness:
    """The state of this proxy, and the server that tells it."""

    def __init__(self, *, ipv6: bool, everywhere: bool = False) -> None:
        self._ipv6 = ipv6
        self._everywhere = everywhere
        self._servers: list[asyncio.Server] = []
        self._open = 0
        self._admin: Admin | None = None
        self._terminating = False
        self.port = 0

    async def start(self, port: int, *, any_port: bool) -> None:
        """
        Listen on the port; with ``any_port`` on a free one if it is taken.

        Raises:
            ConfigInvalid: the port cannot be had.
        """
        sockets = self._bound(port, any_port=any_port)
        self.port = sockets[0].getsockname()[1]
        if self.port != port:
            log.info("readiness port %d is taken on this machine, using %d", port, self.port)
        for bound in sockets:
            self._servers.append(await asyncio.start_server(self._serve, sock=bound, limit=_MAX_HEAD, backlog=_BACKLOG))

    async def also_on(self, host: str) -> None:
        """Listen on one more address: the one of Envoy's admin interface, where Envoy will look for us."""
        if self._everywhere or not is_ip(host) or (ip_address(host).is_loopback or ip_address(host).is_unspecified):
            return
        try:
            server = await asyncio.start_server(self._serve, host, self.port, limit=_MAX_HEAD, backlog=_BACKLOG)
        except OSError as error:
            log.warning("readiness cannot listen on %s port %d: %s", host, self.port, error.strerror)
            return
        self._servers.append(server)

    def running(self, admin: Admin) -> None:
        """Envoy runs; from now on it is asked."""
        self._admin = admin

    def terminating(self) -> None:
        """No new traffic, please."""
        self._terminating = True

    def close(self) -> None:
        for server in self._servers:
            server.close()

    async def answer(self) -> Answer:
        """What a request to ``/ready`` gets."""
        if self._terminating:
            return Answer(503, b"TERMINATING\n", _TEXT)
        if self._admin is None:
            return Answer(503, b"NOT_READY\n", _TEXT)
        if not self._admin.on_socket:
            return Answer(200, b"READY\n", _TEXT)
        try:
            return await self._admin.ready()
        except HttpError:
            return Answer(503, b"NOT_READY\n", _TEXT)

    def _bound(self, port: int, *, any_port: bool) -> list[socket.socket]:
        try:
            return self._pair(port)
        except OSError as error:
            if not any_port or error.errno != errno.EADDRINUSE:
                raise ConfigInvalid(
                    f"KUMA_READINESS_PORT: cannot listen on port {port}: {error.strerror}; choose another, or "
                    "none: then a free one is taken"
                ) from error
        for _ in range(_ATTEMPTS):
            try:
                return self._pair(0)
            except OSError:
                continue  # free on IPv4 and taken on IPv6: the next one will do
        raise ConfigInvalid("KUMA_READINESS_PORT: no free port can be found for the readiness server")

    def _pair(self, port: int) -> list[socket.socket]:
        """Both loopback addresses, for Envoy asks the one of the proxy's own family; on Kubernetes all addresses."""
        addresses = [(socket.AF_INET, "0.0.0.0" if self._everywhere else "127.0.0.1")]  # noqa: S104
        if self._ipv6:
            addresses.append((socket.AF_INET6, "::" if self._everywhere else "::1"))
        sockets: list[socket.socket] = []
        try:
            for family, address in addresses:
                bound = socket.socket(family, socket.SOCK_STREAM)
                sockets.append(bound)
                bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                bound.bind((address, port))
                # Listening, not binding, is what keeps others off a port with SO_REUSEADDR.
                bound.listen(_BACKLOG)
                bound.setblocking(False)
                port = bound.getsockname()[1]
        except OSError:
            for bound in sockets:
                bound.close()
            raise
        return sockets

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open += 1
        try:
            if self._open > _MAX_OPEN:
                return
            async with asyncio.timeout(_SECONDS):
                head = await reader.readuntil(b"\r\n\r\n")
                method, _, rest = head.decode("latin-1").partition(" ")
                writer.write(_rendered(await self._routed(method, rest.split(" ")[0]), method))
                await writer.drain()
        except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # a prober that went away or talks nonsense is no event
        finally:
            self._open -= 1
            writer.close()

    async def _routed(self, method: str, path: str) -> Answer:
        if path.partition("?")[0] != "/ready":
            return Answer(404, b"this port answers /ready only\n", _TEXT)
        if method not in ("GET", "HEAD"):
            return Answer(405, b"use GET\n", _TEXT)
        return await self.answer()


def _rendered(answer: Answer, method: str) -> bytes:
    phrase = {200: "OK", 404: "Not Found", 405: "Method Not Allowed"}.get(answer.status, "Service Unavailable")
    head = (
        f"HTTP/1.1 {answer.status} {phrase}\r\ncontent-type: {_TEXT}\r\ncontent-length: {len(answer.body)}\r\n"
        "cache-control: no-cache, max-age=0\r\nx-powered-by: kuma-dp\r\nconnection: close\r\n\r\n"
    )
    return head.encode("latin-1") + (b"" if method == "HEAD" else answer.body)
