from __future__ import annotations

import asyncio
import json
import logging
import os
import stat
from contextlib import asynccontextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kuma.core.errors import ConfigInvalid
from kuma.dp.access_log import MAX_LINE, MAX_WAITING, AccessLogStreamer, Line, LineInvalid, Lines, parse_line


class Server:
    """A log server that keeps what it is sent."""

    def __init__(self):
        self.received = b""
        self.port = 0
        self._server = None
        self._news = asyncio.Event()
        self._writers = []

    async def start(self, port=0):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def _serve(self, reader, writer):
        self._writers.append(writer)
        while data := await reader.read(65536):
            self.received += data
            self._news.set()
        writer.close()

    async def stop(self):
        self._server.close()
        for writer in self._writers:
            writer.close()
        await self._server.wait_closed()

    async def has(self, text):
        async with asyncio.timeout(20):
            while text not in self.received:
                self._news.clear()
                await self._news.wait()


@pytest.fixture
async def server():
    """A log server."""
    made = await Server().start()
    yield made
    await made.stop()


@asynccontextmanager
async def _streaming(path, **options):
    """The streamer at work, and a way to write lines as Envoy does."""
    with AccessLogStreamer(path, pause=0.01, **options) as streamer:
        fifo = os.open(path, os.O_WRONLY | os.O_NONBLOCK)  # refused, were nobody reading yet
        os.set_blocking(fifo, True)
        task = asyncio.create_task(streamer.run())

        async def write(*lines):
            for line in lines:
                await asyncio.to_thread(os.write, fifo, line)

        try:
            yield write
        finally:
            os.close(fifo)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def _line(port, message):
    return json.dumps({"address": f"127.0.0.1:{port}", "message": message}).encode() + b"\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b'{"address":"logs:5000","message":"hello\\n"}', Line("logs", 5000, b"hello\n")),
        (b'{"address":"[::1]:1","message":{"a":"\xc3\xa9"}}', Line("::1", 1, b'{"a":"\xc3\xa9"}\n')),
        (b"10.0.0.1:5000;hello; you", Line("10.0.0.1", 5000, b"hello; you\n")),
    ],
)
def test_both_forms_of_a_line_are_understood(text, expected):
    """JSON with text or an object, and the older form."""
    assert parse_line(text) == expected


