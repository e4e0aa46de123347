"""Requests to a port of the loopback address: an answer, or a sentence why not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest

from kuma.demo.http import Answer, RequestFailed, request

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[Any, Any, None]]


@asynccontextmanager
async def _serving(serve: Serve) -> AsyncIterator[int]:
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def _answering(
    text: bytes, heard: list[bytes], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    heard.append(await reader.read(65536))
    writer.write(text)
    writer.close()
    await writer.wait_closed()


async def test_a_question_and_its_answer():
    """Method, path and body go out; status and body come back."""
    heard: list[bytes] = []
    reply = b'HTTP/1.1 201 Created\r\ncontent-length: 9\r\n\r\n{"a": 12}'
    async with _serving(lambda r, w: _answering(reply, heard, r, w)) as port:
        answer = await request(port, "POST", "/tokens", body="{}")

    assert (answer.status, answer.json) == (201, {"a": 12})
    assert heard[0].startswith(b"POST /tokens HTTP/1.1\r\n")
    assert heard[0].endswith(b"content-length: 2\r\n\r\n{}")


@pytest.mark.parametrize("reply", [b"", b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf", b"SSH-2.0-x\r\n\r\n"])
async def test_no_whole_answer(reply):
    """Closed early, or not HTTP at all: a failure, not an exception of a library."""
    async with _serving(lambda r, w: _answering(reply, [], r, w)) as port:
        with pytest.raises(RequestFailed):
            await request(port, "GET", "/")


async def test_nobody_answers_in_time():
    """The time is said."""
    silent = asyncio.Event()

    async def say_nothing(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await silent.wait()
        writer.close()

    async with _serving(say_nothing) as port:
        with pytest.raises(RequestFailed, match=r"no answer within 0\.05 s"):
            await request(port, "GET", "/", seconds=0.05)
        silent.set()


async def test_nobody_listens():
    """The system's own word for it."""
    async with _serving(lambda r, w: _answering(b"", [], r, w)) as port:
        pass
    with pytest.raises(RequestFailed, match="onnect"):
        await request(port, "GET", "/")


def test_text_that_is_not_json():
    """Told as a ValueError, which callers expect."""
    with pytest.raises(ValueError, match="Expecting value"):
        Answer(200, "<html>").json  # noqa: B018 - reading it is the point
