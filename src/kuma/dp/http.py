"""One HTTP request over one connection: to the control plane, to Envoy's admin, to a readiness port.

Small on purpose: kuma-dp lives beside every application, and an HTTP client library would be a third of its memory.
Every exchange has a time limit and a size limit.
"""

from __future__ import annotations

import asyncio
import os
import re
import socket
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from io import BytesIO
from typing import Final, cast

MAX_ANSWER_BYTES: Final = 8 << 20
_CHUNK: Final = 64 << 10
# What OpenSSL calls an answer in plain text, by version.
_NOT_TLS: Final = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE")
_ERRNO: Final = re.compile(r"\[Errno (\d+)\]")


class HttpError(Exception):
    """The other side could not be reached, or did not speak HTTP; the text is for a person."""


@dataclass(frozen=True, slots=True)
class Peer:
    """Where to connect: a host and port, with TLS where ``tls`` is given, or a Unix socket."""

    host: str = ""
    port: int = 0
    tls: ssl.SSLContext | None = None
    unix_socket: str = ""

    def __str__(self) -> str:
        return self.unix_socket or f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    status: int
    body: bytes
    content_type: str = ""


async def request(
    peer: Peer,
    method: str,
    path: str,
    body: bytes = b"",
    headers: Mapping[str, str] | None = None,
    timeout: float = 10,
) -> Answer:
    """
    Send one request and read the whole answer.

    Raises:
        HttpError: no connection, no answer in time, an answer that is too large or is not HTTP.
        ssl.SSLCertVerificationError: the peer's certificate does not convince ``peer.tls``; nothing was sent.
    """
    try:
        async with asyncio.timeout(timeout), connected(peer) as (reader, writer):
            writer.write(_head(peer, method, path, body, headers or {}) + body)
            data = await _everything(reader)
    except TimeoutError:
        raise HttpError(f"no answer from {peer} within {timeout:g}s") from None
    except ssl.SSLCertVerificationError:
        raise
    except OSError as error:
        raise HttpError(f"{peer}: {reason(error)}") from error
    return _parsed(data, method, peer)


@asynccontextmanager
async def connected(peer: Peer) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection that is gone afterwards, whatever happens."""
    if peer.unix_socket:
        reader, writer = await asyncio.open_unix_connection(peer.unix_socket)
    else:
        name = peer.host if peer.tls else None
        reader, writer = await asyncio.open_connection(peer.host, peer.port, ssl=peer.tls, server_hostname=name)
    try:
        yield reader, writer
    finally:
        # Not close(): a peer that never answers TLS's goodbye would hold us for half a minute.
        writer.transport.abort()
        with suppress(OSError):
            await writer.wait_closed()


def reason(error: OSError) -> str:
    """What went wrong, in the operating system's or TLS's words."""
    if isinstance(error, ssl.SSLError):
        if error.reason in _NOT_TLS:
            return "this port does not speak TLS; the control plane's port for dataplanes is 5678 unless it was changed"
        return f"TLS: {(error.reason or str(error)).replace('_', ' ').lower()}"
    if isinstance(error, socket.gaierror):
        return error.strerror or str(error)
    # asyncio tries every address of a name and then joins the failures into one long text; the first says it.
    number = error.errno or int(next(iter(_ERRNO.findall(str(error))), 0))
    return os.strerror(number).lower() if number else str(error) or type(error).__name__


def _head(peer: Peer, method: str, path: str, body: bytes, headers: Mapping[str, str]) -> bytes:
    if peer.unix_socket:
        host = "localhost"
    else:
        host = f"[{peer.host}]:{peer.port}" if ":" in peer.host else f"{peer.host}:{peer.port}"
    lines = [f"{method} {path} HTTP/1.1", f"host: {host}", "connection: close", f"content-length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


async def _everything(reader: asyncio.StreamReader) -> bytes:
    data = bytearray()
    while chunk := await reader.read(_CHUNK):
        data += chunk
        if len(data) > MAX_ANSWER_BYTES:
            raise HttpError(f"the answer has over {MAX_ANSWER_BYTES} bytes")
    return bytes(data)


class _Received:
    """What ``HTTPResponse`` needs of a socket."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def makefile(self, _mode: str) -> BytesIO:
        return BytesIO(self._data)


def _parsed(data: bytes, method: str, peer: Peer) -> Answer:
    response = HTTPResponse(cast("socket.socket", _Received(data)), method=method)
    try:
        response.begin()
        return Answer(response.status, response.read(), response.headers.get("content-type", ""))
    except (HTTPException, ValueError, OSError) as error:
        raise HttpError(f"{peer} did not answer in HTTP") from error
