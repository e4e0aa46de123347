from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from kuma.dp.http import MAX_ANSWER_BYTES, HttpError, Peer, request
from tests.unit.dp.control_plane import finished


@asynccontextmanager
async def _served(answer: bytes, *, hold=False):
    served = asyncio.Event()

    async def serve(reader, writer):
        with suppress(OSError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer)
            await writer.drain()
            if hold:
                await reader.read()
        await finished(writer)
        served.set()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield Peer("127.0.0.1", server.sockets[0].getsockname()[1])
        await served.wait()


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        b"HTTP/1.0 200 OK\r\ncontent-type: text/plain\r\n\r\nhello",
    ],
)
async def test_every_form_of_body_is_read(raw):
    """With a length, in chunks, and until the connection ends."""
    async with _served(raw) as peer:
        answer = await request(peer, "GET", "/")

    assert (answer.status, answer.body, answer.content_type) == (200, b"hello", "text/plain")


@pytest.mark.parametrize("raw", [b"", b"220 mail\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\nhello"])
async def test_what_is_not_http_is_told(raw):
    """Also an answer that breaks off."""
    async with _served(raw) as peer:
        with pytest.raises(HttpError, match="did not answer in HTTP"):
            await request(peer, "GET", "/")


async def test_a_silent_server_is_given_up():
    """Nothing here waits without end."""
    async with _served(b"", hold=True) as peer:
        with pytest.raises(HttpError, match=r"no answer from 127\.0\.0\.1:\d+ within 0\.05s"):
            await request(peer, "GET", "/", timeout=0.05)


async def test_an_endless_answer_is_given_up():
    """Memory has a limit."""
    async with _served(b"x" * (MAX_ANSWER_BYTES + 1)) as peer:
        with pytest.raises(HttpError, match="over"):
            await request(peer, "GET", "/")


async def test_failures_are_told_in_a_few_words(tmp_path: Path):
    """A name of several addresses gives one reason."""
    with pytest.raises(HttpError, match=r"^localhost:1: connection refused$"):
        await request(Peer("localhost", 1), "GET", "/")
    with pytest.raises(HttpError, match="no such file"):
        await request(Peer(unix_socket=str(tmp_path / "none")), "GET", "/")
