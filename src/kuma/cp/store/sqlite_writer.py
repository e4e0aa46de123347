"""The one thread that writes to the SQLite file.

Work comes through a queue and leaves in the same order. When several pieces wait, they share one transaction and so
one sync of the disk; each still succeeds or fails by itself, because a piece that must not happen says so before it
writes anything. When the shared transaction fails, each piece is tried alone: one batch that does not fit on the disk
does not take the others with it.

Results and changes go back to the loop in the order of commits. The loop holds at most ``MOST_WAITING`` pieces of
work in the queue; who comes later waits for room.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Final, TypeVar

from kuma.core.errors import MeshError, StoreUnavailable
from kuma.cp.store.port import Change
from kuma.cp.store.sqlite_file import failures_named

T = TypeVar("T")

MOST_WAITING: Final = 1024
_MOST_TOGETHER: Final = 64

Outcome = tuple[Any, tuple[Change, ...]]
Work = Callable[[sqlite3.Connection], tuple[T, tuple[Change, ...]]]
"""Reads and writes inside a transaction; gives its result and the changes it made."""


@dataclass(frozen=True, slots=True)
class _Job:
    work: Work[Any]
    future: asyncio.Future[Any]


class Writer:
    """Runs work on its connection, which it owns from here on. Lives in the loop that made it."""

    def __init__(
        self, connection: sqlite3.Connection, path: Path, publish: Callable[[tuple[Change, ...]], None]
    ) -> None:
        self._connection = connection
        self._path = path
        self._publish = publish
        self._loop = asyncio.get_running_loop()
        self._room = asyncio.Semaphore(MOST_WAITING)
        self._queue: SimpleQueue[_Job | None] = SimpleQueue()
        self._closed = False
        # A daemon, so that a program that dies without closing the store is not held back; what it has not
        # committed was not acknowledged either.
        self._thread = threading.Thread(target=self._run, name="store-writer", daemon=True)
        self._thread.start()

    async def submit(self, work: Work[T]) -> T:
        """Run the work; its transaction is on the disk when this returns."""
        await self._room.acquire()
        if self._closed:
            self._room.release()
            raise StoreUnavailable("the store is closed: the control plane is shutting down")
        future: asyncio.Future[T] = self._loop.create_future()
        self._queue.put(_Job(work, future))
        return await future

    async def close(self) -> None:
        """Finish what was submitted, then end the thread and close the connection. Idempotent."""
        if not self._closed:
            self._closed = True
            self._queue.put(None)
        await asyncio.to_thread(self._thread.join)

    def _run(self) -> None:
        more = True
        while more:
            jobs = [self._queue.get()]
            with suppress(Empty):
                while len(jobs) < _MOST_TOGETHER:
                    jobs.append(self._queue.get_nowait())
            more = None not in jobs
            together = [job for job in jobs if job is not None]
            outcomes = self._commit(together)
            with suppress(RuntimeError):  # the loop is closed: nobody waits for the answer any more
                self._loop.call_soon_threadsafe(self._settle, together, outcomes)
        self._connection.close()

    def _commit(self, jobs: Sequence[_Job]) -> list[Outcome | Exception]:
        try:
            with failures_named(self._path):
                return self._transaction(jobs)
        except Exception as error:  # noqa: BLE001 it goes to the caller; this thread must live on
            if len(jobs) == 1:
                return [error]
        return [outcome for job in jobs for outcome in self._commit([job])]

    def _transaction(self, jobs: Sequence[_Job]) -> list[Outcome | Exception]:
        outcomes: list[Outcome | Exception] = []
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            for job in jobs:
                try:
                    outcomes.append(job.work(self._connection))
                except MeshError as refusal:
                    outcomes.append(refusal)
            self._connection.execute("COMMIT")
        except BaseException:
            # SQLite may have rolled back by itself already, and a failing disk may refuse that too.
            with suppress(sqlite3.Error):
                self._connection.rollback()
            raise
        return outcomes

    def _settle(self, jobs: Sequence[_Job], outcomes: Sequence[Outcome | Exception]) -> None:
        for job, outcome in zip(jobs, outcomes, strict=True):
            self._room.release()
            if isinstance(outcome, Exception):
                if not job.future.done():
                    job.future.set_exception(outcome)
                continue
            result, changes = outcome
            if changes:
                self._publish(changes)
            if not job.future.done():
                job.future.set_result(result)