@pytest.mark.parametrize(
    "text",
    [b"", b"hello", b"{", b"{}", b"[" * 100_000, b'{"address":"a:1"}', b'{"address":5,"message":"x"}', b"a;x", b"a:0;x",
     b"a:99999;x", b":1;x", b'{"address":"a:1","message":[1]}'],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(text):
    """A reason, never another error."""
    with pytest.raises(LineInvalid):
        parse_line(text)


@given(st.binary(max_size=60))
def test_any_bytes_are_a_line_or_refused(text):
    """Whatever comes out of a FIFO."""
    try:
        outcome = 0 < parse_line(text).port <= 65535
    except LineInvalid as refused:
        outcome = bool(str(refused))

    assert outcome


@given(st.lists(st.binary(max_size=12).map(lambda part: part.replace(b"\n", b""))), st.integers(1, 7))
def test_lines_are_cut_alike_however_the_bytes_arrive(parts, step):
    """Empty lines and those that are too long are left out; the others are whole."""
    cut, whole = Lines(8), b"".join(part + b"\n" for part in parts)
    found = [line for at in range(0, len(whole), step) for line in cut.feed(whole[at : at + step])]

    assert found == [part for part in parts if 0 < len(part) <= 8]
    assert cut.skipped == sum(len(part) > 8 for part in parts)


async def test_lines_reach_the_server_they_name(tmp_path, server):
    """Each server gets its own lines, in order."""
    other = await Server().start()
    async with _streaming(tmp_path / "al.sock") as write:
        await write(_line(server.port, "one\n"), _line(other.port, {"two": 2}), _line(server.port, "three\n"))
        await server.has(b"one\nthree\n")
        await other.has(b'{"two":2}\n')
    await other.stop()


async def test_the_fifo_is_ours_alone_and_gone_at_the_end(tmp_path):
    """Nobody else on the machine can make us call servers; a file in its place is replaced."""
    path = tmp_path / "al.sock"
    path.write_text("old")
    async with _streaming(path):
        mode = path.stat().st_mode
        assert stat.S_ISFIFO(mode)
        assert stat.S_IMODE(mode) == 0o600

    assert not path.exists()


def test_a_fifo_that_cannot_be_made_stops_the_start(tmp_path):
    """The reason names the path and what to do."""
    with pytest.raises(ConfigInvalid, match="choose another --work-dir"), AccessLogStreamer(tmp_path / "no" / "al"):
        pytest.fail("there is no FIFO")


async def test_a_server_that_comes_back_gets_lines_again(tmp_path, server, caplog):
    """Lines in between are dropped; the log says so once, and names no message."""
    async with _streaming(tmp_path / "al.sock") as write:
        await write(_line(server.port, "before\n"))
        await server.has(b"before\n")
        await server.stop()
        async with asyncio.timeout(20):
            while not any("cannot send" in record.message for record in caplog.records):
                await write(_line(server.port, "lost secret\n"))
                await asyncio.sleep(0.01)
        again = await Server().start(server.port)
        async with asyncio.timeout(20):
            while b"after" not in again.received:
                await write(_line(server.port, "after\n"))
                await asyncio.sleep(0.01)
        await again.stop()

    assert sum("cannot send" in record.message for record in caplog.records) == 1
    assert any("lines were dropped" in record.message for record in caplog.records)
    assert "secret" not in caplog.text


async def test_a_name_that_cannot_be_looked_up_stops_nothing(tmp_path, server, caplog):
    """A label of a host name is at most 63 characters long; whatever the reason, other servers get their lines."""
    bad = json.dumps({"address": f"{'a' * 64}:1", "message": "x"}).encode() + b"\n"
    async with _streaming(tmp_path / "al.sock") as write:
        await write(bad, _line(server.port, "good\n"))
        await server.has(b"good\n")

    assert not any(record.levelno >= logging.ERROR for record in caplog.records)


async def test_after_a_fault_the_stream_begins_again(tmp_path, server, caplog):
    """The FIFO stays, so an Envoy that has it open goes on; the log names the fault and no message."""
    faults = [RuntimeError("secret")]

    async def connect(host, port, *, limit):
        if faults:
            raise faults.pop()
        return await asyncio.open_connection(host, port, limit=limit)

    path = tmp_path / "al.sock"
    async with _streaming(path, connect=connect) as write:
        fifo = path.stat().st_ino
        await write(_line(server.port, "lost secret\n"))
        async with asyncio.timeout(20):
            while b"after" not in server.received:
                await write(_line(server.port, "after\n"))
                await asyncio.sleep(0.01)
        assert path.stat().st_ino == fifo

    assert sum("stopped by RuntimeError" in record.message for record in caplog.records) == 1
    assert not any("secret" in record.message for record in caplog.records)


async def test_a_server_that_does_not_read_does_not_hold_up_others(tmp_path, server):
    """Envoy goes on writing, and other servers go on getting their lines."""
    held = []
    stuck = await asyncio.start_server(lambda _, writer: held.append(writer), "127.0.0.1", 0)
    port = stuck.sockets[0].getsockname()[1]
    async with _streaming(tmp_path / "al.sock") as write:
        async with asyncio.timeout(20):
            for _ in range(MAX_WAITING // 8):
                await write(_line(port, "x" * 60_000 + "\n"))
            await write(_line(server.port, "alive\n"))
        await server.has(b"alive\n")
    for writer in held:
        writer.close()
    stuck.close()
    await stuck.wait_closed()


async def test_lines_that_cannot_be_used_are_dropped_and_said_once(tmp_path, server, caplog):
    """Too long, no JSON: what comes after is delivered."""
    caplog.set_level(logging.WARNING)
    async with _streaming(tmp_path / "al.sock") as write:
        await write(b"nonsense\n", b"more nonsense\n", b"x" * (MAX_LINE + 10) + b"\n", _line(server.port, "good\n"))
        await server.has(b"good\n")

    said = [record.message for record in caplog.records]
    assert sum("neither JSON nor address;message" in message for message in said) == 1
    assert sum(f"more than {MAX_LINE} bytes" in message for message in said) == 1
