"""Log lines on their way from Envoy to servers: a FIFO in the work directory, and a TCP connection for each address.

Envoy writes a line of JSON, ``{"address": "host:port", "message": text or object}``; the older form
``host:port;message`` is understood too. Logs must never hold up traffic, so everything is bounded and lines are
dropped rather than kept: those that are too long or make no sense, those for a server that does not answer or does
not keep up, those for more servers than anybody configures. What is dropped is counted and said, once per server and
outage. Messages themselves are never logged: they are users' data.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol, Self

from kuma.core.errors import ConfigInvalid

log = logging.getLogger("kuma.dp.access_log")

MAX_LINE: Final = 256 * 1024
MAX_ADDRESSES: Final = 64
MAX_WAITING: Final = 1024
MAX_WAITING_BYTES: Final = 2 * 1024 * 1024
"""What waits for one server at most."""
_CHUNK: Final = 64 * 1024
_MODE: Final = 0o600
"""Envoy runs as we do; nobody else may let us call servers."""


class Connect(Protocol):
    """Opens a connection, as ``asyncio.open_connection`` does."""

    async def __call__(
        self, host: str, port: int, *, limit: int
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]: ...


class LineInvalid(ValueError):
    """A line that says not where it goes or what it says."""


@dataclass(frozen=True, slots=True)
class Line:
    """A message and where it goes."""

    host: str
    port: int
    message: bytes


def parse_line(line: bytes) -> Line:
    """
    A line as Envoy writes it.

    Raises:
        LineInvalid: it is none.
    """
    if line.lstrip().startswith(b"{"):
        try:
            data = json.loads(line)
        except (ValueError, RecursionError):
            raise LineInvalid("not JSON") from None
        message = data.get("message")
        if isinstance(message, dict):
            text = json.dumps(message, separators=(",", ":"), ensure_ascii=False) + "\n"
        elif isinstance(message, str):
            text = message
        else:
            raise LineInvalid("no message")
        address = data.get("address")
        return Line(*_address(address if isinstance(address, str) else ""), text.encode(errors="replace"))
    address, separator, rest = line.partition(b";")
    if not separator:
        raise LineInvalid("neither JSON nor address;message")
    return Line(*_address(address.decode(errors="replace")), rest + b"\n")


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.strip().rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isascii() or not port.isdecimal() or not 0 < int(port[:6]) <= 65535:
        raise LineInvalid("no address of the form host:port")
    return host, int(port)


def _told(error: BaseException) -> str:
    """The kind of a fault, those inside a group by themselves; its text might quote a message."""
    if isinstance(error, BaseExceptionGroup):
        return ", ".join(map(_told, error.exceptions))
    return type(error).__name__


class Lines:
    """Cuts a stream of bytes into lines; one that is too long is skipped to its end."""

    def __init__(self, longest: int = MAX_LINE) -> None:
        self._longest = longest
        self._rest = b""
        self._skipping = False
        self.skipped = 0

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The lines that are complete now."""
        *complete, rest = (self._rest + data).split(b"\n")
        for line in complete:
            if self._skipping or len(line) > self._longest:
                self.skipped += not self._skipping
                self._skipping = False
            elif line:
                yield line
        if len(rest) > self._longest:
            self.skipped += not self._skipping
            self._skipping, rest = True, b""
        self._rest = rest


