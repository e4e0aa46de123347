"""gRPC over HTTP/2 as far as discovery needs it: bidirectional streams of length-prefixed messages.

A message is five bytes (a flag, a length) and its body. A stream that is refused gets its status in the response
headers before any message; a stream that was accepted is ended by closing it, because the HTTP server sends no
trailers after a body. Envoy takes that as a lost connection and comes back with a new stream.

https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md
"""

from __future__ import annotations

import struct
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any, Final, Protocol
from urllib.parse import quote

from kuma.core.errors import BadRequest, TooLarge

MAX_MESSAGE_BYTES: Final = 4 * 1024 * 1024
CONTENT_TYPE: Final = "application/grpc"
_HEADER: Final = struct.Struct(">BI")
_LARGE: Final = 32 * 1024
_MAX_STATUS_TEXT: Final = 2000

INVALID_ARGUMENT: Final = 3
UNAUTHENTICATED: Final = 16
UNAVAILABLE: Final = 14
UNIMPLEMENTED: Final = 12
INTERNAL: Final = 13


class Headers(Protocol):
    """Request headers, names in lower case."""

    def get(self, key: str, default: Any = None) -> Any: ...

    def items(self) -> list[tuple[str, str]]: ...


class Scope(Protocol):
    """An RSGI scope (https://github.com/emmett-framework/granian/blob/master/docs/spec/RSGI.md)."""

    proto: str
    http_version: str
    client: str
    method: str
    path: str
    authority: str | None

    @property
    def headers(self) -> Headers: ...


class Transport(Protocol):
    """Sends the parts of a streamed body."""

    async def send_bytes(self, data: bytes) -> None: ...


class Exchange(Protocol):
    """An RSGI protocol object: one request and its response."""

    async def __call__(self) -> bytes: ...

    def __aiter__(self) -> AsyncIterator[bytes]: ...

    async def client_disconnect(self) -> None: ...

    def response_empty(self, status: int, headers: list[tuple[str, str]]) -> None: ...

    def response_bytes(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None: ...

    def response_stream(self, status: int, headers: list[tuple[str, str]]) -> Transport: ...


def is_grpc(scope: Scope) -> bool:
    """Whether a request is gRPC."""
    return scope.http_version.startswith("2") and str(scope.headers.get("content-type", "")).startswith(CONTENT_TYPE)


def frame(message: bytes) -> bytes:
    """A message with its prefix."""
    return _HEADER.pack(0, len(message)) + message


def parts(message: bytes) -> tuple[bytes, ...]:
    """A message with its prefix, in pieces to be sent one after the other: a large message is not copied for it."""
    if len(message) < _LARGE:
        return (frame(message),)
    return _HEADER.pack(0, len(message)), message


async def messages(exchange: Exchange) -> AsyncIterator[bytes]:
    """
    The messages of a request as they arrive; ends when the client ends its side or is gone.

    Raises:
        TooLarge: a message over ``MAX_MESSAGE_BYTES``.
        BadRequest: a compressed message, which we never offer to read.
    """
    buffer = bytearray()
    try:
        async for chunk in exchange:
            if not chunk:
                return  # once a connection is lost Granian gives empty chunks for ever; gRPC clients send none
            buffer += chunk
            while (length := _complete(buffer)) is not None:
                yield _taken(buffer, length)
    finally:
        # A client of gRPC sees its stream end only when its request is let go of as well, and this frame, through
        # which an exception may have gone, can live on as the transport could in Response.
        del exchange


def _taken(buffer: bytearray, length: int) -> bytes:
    """The message at the beginning, which then is there only once: its reader may wait for long before the next."""
    end = _HEADER.size + length
    with memoryview(buffer) as view:
        message = bytes(view[_HEADER.size : end])
    del buffer[:end]
    return message


def _complete(buffer: bytearray) -> int | None:
    """The length of the message at the beginning, None while it is not all there. Raises as ``messages``."""
    if len(buffer) < _HEADER.size:
        return None
    compressed, length = _HEADER.unpack_from(buffer)
    if compressed:
        raise BadRequest("compressed gRPC messages are not supported")
    if length > MAX_MESSAGE_BYTES:
        raise TooLarge(f"a gRPC message of {length} bytes; at most {MAX_MESSAGE_BYTES} are accepted")
    return int(length) if len(buffer) >= _HEADER.size + length else None


class Response:
    """
    What an accepted stream is answered with, message by message, until ``close``.

    Granian ends a response when nothing refers to its transport any more. A frame through which an exception went may
    live for long in a reference cycle, and with it all that the frame refers to; so nobody else keeps the transport.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport: Transport | None = transport

    async def send(self, message: bytes) -> None:
        """Send one message. After ``close`` it goes nowhere."""
        for part in parts(message):
            if self._transport is not None:
                await self._transport.send_bytes(part)

    def close(self) -> None:
        """End the response, so that the client knows."""
        self._transport = None


@contextmanager
def accepted(exchange: Exchange) -> Iterator[Response]:
    """The response of an accepted stream, which ends with the block."""
    response = Response(exchange.response_stream(200, [("content-type", CONTENT_TYPE)]))
    try:
        yield response
    finally:
        response.close()


def refuse(exchange: Exchange, status: int, text: str) -> None:
    """End a stream before any message, with a status and a reason that Envoy logs."""
    message = quote(text[:_MAX_STATUS_TEXT], safe=" !\"#$&'()*+,-./:;<=>?@[\\]^_`{|}~")
    exchange.response_empty(
        200, [("content-type", CONTENT_TYPE), ("grpc-status", str(status)), ("grpc-message", message)]
    )


def credential(scope: Scope) -> str:
    """
    The one value of ``authorization``; empty when there is none.

    Raises:
        BadRequest: more than one, so it is not clear who asks.
    """
    values = [value for name, value in scope.headers.items() if name == "authorization"]
    if len(values) > 1:
        raise BadRequest("authentication failed: the request carries more than one authorization")
    return values[0] if values else ""
