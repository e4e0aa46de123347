"""Serving an ASGI application over HTTP/1.1, with or without TLS, inside our own event loop.

uvicorn speaks HTTP; this module owns the sockets, the certificate and the clock. It promises that no peer can hold a
connection by being slow: a TLS handshake, a request's head, an idle connection and an answer that is not fetched each
have their time. Request bodies are limited by the application, which knows their size limit.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from http import HTTPStatus
from typing import Any, Final

import h11
from starlette.types import ASGIApp
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

MOST_CONNECTIONS: Final = 4096
LARGEST_HEAD: Final = 64 * 1024
"""Bytes of request line and headers."""

_HANDSHAKE_SECONDS: Final = 10.0
_BACKLOG: Final = 2048
_SHOWN: Final = 200
"""Characters of a fault of HTTP that are told; some hold what the peer sent."""


@dataclass(frozen=True, slots=True)
class TimeLimits:
    """How long a peer may take for the head of a request, to fetch an answer, and between requests."""

    head: timedelta = timedelta(seconds=1)
    write: timedelta = timedelta(seconds=30)
    idle: timedelta = timedelta(minutes=2)


class _Protocol(H11Protocol):
    """One connection, with the time limits that uvicorn does not have."""

    def __init__(self, config: Config, state: ServerState, limits: TimeLimits) -> None:
        super().__init__(config=config, server_state=state, app_state={})
        self._limits = limits
        self._read_timer: asyncio.TimerHandle | None = None
        self._write_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        self.app_state["peer_certificate"] = bool(transport.get_extra_info("peercert"))
        self._read_within(self._limits.head)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop(self._read_timer)
        self._stop(self._write_timer)
        self._unset_keepalive_if_required()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.conn.their_state is h11.SEND_BODY and self.conn.our_state is h11.DONE:
            return  # the rest of a body that was answered before it was read; its time runs
        if self.conn.their_state is h11.IDLE and self.conn.trailing_data[0]:
            if self._read_timer is None:
                self._read_within(self._limits.head)
            return
        self._stop(self._read_timer)
        self._read_timer = None
        if self.conn.their_state is h11.IDLE and not self.transport.is_closing():
            self._unset_keepalive_if_required()
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def send_400_response(self, msg: str) -> None:
        """Say what is wrong with something that is no HTTP request, where an answer can still be given."""
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            error = sys.exception()
            status, text = _refusal(error if isinstance(error, h11.RemoteProtocolError) else None, msg)
            headers = [
                (b"content-type", b"text/plain"),
                (b"content-length", str(len(text)).encode()),
                (b"connection", b"close"),
            ]
            for event in (
                h11.Response(status_code=status, headers=headers, reason=status.phrase.encode()),
                h11.Data(data=text),
                h11.EndOfMessage(),
            ):
                self.transport.write(self.conn.send(event))
        self.transport.close()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.transport.get_write_buffer_size():
            self._stop(self._write_timer)
            self._write_timer = self.loop.call_later(self._limits.write.total_seconds(), self._give_up_writing)
        if self.conn.their_state is h11.SEND_BODY:
            self._stop(self._read_timer)
            self._read_within(self._limits.write)

    def _read_within(self, limit: timedelta) -> None:
        self._read_timer = self.loop.call_later(limit.total_seconds(), self.transport.abort)

    def _give_up_writing(self) -> None:
        if self.transport.get_write_buffer_size():
            self.transport.abort()

    @staticmethod
    def _stop(timer: asyncio.TimerHandle | None) -> None:
        if timer is not None:
            timer.cancel()


def _refusal(error: h11.RemoteProtocolError | None, otherwise: str) -> tuple[HTTPStatus, bytes]:
    if error is not None and error.error_status_hint == HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE:
        status = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
        reason = f"request line and headers may have {LARGEST_HEAD} bytes at most"
    else:
        status, reason = HTTPStatus.BAD_REQUEST, f"not a valid HTTP/1.1 request: {str(error or otherwise)[:_SHOWN]}"
    return status, f"{status.value}: {status.phrase}\n\n{reason}\n".encode("ascii", "backslashreplace")


class HttpServer:
    """A listening server; made by ``listen``, ended by ``close``."""

    def __init__(
        self, servers: tuple[asyncio.Server, ...], protocol: Callable[[], _Protocol], state: ServerState
    ) -> None:
        self._servers = servers
        self._protocol = protocol
        self._state = state

    @classmethod
    async def listen(
        cls,
        app: ASGIApp,
        host: str,
        port: int,
        *,
        tls: ssl.SSLContext | None = None,
        limits: TimeLimits = TimeLimits(),
    ) -> HttpServer:
        """
        Start to answer on an address; port 0 takes a free one.

        Raises:
            OSError: the address cannot be had.
        """
        config = Config(
            app,
            http="h11",
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            log_level="critical",  # a peer that speaks no HTTP is not worth a line; the application logs the rest
            access_log=False,
            proxy_headers=False,  # a header must never decide where a caller seems to come from
            server_header=False,
            date_header=False,
            limit_concurrency=MOST_CONNECTIONS,
            h11_max_incomplete_event_size=LARGEST_HEAD,
        )
        config.timeout_keep_alive = limits.idle.total_seconds()  # type: ignore[assignment]  # fractions serve as well
        config.load()
        state = ServerState()

        def protocol() -> _Protocol:
            return _Protocol(config, state, limits)

        loop = asyncio.get_running_loop()
        server = await loop.create_server(protocol, host, port, backlog=_BACKLOG, **_tls_options(tls))
        return cls((server,), protocol, state)

    async def renew(self, tls: ssl.SSLContext) -> None:
        """
        Speak TLS by this context from the next connection on; those that are open stay as they are.

        A new listener takes over the socket from the old one, and uvloop, which kuma-cp runs on, loses no connection
        in between.
        """
        loop = asyncio.get_running_loop()
        listening = [socket.socket(fileno=os.dup(one.fileno())) for server in self._servers for one in server.sockets]
        fresh = [
            await loop.create_server(self._protocol, sock=one, backlog=_BACKLOG, **_tls_options(tls))
            for one in listening
        ]
        for server in self._servers:
            server.close()
        self._servers = tuple(fresh)

    @property
    def port(self) -> int:
        """The port it listens on."""
        port: int = self._servers[0].sockets[0].getsockname()[1]
        return port

    @property
    def connections(self) -> int:
        """How many peers are connected."""
        return len(self._state.connections)

    @property
    def requests(self) -> int:
        """How many requests are being answered."""
        return len(self._state.tasks)

    async def close(self, grace: timedelta) -> None:
        """Take no more connections, let running requests end within ``grace``, then cut what is left."""
        for server in self._servers:
            server.close()
        for connection in list(self._state.connections):
            connection.shutdown()
        running = set(self._state.tasks)
        if running:
            _, late = await asyncio.wait(running, timeout=grace.total_seconds())
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        for connection in list(self._state.connections):
            if connection.transport is not None:
                connection.transport.abort()


def _tls_options(tls: ssl.SSLContext | None) -> dict[str, Any]:
    return {"ssl": tls, "ssl_handshake_timeout": _HANDSHAKE_SECONDS} if tls is not None else {}
