"""All proxies and what was observed of them, parsed once per change and without the parts nobody here asks for.

Filters and figures look at every proxy, and parsing thousands takes a second. What a proxy consumes (its outbounds) is
most of its size and of no interest to them, so it is not kept.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from kuma.core.errors import InvalidResource
from kuma.core.model.resource import Key, Resource
from kuma.core.resources.dataplane import facts
from kuma.core.resources.dataplane.spec import Dataplane
from kuma.core.resources.dataplaneinsight.spec import DataplaneInsight
from kuma.cp.store.decoding import resource_of
from kuma.cp.store.port import Record, Store

_AT_ONCE: Final = 20
"""Parsing more than this leaves the event loop."""


class Proxies:
    """The proxies and insights of a store. Those that cannot be read are left out; nobody can say anything of them."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._dataplanes = _Parsed(facts.without_outbounds)
        self._insights = _Parsed(_last_stream)

    async def dataplanes(self) -> Sequence[Resource[Dataplane]]:
        """Of all meshes, by mesh then name, without outbounds."""
        return await self._dataplanes.of(await self._store.list("Dataplane"))

    async def insights(self) -> Sequence[Resource[DataplaneInsight]]:
        """Of all meshes, by mesh then name, each with its open streams and its last one."""
        return await self._insights.of(await self._store.list("DataplaneInsight"))


class _Parsed:
    """Parsed resources of one kind by revision. Forgets what is no longer stored."""

    def __init__(self, reduced: Callable[[Any], Any]) -> None:
        self._reduced = reduced
        self._known: Mapping[Key, tuple[int, Resource[Any] | None]] = {}

    async def of(self, records: Sequence[Record]) -> list[Resource[Any]]:
        known = self._known
        news = [record for record in records if known.get(record.key, (None,))[0] != record.revision]
        parsed = await asyncio.to_thread(self._parse, news) if len(news) > _AT_ONCE else self._parse(news)
        fresh = {record.key: parsed.get(record.key) or known[record.key] for record in records}
        self._known = fresh
        return [resource for _, resource in fresh.values() if resource is not None]

    def _parse(self, records: Sequence[Record]) -> dict[Key, tuple[int, Resource[Any] | None]]:
        return {record.key: (record.revision, self._read(record)) for record in records}

    def _read(self, record: Record) -> Resource[Any] | None:
        try:
            resource = resource_of(record)
        except InvalidResource:
            return None
        return Resource(resource.meta, self._reduced(resource.spec))


def _last_stream(spec: DataplaneInsight) -> DataplaneInsight:
    last = len(spec.subscriptions) - 1
    subscriptions = tuple(
        one.model_copy(update={"status": None})
        for index, one in enumerate(spec.subscriptions)
        if one.disconnect_time is None or index == last
    )
    return spec.model_copy(update={"subscriptions": subscriptions, "metadata": None, "open_telemetry": None})
