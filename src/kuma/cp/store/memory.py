"""The store that forgets: everything in this process, nothing on disk.

For tests and for trying things out. It keeps every promise of the port but durability: a restart starts empty.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime, timedelta
from itertools import accumulate, islice

from kuma.core.errors import StoreUnavailable
from kuma.core.model.resource import Key
from kuma.cp.store.planning import Stored, not_found, plan
from kuma.cp.store.port import (
    ANYWHERE,
    Author,
    Change,
    Contents,
    Entries,
    Entry,
    Operation,
    Place,
    Record,
    Sought,
    Span,
    Spans,
    Write,
)
from kuma.cp.store.subscribers import Subscribers


class MemoryStore:
    """A ``Store`` in memory."""

    def __init__(self) -> None:
        self._stored: dict[Key, Stored] = {}
        self._owned: dict[Key, set[Key]] = {}
        self._log: list[Change] = []
        self._trimmed = 0
        self._revision = 0
        self._subscribers = Subscribers()
        self._closed = False

    async def get(self, key: Key) -> Record:
        record = await self.find(key)
        if record is None:
            raise not_found(key)
        return record

    async def find(self, key: Key) -> Record | None:
        self._require_open()
        stored = self._stored.get(key)
        return stored.record if stored else None

    async def list(self, kind: str, mesh: str | None = None) -> tuple[Record, ...]:
        self._require_open()
        keys = sorted(key for key in self._stored if key.kind == kind and mesh in {None, key.mesh})
        return tuple(self._stored[key].record for key in keys)

    async def contents(self) -> Contents:
        self._require_open()
        return Contents(self._revision, tuple(self._stored[key].record for key in sorted(self._stored)))

    async def revision(self) -> int:
        self._require_open()
        return self._revision

    async def write(self, batch: Sequence[Write], *, author: Author, now: datetime) -> tuple[Change, ...]:
        self._require_open()
        planned = plan(
            batch,
            find=self._stored.get,
            owned=lambda owner: self._owned.get(owner, ()),
            revision=self._revision,
            author=author,
            now=now,
        )
        for key, stored in planned.outcome.items():
            self._replace(key, stored)
        self._revision = planned.revision
        self._log += planned.logged
        if planned.changes:
            self._subscribers.publish(planned.changes)
        return planned.changes

    async def history(self, *, after: int = 0, limit: int = 100, key: Key | None = None) -> tuple[Change, ...]:
        self._require_open()
        start = bisect_right(self._log, after, key=lambda change: change.revision)
        newer = (change for change in islice(self._log, start, None) if key in {None, change.key})
        return tuple(islice(newer, max(limit, 0)))

    async def entries(self, sought: Sought, *, limit: int, offset: int = 0) -> Entries:
        self._require_open()
        found = [change for change in reversed(self._log) if _is_sought(change, sought)]
        start = max(offset, 0)
        return Entries(len(found), tuple(_listed(change) for change in found[start : start + max(limit, 0)]))

    async def spans(
        self, after: int, until: int, place: Place = ANYWHERE, *, people_only: bool = False, limit: int
    ) -> Spans:
        self._require_open()
        found: dict[Key, Span] = {}
        people: set[Key] = set()
        start, end = (bisect_right(self._log, at, key=lambda change: change.revision) for at in (after, until))
        for change in islice(self._log, start, end):
            if change.operation is Operation.ISSUE or not place.holds(change.key):
                continue
            earlier = found.get(change.key)
            found[change.key] = Span(earlier.first if earlier else change, change)
            if change.author.is_person:
                people.add(change.key)
        keys = sorted(key for key in found if not people_only or key in people)
        return Spans(self._revision, self._trimmed, tuple(found[key] for key in keys[: max(limit, 0)]))

    async def trim(self, *, now: datetime, max_age: timedelta, max_entries: int, max_bytes: int | None = None) -> int:
        self._require_open()
        entries, oldest = len(self._log), now - max_age
        too_old = next((index for index, change in enumerate(self._log) if change.time >= oldest), entries)
        gone = max(too_old, entries - max(max_entries, 0))
        if max_bytes is not None:
            sizes = accumulate(change.size for change in reversed(self._log))
            gone = max(gone, entries - sum(1 for size in sizes if size <= max_bytes))
        if gone:
            self._trimmed = self._log[gone - 1].revision
            del self._log[:gone]
        return gone

    def subscribe(self) -> AbstractAsyncContextManager[AsyncIterator[tuple[Change, ...]]]:
        return self._subscribers.subscribe(self.revision)

    async def close(self) -> None:
        self._closed = True
        self._subscribers.end()

    def _replace(self, key: Key, stored: Stored | None) -> None:
        former = self._stored.pop(key, None)
        if former and former.record.owner:
            siblings = self._owned[former.record.owner]
            siblings.discard(key)
            if not siblings:
                del self._owned[former.record.owner]
        if stored:
            self._stored[key] = stored
            if stored.record.owner:
                self._owned.setdefault(stored.record.owner, set()).add(key)

    def _require_open(self) -> None:
        if self._closed:
            raise StoreUnavailable("the store is closed: the control plane is shutting down")


def _is_sought(change: Change, sought: Sought) -> bool:
    return (
        sought.place.holds(change.key)
        and sought.user in {None, change.author.name}
        and (sought.since is None or change.time >= sought.since)
        and (sought.until is None or change.revision <= sought.until)
        and (change.author.is_person or not sought.people_only)
    )


def _listed(change: Change) -> Entry:
    return Entry(change.revision, change.time, change.author, change.operation, change.key, change.note)
