"""The default store: one SQLite file on a local disk.

A write is on the disk before it is acknowledged, so neither ``kill -9`` nor a power cut takes it back. One thread
writes, two read; the event loop never waits for the disk. One control plane has the file at a time. What only
administrators may read is encrypted in it.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, ExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from queue import SimpleQueue
from typing import Final, TypeVar

from kuma.core.errors import StoreUnavailable
from kuma.core.model.resource import Key
from kuma.cp.store.planning import Stored, not_found, plan
from kuma.cp.store.port import (
    ANYWHERE,
    Author,
    Change,
    Contents,
    Entries,
    Place,
    Record,
    Sought,
    Spans,
    Write,
)
from kuma.cp.store.sealing import CHECK, CannotUnseal, Sealer
from kuma.cp.store.sqlite_file import Lock, connect_reader, connect_writer, failures_named, make_private
from kuma.cp.store.sqlite_log import Log
from kuma.cp.store.sqlite_rows import Rows
from kuma.cp.store.sqlite_schema import migrate
from kuma.cp.store.sqlite_writer import Writer
from kuma.cp.store.subscribers import Subscribers

T = TypeVar("T")

_READERS: Final = 2
_TRIMMED_AT_ONCE: Final = 2000
"""Log entries forgotten in one transaction: writers wait for no more than that."""


@dataclass(frozen=True, slots=True)
class _Opened:
    writer: sqlite3.Connection
    readers: tuple[sqlite3.Connection, ...]
    lock: Lock
    sealer: Sealer


class SqliteStore:
    """A ``Store`` in a file. Made by ``SqliteStore.open`` and used in the loop that made it."""

    def __init__(self, path: Path, opened: _Opened) -> None:
        self.sealer = opened.sealer
        self._path = path
        self._rows = Rows(self.sealer)
        self._log = Log(self.sealer)
        self._lock = opened.lock
        self._subscribers = Subscribers()
        self._writer = Writer(opened.writer, path, self._subscribers.publish)
        self._threads = ThreadPoolExecutor(_READERS, thread_name_prefix="store-reader")
        self._readers: SimpleQueue[sqlite3.Connection] = SimpleQueue()
        for connection in opened.readers:
            self._readers.put(connection)
        self._closed = False
        self._released = asyncio.Lock()

    @classmethod
    async def open(cls, path: Path, *sealers: Sealer) -> SqliteStore:
        """
        Open or create the file. Of several sealers the one counts that opens it; a new file gets the first.

        Raises:
            StoreUnavailable: another control plane has it, the key is not the one it was made with, it is from a
                newer version, it is damaged, or the disk refuses.
        """
        return cls(path, await asyncio.to_thread(_open, path, sealers))

    async def get(self, key: Key) -> Record:
        record = await self.find(key)
        if record is None:
            raise not_found(key)
        return record

    async def find(self, key: Key) -> Record | None:
        found = await self._read(lambda connection: self._rows.find(connection, [key]))
        return found[key].record if key in found else None

    async def list(self, kind: str, mesh: str | None = None) -> tuple[Record, ...]:
        return await self._read(lambda connection: self._rows.list(connection, kind, mesh))

    async def contents(self) -> Contents:
        return await self._read(lambda c: Contents(self._rows.revision(c), self._rows.all(c)))

    async def revision(self) -> int:
        return await self._read(self._rows.revision)

    async def write(self, batch: Sequence[Write], *, author: Author, now: datetime) -> tuple[Change, ...]:
        operations = tuple(batch)
        return await self._writer.submit(lambda connection: self._commit(connection, operations, author, now))

    async def history(self, *, after: int = 0, limit: int = 100, key: Key | None = None) -> tuple[Change, ...]:
        return await self._read(lambda connection: self._log.history(connection, after, limit, key))

    async def entries(self, sought: Sought, *, limit: int, offset: int = 0) -> Entries:
        return await self._read(lambda connection: self._log.entries(connection, sought, limit, offset))

    async def spans(
        self, after: int, until: int, place: Place = ANYWHERE, *, people_only: bool = False, limit: int
    ) -> Spans:
        return await self._read(lambda c: self._log.spans(c, after, until, place, limit, people_only=people_only))

    async def trim(self, *, now: datetime, max_age: timedelta, max_entries: int, max_bytes: int | None = None) -> int:
        first_kept = await self._read(lambda c: self._log.first_kept(c, now - max_age, max_entries, max_bytes))

        def some(connection: sqlite3.Connection) -> tuple[int, tuple[Change, ...]]:
            return self._log.forget(connection, first_kept, _TRIMMED_AT_ONCE), ()

        trimmed = gone = await self._writer.submit(some)
        while gone == _TRIMMED_AT_ONCE:
            gone = await self._writer.submit(some)
            trimmed += gone
        return trimmed

    def subscribe(self) -> AbstractAsyncContextManager[AsyncIterator[tuple[Change, ...]]]:
        return self._subscribers.subscribe(self.revision)

    async def close(self) -> None:
        self._closed = True
        async with self._released:
            await self._writer.close()
            self._subscribers.end()
            await asyncio.to_thread(self._threads.shutdown)
            while not self._readers.empty():
                self._readers.get().close()
            self._lock.release()

    def _commit(
        self, connection: sqlite3.Connection, batch: tuple[Write, ...], author: Author, now: datetime
    ) -> tuple[tuple[Change, ...], tuple[Change, ...]]:
        """One batch in the writer's transaction. Refuses before it writes."""
        known: dict[Key, Stored | None] = dict.fromkeys(operation.key for operation in batch)
        known.update(self._rows.find(connection, known.copy()))

        def find(key: Key) -> Stored | None:
            if key not in known:
                known[key] = self._rows.find(connection, [key]).get(key)
            return known[key]

        def owned(owner: Key) -> list[Key]:
            found = {stored.record.key: stored for stored in self._rows.owned(connection, owner)}
            known.update(found)
            return list(found)

        planned = plan(
            batch,
            find=find,
            owned=owned,
            revision=self._rows.revision(connection),
            author=author,
            now=now,
        )
        if planned.changes or planned.logged:
            self._rows.apply(connection, planned)
            self._log.append(connection, planned.logged)
        return planned.changes, planned.changes

    async def _read(self, read: Callable[[sqlite3.Connection], T]) -> T:
        """Run a read in a thread, all of it at one revision."""
        if self._closed:
            raise StoreUnavailable("the store is closed: the control plane is shutting down")
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._read_at_once, read)

    def _read_at_once(self, read: Callable[[sqlite3.Connection], T]) -> T:
        connection = self._readers.get()
        try:
            with failures_named(self._path):
                connection.execute("BEGIN")
                try:
                    return read(connection)
                finally:
                    connection.rollback()
        finally:
            self._readers.put(connection)


