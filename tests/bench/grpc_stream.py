"""A gRPC stream on a connection of its own, over HTTP/2 and TLS, as every Envoy has one to its control plane.

It does no more of HTTP/2 than such a stream needs, because the fleet shares a small machine with the control plane it
measures: a general HTTP/2 library costs several times what the control plane spends on the same message.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable
from typing import Final, cast

from hpack import Decoder, Encoder

_PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RST_STREAM, _SETTINGS, _PING, _GOAWAY, _WINDOW_UPDATE, _CONTINUATION = 0, 1, 3, 4, 6, 7, 8, 9
_END_STREAM, _ACK, _END_HEADERS, _PADDED = 0x1, 0x1, 0x4, 0x8
_INITIAL_WINDOW_SETTING, _MAX_FRAME_SETTING = 4, 5
_STREAM: Final = 1
_FIRST_WINDOW: Final = 65_535
_LARGEST_WINDOW: Final = 2**31 - 1
_REPLENISH: Final = 2**29
_SETTING: Final = struct.Struct(">HI")
_PREFIX: Final = struct.Struct(">BI")

Ended = Callable[[str], None]


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload))[1:] + bytes((kind, flags)) + struct.pack(">I", stream) + payload


class GrpcStream(asyncio.Protocol):
    """
    Sends ``opening`` with the connection, and what ``send`` is given.

    Calls ``accepted`` when the server took the stream, ``received`` with each message and ``ended`` once, with the
    reason.
    """

    def __init__(
        self,
        path: str,
        authority: str,
        token: str,
        opening: bytes,
        *,
        accepted: Callable[[], None],
        received: Callable[[bytes], None],
        ended: Ended,
    ) -> None:
        self._headers = Encoder().encode(
            [
                (":method", "POST"),
                (":scheme", "https"),
                (":path", path),
                (":authority", authority),
                ("content-type", "application/grpc"),
                ("te", "trailers"),
                ("authorization", token),
            ]
        )
        self._accepted = accepted
        self._received = received
        self._ended = ended
        self._waiting = bytearray(opening)
        self._transport: asyncio.Transport | None = None
        self._frames = bytearray()
        self._messages = bytearray()
        self._decoder = Decoder()
        self._consumed = 0
        self._connection_window = _FIRST_WINDOW
        self._stream_window = _FIRST_WINDOW
        self._initial_window = _FIRST_WINDOW
        self._max_frame = 16_384
        self._reason = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        settings = _SETTING.pack(_INITIAL_WINDOW_SETTING, _LARGEST_WINDOW)
        grown = struct.pack(">I", _LARGEST_WINDOW - _FIRST_WINDOW)
        self._transport.write(
            _PREFACE
            + _frame(_SETTINGS, 0, 0, settings)
            + _frame(_WINDOW_UPDATE, 0, 0, grown)
            + _frame(_HEADERS, _END_HEADERS, _STREAM, self._headers)
        )
        self._flush()

    def send(self, framed: bytes) -> None:
        """Send messages, each with its prefix (``prefixed``)."""
        self._waiting += framed
        self._flush()

    def close(self) -> None:
        """End the connection."""
        if self._transport is not None:
            self._transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        self._ended(self._reason or (str(error) if error else "closed"))

    def data_received(self, data: bytes) -> None:
        frames = self._frames
        frames += data
        position, available = 0, len(frames)
        while available - position >= 9:
            length = int.from_bytes(frames[position : position + 3], "big")
            end = position + 9 + length
            if end > available:
                break
            stream = int.from_bytes(frames[position + 5 : position + 9], "big")
            self._take(frames[position + 3], frames[position + 4], stream, bytes(frames[position + 9 : end]))
            position = end
        del frames[:position]
        self._read_messages()

    def _take(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == _DATA:
            assert not flags & _PADDED
            self._messages += payload
            self._consumed += len(payload)
            if self._consumed > _REPLENISH:
                grown = struct.pack(">I", self._consumed)
                self._write(_frame(_WINDOW_UPDATE, 0, 0, grown) + _frame(_WINDOW_UPDATE, 0, _STREAM, grown))
                self._consumed = 0
        elif kind == _HEADERS:
            assert flags & _END_HEADERS
            assert not flags & _PADDED
            headers = dict(self._decoder.decode(payload))
            if headers.get("grpc-status", "0") != "0":
                self._reason = f"refused: {headers.get('grpc-message', '')}"
            else:
                self._accepted()
        elif kind == _PING and not flags & _ACK:
            self._write(_frame(_PING, _ACK, 0, payload))
        elif kind == _SETTINGS and not flags & _ACK:
            self._settle(payload)
        elif kind == _WINDOW_UPDATE:
            self._grow(stream, int.from_bytes(payload, "big"))
        elif kind in {_RST_STREAM, _GOAWAY}:
            self._reason = self._reason or "ended by the control plane"
            self.close()
            return
        if kind in {_DATA, _HEADERS} and flags & _END_STREAM:
            self._reason = self._reason or "ended by the control plane"
            self.close()

    def _settle(self, payload: bytes) -> None:
        for name, value in _SETTING.iter_unpack(payload):
            if name == _INITIAL_WINDOW_SETTING:
                self._stream_window += value - self._initial_window
                self._initial_window = value
            elif name == _MAX_FRAME_SETTING:
                self._max_frame = value
        self._write(_frame(_SETTINGS, _ACK, 0, b""))
        self._flush()

    def _grow(self, stream: int, amount: int) -> None:
        if stream == _STREAM:
            self._stream_window += amount
        else:
            self._connection_window += amount
        self._flush()

    def _flush(self) -> None:
        while self._waiting and self._transport is not None:
            size = min(len(self._waiting), self._max_frame, self._connection_window, self._stream_window)
            if size <= 0:
                return
            self._connection_window -= size
            self._stream_window -= size
            self._write(_frame(_DATA, 0, _STREAM, bytes(self._waiting[:size])))
            del self._waiting[:size]

    def _write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    def _read_messages(self) -> None:
        buffer = self._messages
        while len(buffer) >= 5:
            _, length = _PREFIX.unpack_from(buffer)
            end = 5 + length
            if len(buffer) < end:
                return
            message = bytes(memoryview(buffer)[5:end])
            del buffer[:end]
            self._received(message)


def prefixed(message: bytes) -> bytes:
    """A message as gRPC frames it."""
    return _PREFIX.pack(0, len(message)) + message
