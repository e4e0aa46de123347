"""A store that tells Prometheus how long its operations take, how often writers meet, and how much it holds.

It promises what the store in it promises, and changes nothing on the way.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager
from datetime import datetime, timedelta
from typing import Final

from prometheus_client import Histogram
from prometheus_client.core import GaugeMetricFamily, Metric, UnknownMetricFamily
from prometheus_client.registry import Collector

from kuma.core.errors import Conflict
from kuma.core.model.resource import Key
from kuma.cp.store.port import (
    ANYWHERE,
    Author,
    Change,
    Contents,
    Entries,
    Operation,
    Place,
    Record,
    Sought,
    Spans,
    Store,
    Write,
)

_BUCKETS: Final = (0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_NO_TENANT: Final = ""
_STEPS: Final = {Operation.CREATE: 1, Operation.DELETE: -1}


class MeteredStore(Collector):
    """See the module."""

    def __init__(self, store: Store) -> None:
        self._store = store
        # Without a registry: whoever collects this object gets them.
        self._took = Histogram(
            "store", "Seconds that an operation took", ("operation", "resource_type"), buckets=_BUCKETS, registry=None
        )
        self._conflicts: Counter[str] = Counter()
        self._counts: Counter[str] = Counter()

    def collect(self) -> Iterator[Metric]:
        yield from self._took.collect()
        conflicts = UnknownMetricFamily(
            "store_conflicts", "Writes refused because someone else wrote first", labels=("resource_type",)
        )
        for kind, count in sorted(self._conflicts.items()):
            conflicts.add_metric((kind,), count)
        held = GaugeMetricFamily("resources_count", "Stored resources", labels=("resource_type", "tenant"))
        for kind, count in sorted(self._counts.items()):
            held.add_metric((kind, _NO_TENANT), count)
        yield from (conflicts, held)

    async def count(self) -> None:
        """Follow how many resources there are of each kind, until cancelled or the store is closed."""
        async with self._store.subscribe() as batches:
            contents = await self._store.contents()
            self._counts = Counter(record.key.kind for record in contents.records)
            async for batch in batches:
                for change in batch:
                    if change.revision > contents.revision:
                        self._counts[change.key.kind] += _STEPS.get(change.operation, 0)

    async def get(self, key: Key) -> Record:
        with self._timed("get", key.kind):
            return await self._store.get(key)

    async def find(self, key: Key) -> Record | None:
        with self._timed("get", key.kind):
            return await self._store.find(key)

    async def list(self, kind: str, mesh: str | None = None) -> tuple[Record, ...]:
        with self._timed("list", kind):
            return await self._store.list(kind, mesh)

    async def contents(self) -> Contents:
        return await self._store.contents()

    async def revision(self) -> int:
        return await self._store.revision()

    async def write(self, batch: Sequence[Write], *, author: Author, now: datetime) -> tuple[Change, ...]:
        started = time.perf_counter()
        try:
            changes = await self._store.write(batch, author=author, now=now)
        except Conflict:
            self._conflicts[batch[0].key.kind] += 1
            raise
        took = time.perf_counter() - started
        for operation, kind in {(change.operation.value, change.key.kind) for change in changes}:
            self._took.labels(operation, kind).observe(took)
        return changes

    async def history(self, *, after: int = 0, limit: int = 100, key: Key | None = None) -> tuple[Change, ...]:
        return await self._store.history(after=after, limit=limit, key=key)

    async def entries(self, sought: Sought, *, limit: int, offset: int = 0) -> Entries:
        return await self._store.entries(sought, limit=limit, offset=offset)

    async def spans(
        self, after: int, until: int, place: Place = ANYWHERE, *, people_only: bool = False, limit: int
    ) -> Spans:
        return await self._store.spans(after, until, place, people_only=people_only, limit=limit)

    async def trim(self, *, now: datetime, max_age: timedelta, max_entries: int, max_bytes: int | None = None) -> int:
        return await self._store.trim(now=now, max_age=max_age, max_entries=max_entries, max_bytes=max_bytes)

    def subscribe(self) -> AbstractAsyncContextManager[AsyncIterator[tuple[Change, ...]]]:
        return self._store.subscribe()

    async def close(self) -> None:
        await self._store.close()

    @contextmanager
    def _timed(self, operation: str, kind: str) -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            self._took.labels(operation, kind).observe(time.perf_counter() - started)
