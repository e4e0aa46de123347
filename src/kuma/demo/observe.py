"""What the control plane tells about the proxies, asked as kumactl asks it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from kuma.demo.documents import MESH
from kuma.demo.http import Answer, RequestFailed, request

_PAUSE: Final = 1.0
_OVERVIEW: Final = f"/meshes/{MESH}/dataplanes/_overview?size=100"
_STATS: Final = f"/meshes/{MESH}/dataplanes/web/stats"
_COUNTER: Final = r"^cluster\.{service}[^.\n]*\.{name}: (\d+)$"


@dataclass(frozen=True, slots=True)
class ProxyState:
    """One proxy as the control plane sees it. ``refused`` counts configurations that its Envoy did not take."""

    online: bool
    certificate_ends: datetime | None = None
    backend: str = ""
    refused: int = 0


@dataclass(frozen=True, slots=True)
class Observed:
    """What is known; when the control plane does not answer, what was known last."""

    reachable: bool = True
    proxies: Mapping[str, ProxyState] | None = None
    store_encrypted: bool | None = None
    """Whether the newest connections to the key-value store used TLS; None when there were none yet."""


def read_overview(document: Mapping[str, Any]) -> dict[str, ProxyState]:
    """
    The proxies in an answer, by name.

    Raises:
        ValueError: it is not an overview.
    """
    try:
        return {str(item["name"]): _state(item.get("dataplaneInsight") or {}) for item in document["items"]}
    except (LookupError, TypeError, AttributeError) as error:
        raise ValueError("the answer is not an overview of proxies") from error


def _state(insight: Mapping[str, Any]) -> ProxyState:
    newest = (insight.get("subscriptions") or [{}])[-1]
    online = bool(newest.get("connectTime")) and not newest.get("disconnectTime")
    certificate = insight.get("mTLS") or {}
    ends = certificate.get("certificateExpirationTime")
    total = (newest.get("status") or {}).get("total") or {}
    return ProxyState(
        online,
        datetime.fromisoformat(ends) if ends else None,
        str(certificate.get("issuedBackend", "")),
        int(total.get("responsesRejected", 0)),
    )


@dataclass(frozen=True, slots=True)
class Connections:
    """How many connections a proxy has made to a service, and how many of them with TLS."""

    made: int
    encrypted: int


def read_connections(stats: str, service: str) -> Connections:
    """Sums over the clusters of a service in Envoy's statistics."""

    def total(name: str) -> int:
        pattern = _COUNTER.format(service=re.escape(service), name=re.escape(name))
        return sum(int(count) for count in re.findall(pattern, stats, re.MULTILINE))

    return Connections(total("upstream_cx_total"), total("ssl.handshake"))


class Observer:
    """Keeps ``now`` up to date."""

    def __init__(self, port: int) -> None:
        self.now = Observed()
        self._port = port
        self._connections = Connections(0, 0)

    async def watch(self) -> None:
        """Ask again and again, until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(_PAUSE)

    async def look(self) -> Observed:
        """Ask once."""
        try:
            overview = await self._get(_OVERVIEW)
            self.now = Observed(True, read_overview(overview.json), self.now.store_encrypted)
        except (RequestFailed, ValueError):
            self.now = replace(self.now, reachable=False)
            return self.now
        try:
            stats = await self._get(_STATS, "text/plain")
        except RequestFailed:
            return self.now  # the proxy of web may be away; its own row says so
        self._compare(read_connections(stats.text, "kv"))
        return self.now

    def _compare(self, connections: Connections) -> None:
        """Only new connections tell what holds now."""
        before, self._connections = self._connections, connections
        made = connections.made - before.made
        if made > 0:
            self.now = replace(self.now, store_encrypted=connections.encrypted > before.encrypted)

    async def _get(self, path: str, accept: str = "application/json") -> Answer:
        answer = await request(self._port, "GET", path, accept=accept)
        if answer.status != 200:
            raise RequestFailed(f"{answer.status} {answer.text[:200]}")
        return answer
