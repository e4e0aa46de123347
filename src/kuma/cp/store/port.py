"""The store port: what every store promises.

A store keeps records: a key, labels and JSON text. It does not know what a spec means. It promises:

* a write is durable when ``write`` returns, and a batch is written whole or not at all;
* every batch gets one or more global, strictly increasing revisions, without gaps as seen by a reader;
* a write that names a version other than the stored one fails with ``Conflict`` and changes nothing;
* deleting a record deletes, in the same batch, every record it owns;
* each change of a kind that people write is kept in the change log, with who made it, until trimmed by age or count;
* subscribers hear of every committed change in revision order, none is lost and none is invented.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Protocol

from kuma.core.model.resource import NO_LABELS, Key

_EPOCH = datetime.fromtimestamp(0, UTC)


@dataclass(frozen=True, slots=True)
class Author:
    """Who made a change. ``address`` is the caller's source address, empty for the control plane itself."""

    name: str
    groups: tuple[str, ...] = ()
    address: str = ""


CONTROL_PLANE = Author("mesh-system:control-plane")


@dataclass(frozen=True, slots=True)
class Record:
    """A stored resource. ``spec`` and ``status`` are JSON text (UTF-8); times are UTC."""

    key: Key
    spec: bytes
    labels: Mapping[str, str] = NO_LABELS
    status: bytes | None = None
    owner: Key | None = None
    created: datetime = _EPOCH
    modified: datetime = _EPOCH
    version: int = 0
    revision: int = 0


@dataclass(frozen=True, slots=True)
class Put:
    """
    Create or replace one record.

    ``expected_version`` 0 means "must not exist yet", a number means "must be that version", None means "whatever is
    there". ``unlogged`` keeps the change, and later the record's deletion, out of the change log (used for insights,
    which no person writes); subscribers hear of it all the same.
    """

    key: Key
    spec: bytes
    labels: Mapping[str, str] = NO_LABELS
    status: bytes | None = None
    owner: Key | None = None
    expected_version: int | None = None
    unlogged: bool = False


@dataclass(frozen=True, slots=True)
class Delete:
    """Remove one record and all it owns. A missing record is ``NotFound`` unless ``missing_ok``."""

    key: Key
    expected_version: int | None = None
    missing_ok: bool = False


class Operation(Enum):
    """What happened to a record."""

    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"


@dataclass(frozen=True, slots=True)
class Change:
    """One committed change. ``before`` and ``after`` are the whole records, None where there is none."""

    revision: int
    time: datetime
    author: Author
    operation: Operation
    key: Key
    before: Record | None
    after: Record | None


@dataclass(frozen=True, slots=True)
class Contents:
    """Everything in the store at one revision."""

    revision: int
    records: tuple[Record, ...]


class Store(Protocol):
    """See the module's promises. Every method may raise ``StoreUnavailable``."""

    async def get(self, key: Key) -> Record:
        """One record. Raises ``NotFound``."""
        ...

    async def find(self, key: Key) -> Record | None:
        """One record or None."""
        ...

    async def list(self, kind: str, mesh: str | None = None) -> tuple[Record, ...]:
        """All records of a kind, of one mesh when given, by mesh then name."""
        ...

    async def contents(self) -> Contents:
        """All records with the revision they stand at, read consistently."""
        ...

    async def revision(self) -> int:
        """The newest committed revision; equal revisions mean equal contents."""
        ...

    async def write(self, batch: Sequence[Put | Delete], *, author: Author, now: datetime) -> tuple[Change, ...]:
        """
        Commit a batch, durable when this returns; gives its changes in revision order, each with its own revision.

        Operations see the effect of those before them. A Put that would change nothing (same spec, labels, status
        and owner) makes no change and no new version; nor does an unlogged Put whose owner is gone. Owned records
        are deleted before their owner.

        Raises:
            Conflict: an expected version is not the stored one, or the owner a logged Put names does not exist; the
                text names the resource.
            NotFound: a deleted record does not exist.
        """
        ...

    async def history(self, *, after: int = 0, limit: int = 100, key: Key | None = None) -> tuple[Change, ...]:
        """Logged changes with a greater revision, oldest first, of one key when given."""
        ...

    async def trim(self, *, now: datetime, max_age: timedelta, max_entries: int) -> int:
        """Forget change log entries that are too old or too many; returns how many went."""
        ...

    def subscribe(self) -> AbstractAsyncContextManager[AsyncIterator[tuple[Change, ...]]]:
        """
        Changes committed from now on, a batch at a time.

        A subscriber that is slow gets several batches as one; none is dropped. Where very many changes wait (10,000),
        successive updates of one record are told as one. The iteration ends when the store is closed.
        """
        ...

    async def close(self) -> None:
        """Release everything. Idempotent."""
        ...
