"""One Granian, embedded in our event loop, on one listening socket.

A worker is for one certificate: Granian reads that when it starts. So a new certificate is a new worker on the same
socket, and the old one ends in three steps that lose no connection: ``retire`` (it accepts no more), ``stop`` (it says
goodbye to idle connections), and the end of its last stream.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import socket
import struct
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from granian.constants import Interfaces, SSLProtocols
from granian.http import HTTP1Settings, HTTP2Settings
from granian.net import SocketHolder  # type: ignore[attr-defined]  # re-exported without a mark
from granian.server.embed import Server

from kuma.core.errors import ConfigInvalid
from kuma.cp.certificates.files import as_files
from kuma.cp.certificates.server import ServerTls

MAX_STREAMS: Final = 100_000
"""Streams served at a time; Granian queues what is beyond its backpressure, so this must exceed any fleet."""
KEEPALIVE_SECONDS: Final = 15
BACKLOG: Final = 4096
_SO_ATTACH_FILTER: Final = 26  # of asm-generic/socket.h, and of BPF: "return 0", which lets no byte of a packet pass
_BPF_RETURN: Final = 0x06
_TURNS_TO_START: Final = 10
_GOODBYE_SECONDS: Final = 0.5
"""How long a server that is cancelled waits for its connections to end in good order."""

Serve = Callable[[Any, Any], Awaitable[None]]
"""What answers: an RSGI scope, and the exchange that belongs to it."""


@dataclass(frozen=True, slots=True)
class Http:
    """How HTTP is served, by all workers alike."""

    serve: Serve
    read_header_timeout: float


class Worker:
    """Made for a listening socket, which it owns from then on."""

    def __init__(
        self,
        http: Http,
        listening: socket.socket,
        tls: ServerTls | None = None,
        oldest: SSLProtocols = SSLProtocols.tls12,
    ) -> None:
        """``tls`` comes from ``for_granian``, None for plain HTTP; ``oldest`` is the oldest version of TLS."""
        self._http = http
        self._tls = tls
        self._oldest = oldest
        self._server = _Server(self._serve, http, listening)
        self._running: set[asyncio.Task[Any]] = set()
        self._started = self._stopping = False
        self._ended = asyncio.Event()

    async def start(self, group: asyncio.TaskGroup) -> None:
        """
        Accept connections; the tasks of this worker live in ``group``.

        Raises:
            ConfigInvalid: Granian did not start.
        """
        if self._tls is None:
            await self._begin(group)
            return
        with as_files(self._tls) as (chain, key):
            self._server.ssl_ctx = (True, chain, key, None, str(self._oldest), None, [], False)  # type: ignore[assignment]
            await self._begin(group)

    def retire(self) -> None:
        """
        Accept nothing more; what was accepted goes on.

        Granian cannot stop accepting without dropping handshakes that are under way. So the number of its listening
        socket is given to a socket that nobody can reach.
        """
        with _unreachable(self._server.family) as nowhere:
            os.dup2(nowhere.fileno(), self._server.handle, inheritable=False)

    def stop(self) -> None:
        """Close idle connections, and end when the last stream has ended."""
        self._stopping = True
        self._server.stop()  # type: ignore[no-untyped-call]

    async def ended(self) -> None:
        """Wait until nothing of it is left."""
        await self._ended.wait()

    def cut(self) -> None:
        """End the streams that are still there; the proxies come back."""
        for task in tuple(self._running):
            task.cancel()

    async def _begin(self, group: asyncio.TaskGroup) -> None:
        group.create_task(self._run(), name="dp server worker")
        for _ in range(_TURNS_TO_START):  # within a few turns Granian has read its certificate, and has its thread
            await asyncio.sleep(0)
        if not any(worker.is_alive() for worker in self._server.wrks):  # type: ignore[no-untyped-call]
            raise ConfigInvalid("the data plane server did not start with this certificate")
        self._started = True

    async def _run(self) -> None:
        try:
            await self._server.serve()
        except asyncio.CancelledError:
            for worker in self._server.wrks:
                worker.terminate()  # type: ignore[no-untyped-call]
            for worker in self._server.wrks:
                with suppress(TimeoutError):
                    await worker.join(_GOODBYE_SECONDS)  # type: ignore[no-untyped-call]
            raise
        finally:
            self._ended.set()
        if self._started and not self._stopping:
            raise RuntimeError("the thread of the data plane server has ended")

    async def _serve(self, scope: Any, exchange: Any) -> None:
        task = asyncio.current_task()
        if task is None:
            return
        self._running.add(task)
        try:
            await self._http.serve(scope, exchange)
        finally:
            self._running.discard(task)


class _Server(Server):
    """Granian on a socket that is there already."""

    def __init__(self, serve: Serve, http: Http, listening: socket.socket) -> None:
        super().__init__(
            serve,
            interface=Interfaces.RSGI,
            websockets=False,
            log_enabled=False,
            backlog=BACKLOG,
            backpressure=MAX_STREAMS,
            http1_settings=HTTP1Settings(header_read_timeout=int(http.read_header_timeout * 1000)),
            http2_settings=HTTP2Settings(
                keep_alive_interval=KEEPALIVE_SECONDS * 1000,
                keep_alive_timeout=KEEPALIVE_SECONDS,
                max_headers_size=64 * 1024,
            ),
        )
        self.family = listening.family
        self.handle = listening.detach()

    def _init_shared_socket(self) -> None:
        self._shd: Any = SocketHolder(self.handle, self.family == socket.AF_UNIX, BACKLOG)  # type: ignore[call-arg]
        self._sfd: Any = self.handle


def _unreachable(family: int) -> socket.socket:
    """A listening socket that drops whatever comes; of the same family, which Granian's thread may yet look at."""
    nowhere = socket.create_server(("::1" if family == socket.AF_INET6 else "127.0.0.1", 0), family=family)
    nowhere.setblocking(False)
    filter_of_one = ctypes.create_string_buffer(struct.pack("=HBBI", _BPF_RETURN, 0, 0, 0))
    nowhere.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("@HP", 1, ctypes.addressof(filter_of_one)))
    return nowhere
