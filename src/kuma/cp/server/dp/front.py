"""TLS by OpenSSL in front of a Granian, for what Granian's own TLS has no setting for.

A connection from a proxy ends here; its bytes go on over a Unix socket that only this process can reach. Nothing in
them is read or changed, and the peer stays known: the address that our end of the Unix socket is bound to leads to the
peer's own, and a request over a connection that was not made here is refused.

This costs the event loop about as much again as a push itself, so it stands there only when a setting asks for it.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import shutil
import socket
import ssl
import tempfile
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any, Final

import structlog

from kuma.cp.server.dp.grpc import Exchange, Scope
from kuma.cp.server.dp.worker import BACKLOG, Http, Worker

_HANDSHAKE_SECONDS: Final = 10.0
_PREFIX: Final = "dp-server-"
_PROTOCOLS: Final = ["h2", "http/1.1"]

log = structlog.get_logger("dp-server")


class Front:
    """For one certificate; made for a listening socket, which it owns from then on."""

    def __init__(self, http: Http, listening: socket.socket, context: ssl.SSLContext, folder: Path) -> None:
        """``folder`` is one that only kuma-cp's user may look into; a folder for the Unix socket is made there."""
        context.set_alpn_protocols(_PROTOCOLS)
        self._context = context
        self._listening = listening
        self._serve = http.serve
        self._inside = _Inside(folder)
        self._worker = Worker(Http(self._answer, http.read_header_timeout), self._inside.listening)
        self._server: asyncio.Server | None = None
        self._outside: set[_Outside] = set()

    async def start(self, group: asyncio.TaskGroup) -> None:
        """Accept connections; the tasks of this front live in ``group``."""
        await self._worker.start(group)
        group.create_task(self._clean(), name="dp server front")

        def accepted(outside: _Outside) -> None:
            group.create_task(self._hand_on(outside), name="dp server connection")

        self._server = await asyncio.get_running_loop().create_server(
            lambda: _Outside(self._outside, accepted),
            sock=self._listening,
            ssl=self._context,
            ssl_handshake_timeout=_HANDSHAKE_SECONDS,
            backlog=BACKLOG,
        )

    def retire(self) -> None:
        """Accept nothing more; what was accepted goes on."""
        if self._server is not None:
            self._server.close()

    def stop(self) -> None:
        """Close idle connections, and end when the last stream has ended."""
        self._worker.stop()

    def cut(self) -> None:
        """End the streams that are still there; the proxies come back."""
        self._worker.cut()

    async def ended(self) -> None:
        """Wait until nothing of it is left."""
        await self._worker.ended()

    async def _clean(self) -> None:
        try:
            await self._worker.ended()
        finally:
            self.retire()
            for outside in tuple(self._outside):
                outside.transport.abort()
            self._inside.close()

    async def _hand_on(self, outside: _Outside) -> None:
        try:
            await self._inside.connect(outside)
        except OSError as error:
            log.warning("connection dropped", address=outside.peer, reason=error.strerror)
            outside.transport.abort()

    async def _answer(self, scope: Scope, exchange: Exchange) -> None:
        peer = self._inside.peer(scope.client)
        if peer is None:
            exchange.response_empty(403, [])
            return
        await self._serve(_Seen(scope, peer), exchange)


class _Seen:
    """A request as it would look without this module between."""

    __slots__ = ("_scope", "client")

    def __init__(self, scope: Scope, client: str) -> None:
        self._scope = scope
        self.client = client

    def __getattr__(self, name: str) -> Any:
        return getattr(self._scope, name)


class _Inside:
    """A Unix socket in a folder of our own, and who is behind each connection to it."""

    def __init__(self, folder: Path) -> None:
        self._folder = _own_folder(folder)
        # A short way there: the address of a Unix socket has a hundred characters at most.
        self._handle = _locked(self._folder)
        self._numbers = count(1)
        self._peers: dict[str, str] = {}
        self.listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listening.bind(self._address("server"))
        self.listening.listen(BACKLOG)

    def peer(self, client: str) -> str | None:
        """Who is behind a connection, None if it is not one of ours."""
        return self._peers.get(client)

    async def connect(self, outside: _Outside) -> None:
        """
        Give a connection its other half.

        Raises:
            OSError: the machine has no more of something.
        """
        loop = asyncio.get_running_loop()
        address = self._address(str(next(self._numbers)))
        ours = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            ours.bind(address)
            self._peers[address] = outside.peer
            try:
                await loop.sock_connect(ours, self._address("server"))
            finally:
                self._unbind(address)
            await loop.create_unix_connection(lambda: _Inner(outside, lambda: self._forget(address)), sock=ours)
        except BaseException:
            self._forget(address)
            ours.close()
            raise

    def close(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self._folder, ignore_errors=True)
        os.close(self._handle)

    @staticmethod
    def _unbind(address: str) -> None:
        Path(address).unlink()  # a bound address stays the peer's name when it is gone from the folder

    def _forget(self, address: str) -> None:
        self._peers.pop(address, None)

    def _address(self, name: str) -> str:
        return f"/proc/self/fd/{self._handle}/{name}"


def _own_folder(folder: Path) -> Path:
    """A new one; those that a killed control plane left there are removed."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for left in folder.glob(f"{_PREFIX}*"):
        with suppress(OSError):  # it is in use, or somebody else removes it
            handle = _locked(left)
            shutil.rmtree(left, ignore_errors=True)
            os.close(handle)
    return Path(tempfile.mkdtemp(prefix=_PREFIX, dir=folder))  # for its owner only


def _locked(folder: Path) -> int:
    """
    A handle of a folder, which says that it is in use.

    Raises:
        OSError: it is in use already.
    """
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        raise
    return handle


class _Side(asyncio.Protocol):
    """One end of a connection through here: what it receives leaves by the other end, no faster than that sends."""

    transport: asyncio.Transport
    other: _Side | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # no datagrams here
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        if self.other is not None and not self.other.transport.is_closing():
            self.other.transport.write(data)

    def pause_writing(self) -> None:
        if self.other is not None and not self.other.transport.is_closing():
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.other is not None and not self.other.transport.is_closing():
            self.other.transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # it ends at the other end alike
        if self.other is not None:
            self.other.transport.close()


class _Outside(_Side):
    """The end towards a proxy, one of ``present``; it waits until there is another end."""

    def __init__(self, present: set[_Outside], accepted: Callable[[_Outside], None]) -> None:
        self._present = present
        self._accepted = accepted

    @property
    def peer(self) -> str:
        """The proxy's address, as Granian writes it."""
        host, port, *_ = self.transport.get_extra_info("peername")
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as above
        super().connection_made(transport)
        transport.pause_reading()
        self._present.add(self)
        self._accepted(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._present.discard(self)
        super().connection_lost(exc)


class _Inner(_Side):
    """The end towards Granian."""

    def __init__(self, outside: _Outside, lost: Callable[[], None]) -> None:
        self.other = outside
        self._lost = lost

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as above
        super().connection_made(transport)
        outside = self.other
        if outside is None or outside.transport.is_closing():
            transport.close()
            return
        outside.other = self
        outside.transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost()
        super().connection_lost(exc)
