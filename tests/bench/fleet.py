"""Many proxies in one process, told what to do by lines of JSON on standard input; one line answers each.

First line: ``{"port", "ca_file", "delta", "proxies": [{"name", "service", "node", "token"}, …]}``, the node in hex.
Then, each answered when it is done:

* ``{"do": "connect"}`` – everyone at once; lost connections come back as Envoy's do. Answered at once.
* ``{"do": "mark"}`` – count from here on.
* ``{"do": "wait", "quiet": s, "within": s}`` – until every proxy is configured and no message came for ``quiet``
  seconds; answers what came since the mark.
* ``{"do": "expect", "text": t}`` – look for a text in what comes; answered at once.
* ``{"do": "receipts", "within": s}`` – until every proxy was sent that text; answers when.
* ``{"do": "stop"}``

Times are of the system's monotonic clock, which all processes share.
"""

from __future__ import annotations

import asyncio
import gc
import json
import random
import ssl
import sys
import time
from collections import Counter
from typing import Any

import uvloop

from tests.bench.envoy import SHORT, Envoy, Reader, Response
from tests.bench.grpc_stream import GrpcStream, prefixed

_SERVICE = "/envoy.service.discovery.v3.AggregatedDiscoveryService/"
_PATHS = {True: f"{_SERVICE}DeltaAggregatedResources", False: f"{_SERVICE}StreamAggregatedResources"}
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0
"""Envoy's own: the pause before it tries again is anything up to these."""
_STABLE_SECONDS = 2.0


class Proxy:
    """One proxy and its connection."""

    def __init__(self, fleet: Fleet, described: dict[str, str]) -> None:
        self.name = described["name"]
        self.service = described["service"]
        self._token = described["token"]
        self._fleet = fleet
        self._envoy = Envoy(bytes.fromhex(described["node"]), fleet.reader, delta=fleet.delta)
        self._stream: GrpcStream | None = None
        self._failures = 0
        self._opened_at = 0.0
        self.connected = False
        self.configured_at = 0.0
        self.pushed = 0
        """Messages that brought something, since the mark."""
        self.expected_at = 0.0

    async def connect(self, pause: float = 0.0) -> None:
        """Connect, after a pause."""
        await asyncio.sleep(pause)
        fleet = self._fleet
        opening = b"".join(map(prefixed, self._envoy.open()))
        loop = asyncio.get_running_loop()
        # Known before it connects: in a crowd the first answer is read before this coroutine goes on.
        stream = self._stream = GrpcStream(
            _PATHS[fleet.delta],
            f"localhost:{fleet.port}",
            self._token,
            opening,
            accepted=self._accepted,
            received=self._received,
            ended=self._ended,
        )
        try:
            await loop.create_connection(
                lambda: stream, "127.0.0.1", fleet.port, ssl=fleet.tls, server_hostname="localhost"
            )
        except OSError as error:
            self._stream = None
            self._again(f"cannot connect: {type(error).__name__}")
            return
        self._opened_at = time.monotonic()

    def close(self) -> None:
        """End the connection."""
        if self._stream is not None:
            self._stream.close()

    def _accepted(self) -> None:
        self.connected = True

    def _received(self, message: bytes) -> None:
        now = time.monotonic()
        response, requests = self._envoy.receive(message)
        if self._stream is not None:
            self._stream.send(b"".join(map(prefixed, requests)))
        if not self.configured_at and self._envoy.configured:
            self.configured_at = now
        self._fleet.count(self, response, now)

    def _ended(self, reason: str) -> None:
        self._stream, self.connected = None, False
        if time.monotonic() - self._opened_at > _STABLE_SECONDS:
            self._failures = 0
        self._again(reason)

    def _again(self, reason: str) -> None:
        if self._fleet.stopping:
            return
        self._fleet.ends[reason] += 1
        longest = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2**self._failures)
        self._failures += 1
        self._fleet.spawn(self.connect(random.uniform(0, longest)))


class Fleet:
    """All proxies, and what they were sent since the last mark."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self.delta: bool = settings["delta"]
        self.port: int = settings["port"]
        self.reader = Reader(delta=self.delta)
        self.tls = ssl.create_default_context(cafile=settings["ca_file"])
        self.tls.set_alpn_protocols(["h2"])
        self.stopping = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._expected = b""
        self.mark()
        self._proxies = [Proxy(self, one) for one in settings["proxies"]]

    def spawn(self, work: Any) -> None:
        """Run something beside."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def mark(self) -> None:
        """Count from here on."""
        self.ends: Counter[str] = Counter()
        self._messages: Counter[str] = Counter()
        self._bytes: Counter[str] = Counter()
        self._first_at = self._last_at = 0.0
        for proxy in getattr(self, "_proxies", ()):
            proxy.pushed = 0

    def count(self, proxy: Proxy, response: Response, now: float) -> None:
        """Take note of a message."""
        kind = SHORT[response.type_url]
        self._messages[kind] += 1
        if response.carries:
            proxy.pushed += 1
            self._bytes[kind] += len(response.raw)
        self._first_at = self._first_at or now
        self._last_at = now
        if self._expected and not proxy.expected_at and response.has(self._expected):
            proxy.expected_at = now

    async def obey(self, order: dict[str, Any]) -> dict[str, Any]:
        """Carry out one order."""
        match order["do"]:
            case "connect":
                for proxy in self._proxies:
                    self.spawn(proxy.connect())
            case "mark":
                self.mark()
            case "wait":
                await self._quiet(order["quiet"], time.monotonic() + order["within"])
                return self._seen()
            case "expect":
                self._expected = order["text"].encode()
                for proxy in self._proxies:
                    proxy.expected_at = 0.0
            case "receipts":
                await self._until(
                    lambda: all(proxy.expected_at for proxy in self._proxies), time.monotonic() + order["within"]
                )
                return {"at": sorted(proxy.expected_at for proxy in self._proxies)}
            case "stop":
                self.stopping = True
                for proxy in self._proxies:
                    proxy.close()
        return {"at": time.monotonic()}

    async def _quiet(self, quiet: float, deadline: float) -> None:
        begun = time.monotonic()
        await self._until(
            lambda: (
                time.monotonic() - max(self._last_at, begun) >= quiet
                and all(proxy.configured_at and proxy.connected for proxy in self._proxies)
            ),
            deadline,
        )

    async def _until(self, condition: Any, deadline: float) -> None:
        while not condition() and time.monotonic() < deadline:  # noqa: ASYNC110 - see below
            await asyncio.sleep(0.01)  # cheaper than an event per message, of which there are thousands

    def _seen(self) -> dict[str, Any]:
        pushed: Counter[str] = Counter()
        for proxy in self._proxies:
            pushed[proxy.service] += proxy.pushed
        return {
            "connected": sum(proxy.connected for proxy in self._proxies),
            "configured": sum(bool(proxy.configured_at) for proxy in self._proxies),
            "configured_at": max(proxy.configured_at for proxy in self._proxies),
            "messages": dict(self._messages),
            "bytes": dict(self._bytes),
            "pushed": {service: count for service, count in pushed.items() if count},
            "first_at": self._first_at,
            "last_at": self._last_at,
            "ends": dict(self.ends),
        }


async def _main() -> None:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=2**30)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    fleet = Fleet(json.loads(await reader.readline()))
    gc.freeze()
    while line := await reader.readline():
        answer = await fleet.obey(json.loads(line))
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()
        if fleet.stopping:
            break


if __name__ == "__main__":
    uvloop.run(_main())
