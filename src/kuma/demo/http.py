"""One HTTP request to a port of the loopback address."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import h11

_LARGEST: Final = 8 * 1024 * 1024
_CHUNK: Final = 65536


class RequestFailed(Exception):
    """There was no answer; the text says why."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Status and body."""

    status: int
    text: str

    @property
    def json(self) -> Any:
        """
        The body, read.

        Raises:
            ValueError: it is not JSON.
        """
        return json.loads(self.text)


async def request(
    port: int, method: str, path: str, *, body: str = "", accept: str = "application/json", seconds: float = 5
) -> Answer:
    """
    Ask, on a connection of its own.

    Raises:
        RequestFailed: nobody answered, or not in time, or with something that is not HTTP.
    """
    try:
        async with asyncio.timeout(seconds):
            return await _exchange(port, method, path, body.encode(), accept)
    except TimeoutError as error:
        raise RequestFailed(f"no answer within {seconds:g} s") from error
    except (OSError, h11.RemoteProtocolError) as error:
        raise RequestFailed(getattr(error, "strerror", "") or str(error)) from error


async def _exchange(port: int, method: str, path: str, body: bytes, accept: str) -> Answer:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        connection = h11.Connection(h11.CLIENT)
        headers = [("host", f"127.0.0.1:{port}"), ("accept", accept), ("connection", "close")]
        if body:
            headers += [("content-type", "application/json"), ("content-length", str(len(body)))]
        head = connection.send(h11.Request(method=method, target=path, headers=headers))
        writer.write((head or b"") + body)
        if body:
            connection.send(h11.Data(data=body))
        connection.send(h11.EndOfMessage())
        return await _answer(connection, reader)
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


async def _answer(connection: h11.Connection, reader: asyncio.StreamReader) -> Answer:
    status, parts, size = 0, [], 0
    while True:
        match connection.next_event():
            case h11.NEED_DATA:
                connection.receive_data(await reader.read(_CHUNK))
            case h11.Response(status_code=status):
                pass
            case h11.Data(data=data):
                size += len(data)
                if size > _LARGEST:
                    raise RequestFailed(f"the answer is larger than {_LARGEST} bytes")
                parts.append(bytes(data))
            case h11.EndOfMessage():
                return Answer(status, b"".join(parts).decode(errors="replace"))
            case h11.ConnectionClosed() | h11.PAUSED:
                raise RequestFailed("the connection was closed without an answer")