def _open(path: Path, sealers: Sequence[Sealer]) -> _Opened:
    with failures_named(path), ExitStack() as undo:
        # A folder that exists keeps its mode: it may be shared.
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = Lock(path.resolve())  # a second name for the same file must meet the same lock
        undo.callback(lock.release)
        make_private(path)
        writer = connect_writer(path)
        undo.callback(writer.close)
        migrate(writer, str(path))
        sealer = checked_sealer(writer, path, sealers)
        readers = []
        for _ in range(_READERS):
            connection = connect_reader(path)
            undo.callback(connection.close)
            readers.append(connection)
        undo.pop_all()
        return _Opened(writer, tuple(readers), lock, sealer)


def checked_sealer(connection: sqlite3.Connection, path: Path, sealers: Sequence[Sealer]) -> Sealer:
    """
    The one that opens the value sealed at the first start: a wrong key must not wait for the first secret.

    At the first start the value is sealed, with the first of them.

    Raises:
        StoreUnavailable: none of them opens it.
    """
    row = connection.execute("SELECT key_check FROM state").fetchone()
    if row is None or row[0] is None:
        connection.execute("UPDATE state SET key_check = ?", (sealers[0].seal(CHECK, b"kuma"),))
        return sealers[0]
    refusal: CannotUnseal | None = None
    for sealer in sealers:
        try:
            sealer.unseal(CHECK, row[0])
        except CannotUnseal as error:
            refusal = refusal or error
        else:
            return sealer
    raise StoreUnavailable(
        f"the encryption key is not the one {path} was made with: {refusal}; give kuma-cp the former key with "
        "store.encryption.keyFile (KUMA_STORE_ENCRYPTION_KEY_FILE) or store.encryption.key (KUMA_STORE_ENCRYPTION_KEY)"
    ) from refusal