class _Server:
    """The way to one server: lines that wait, and a connection that is made when there is something to send."""

    def __init__(self, host: str, port: int, *, pause: float, patience: float, connect: Connect) -> None:
        self._host, self._port = host, port
        self._connect = connect
        self._name = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self._pause, self._patience = pause, patience
        self._waiting: asyncio.Queue[bytes] = asyncio.Queue(MAX_WAITING)
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._waiting_bytes = 0
        self._dropped = 0
        self._failing = False

    def add(self, message: bytes) -> None:
        """Send when possible; when too much waits, not at all."""
        if self._waiting.full() or self._waiting_bytes + len(message) > MAX_WAITING_BYTES:
            self._dropped += 1
        else:
            self._waiting.put_nowait(message)
            self._waiting_bytes += len(message)

    async def deliver(self) -> None:
        """Send what is added, for ever."""
        try:
            while True:
                message = await self._waiting.get()
                self._waiting_bytes -= len(message)
                try:
                    await self._send(message)
                except (OSError, ValueError) as error:  # a name may be none that can be looked up: a ValueError
                    self._failed(error)
                    await asyncio.sleep(self._pause)
                else:
                    self._worked()
        finally:
            self._close()

    async def _send(self, message: bytes) -> None:
        if self._reader is not None and self._reader.at_eof():
            self._close()  # the server went away while nothing was to be said
        async with asyncio.timeout(self._patience):
            if self._writer is None:
                self._reader, self._writer = await self._connect(self._host, self._port, limit=_CHUNK)
            self._writer.write(message)
            await self._writer.drain()

    def _failed(self, error: OSError | ValueError) -> None:
        self._close()
        self._dropped += 1
        if not self._failing:
            reason = getattr(error, "strerror", None) or str(error) or "no answer in time"
            log.warning("access log: cannot send to %s: %s; lines are dropped until it answers", self._name, reason)
        self._failing = True

    def _worked(self) -> None:
        if self._dropped:
            log.warning("access log: sending to %s, %d lines were dropped", self._name, self._dropped)
        self._dropped, self._failing = 0, False

    def _close(self) -> None:
        if self._writer is not None:
            # What a server does not take is not kept for it.
            self._writer.transport.abort()
        self._reader = self._writer = None


class AccessLogStreamer:
    """
    Takes lines from a FIFO and sends them on; a context, in which the FIFO is there.

    It has a reader for as long as the context lasts: Envoy opens it on its main thread, and would wait there for one.
    ``pause`` is how long a server is left alone after a failure, ``patience`` how long it may take to answer.
    """

    def __init__(
        self, path: Path, *, pause: float = 1.0, patience: float = 5.0, connect: Connect = asyncio.open_connection
    ) -> None:
        self._path = path
        self._pause, self._patience, self._connect = pause, patience, connect
        self._fifo = -1
        self._servers: dict[tuple[str, int], _Server] = {}
        self._complained: set[str] = set()

    def __enter__(self) -> Self:
        """
        Make the FIFO anew, before Envoy starts: Envoy would make a file in its place, which nobody reads.

        Raises:
            ConfigInvalid: it cannot be made.
        """
        try:
            self._path.unlink(missing_ok=True)
            os.mkfifo(self._path, _MODE)
            # Open for writing too: the last writer leaving, an Envoy that restarts, is then no end of the stream.
            self._fifo = os.open(self._path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            raise ConfigInvalid(
                f"cannot make the FIFO for access logs, {self._path}: {error.strerror}; choose another --work-dir"
            ) from error
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._fifo)
        with suppress(OSError):
            self._path.unlink(missing_ok=True)

    async def run(self) -> None:
        """Send lines on, until cancelled. A fault costs what waited, not the proxy."""
        while True:
            try:
                await self._read()
            except Exception as error:  # traffic and its proxy go on without logs
                log.error("access log: stopped by %s; it begins again, what waited is lost", _told(error))
                log.debug("where it happened:", exc_info=error)
            self._servers.clear()
            await asyncio.sleep(self._pause)

    async def _read(self) -> None:
        reader = asyncio.StreamReader(limit=_CHUNK)
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(os.dup(self._fifo), "rb", buffering=0)
        )
        lines = Lines()
        try:
            async with asyncio.TaskGroup() as tasks:
                while data := await reader.read(_CHUNK):
                    for line in lines.feed(data):
                        self._dispatch(line, tasks)
                    if lines.skipped:
                        self._complain(f"a line of more than {MAX_LINE} bytes")
        finally:
            transport.close()

    def _dispatch(self, text: bytes, tasks: asyncio.TaskGroup) -> None:
        try:
            line = parse_line(text)
        except LineInvalid as error:
            self._complain(f"a line with {error}")
            return
        key = (line.host, line.port)
        server = self._servers.get(key)
        if server is None:
            if len(self._servers) >= MAX_ADDRESSES:
                self._complain(f"a line for one server more than {MAX_ADDRESSES}")
                return
            server = self._servers[key] = self._server(*key)
            tasks.create_task(server.deliver(), name=f"access log to port {line.port}")
        server.add(line.message)

    def _server(self, host: str, port: int) -> _Server:
        return _Server(host, port, pause=self._pause, patience=self._patience, connect=self._connect)

    def _complain(self, what: str) -> None:
        """Say once what kind of line is dropped."""
        if what not in self._complained:
            self._complained.add(what)
            log.warning("access log: dropped %s; more of its kind are dropped in silence", what)
