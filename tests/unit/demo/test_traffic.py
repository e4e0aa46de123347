"""Visits are counted by edge, and never more than the bound at a time."""

from __future__ import annotations

import asyncio
import json
import time

import pytest

from kuma.demo.statistics import Sample
from kuma.demo.traffic import EDGES, Traffic, Visit, visit

GOOD = [
    {"to": "api", "seconds": 0.002, "answer": "api-1", "caller": "spiffe://default/web", "error": ""},
    {"to": "kv", "seconds": 0.001, "answer": "7", "caller": "", "error": ""},
]
DENIED = [{**GOOD[0], "answer": "", "caller": "", "error": "403 RBAC: access denied"}, GOOD[1]]


class _Web:
    """A front end that answers as it is told."""

    def __init__(self, body: str) -> None:
        self.body = body
        self.at_once = 0
        self.crowded = asyncio.Event()
        self.flooded = asyncio.Event()
        self.answer = asyncio.Event()
        self.answer.set()

    async def __aenter__(self) -> int:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return int(self._server.sockets[0].getsockname()[1])

    async def __aexit__(self, *_: object) -> None:
        self.answer.set()
        self._server.close()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        self.at_once += 1
        if self.at_once >= 20:
            (self.crowded if self.at_once == 20 else self.flooded).set()
        await self.answer.wait()
        self.at_once -= 1
        writer.write(f"HTTP/1.1 200 OK\r\ncontent-length: {len(self.body)}\r\n\r\n{self.body}".encode())
        writer.close()


async def test_a_good_visit():
    """Three edges, who answered, and who the API says called."""
    async with _Web(json.dumps({"calls": GOOD})) as port:
        seen = await visit(port, time.monotonic)

    assert seen.complete
    assert set(seen.samples) == set(EDGES)
    assert (seen.api_instance, seen.caller) == ("api-1", "spiffe://default/web")
    assert seen.samples["web", "kv"].seconds == 0.001


async def test_a_denied_call_is_told_on_its_edge_and_on_the_visitors():
    """The store was still reached."""
    async with _Web(json.dumps({"calls": DENIED})) as port:
        seen = await visit(port, time.monotonic)

    assert not seen.complete
    assert seen.samples["web", "api"].error == "403 RBAC: access denied"
    assert seen.samples["you", "web"].error == "api: 403 RBAC: access denied"
    assert not seen.samples["web", "kv"].error


@pytest.mark.parametrize("body", ["", "<html>", "[]", '{"calls": [{"to": "api"}]}', '{"calls": 3}'])
async def test_an_odd_answer_is_a_failed_visit(body):
    """Whatever the front end says, the demo goes on."""
    async with _Web(body) as port:
        seen = await visit(port, time.monotonic)

    assert list(seen.samples) == [("you", "web")]
    assert seen.error


def test_answers_without_a_certificate_are_counted():
    """One answer in plain text is enough to say so at the end."""
    traffic = Traffic(1, lambda: 0.0)
    by_api = {("web", "api"): Sample(0, 0.1, "api-1")}
    traffic.count(Visit(by_api, "spiffe://default/web"))
    traffic.count(Visit(by_api, ""))
    traffic.count(Visit(by_api, "spiffe://default/web"))

    assert traffic.encrypted
    assert traffic.unencrypted == 1


async def test_a_front_end_that_does_not_answer_is_not_flooded():
    """Visits wait when too many are unanswered."""
    web = _Web(json.dumps({"calls": GOOD}))
    web.answer.clear()
    async with web as port, asyncio.timeout(20):
        traffic = Traffic(port, time.monotonic)
        flow = asyncio.create_task(traffic.flow())
        await web.crowded.wait()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):  # time for ten more
                await web.flooded.wait()
        flow.cancel()
        await asyncio.wait([flow])
