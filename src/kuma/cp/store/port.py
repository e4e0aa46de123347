"""The store port: what every store promises.

A store keeps records: a key, labels and JSON text. It does not know what a spec means. It promises:

* a write is durable when ``write`` returns, and a batch is written whole or not at all;
* every batch gets one or more global, strictly increasing revisions, without gaps as seen by a reader;
* a write that names a version other than the stored one fails with ``Conflict`` and changes nothing;
* deleting a record deletes, in the same batch, every record it owns;
* each change of a kind that people write is kept in the change log, with who made it, until trimmed by age or size;
  the log has no gaps: what is trimmed is older than all that is kept;
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

    @property
    def is_person(self) -> bool:
        """Not the control plane and no proxy. Whoever calls the API has a group, whatever name a token gives him."""
        return bool(self.groups)

    @property
    def is_proxy(self) -> bool:
        """A proxy that brought its Dataplane along."""
        return not self.is_person and self.name != CONTROL_PLANE.name


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
    there". ``unlogged`` keeps the change out of the change log (what no person writes: insights, health); so is the
    deletion of a record that was never written otherwise. Subscribers hear of both all the same.
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


@dataclass(frozen=True, slots=True)
class Note:
    """
    An entry of the change log that changes no record: a token was issued.

    ``key`` names what it is about; no record has it. ``text`` is JSON (UTF-8) and is not sealed: nothing secret belongs
    in it. A note takes a revision of its own, and subscribers do not hear of it.
    """

    key: Key
    text: bytes


Write = Put | Delete | Note
"""What a batch is made of."""


class Operation(Enum):
    """What happened: to a record, or (``ISSUE``) beside all records."""

    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"
    ISSUE = "issue"


@dataclass(frozen=True, slots=True)
class Change:
    """
    One committed change. ``before`` and ``after`` are the whole records, None where there is none.

    ``note`` is the text of a ``Note``, for ``Operation.ISSUE``.
    """

    revision: int
    time: datetime
    author: Author
    operation: Operation
    key: Key
    before: Record | None
    after: Record | None
    note: bytes | None = None

    @property
    def size(self) -> int:
        """Bytes of the texts that it keeps."""
        images = (record for record in (self.before, self.after) if record is not None)
        return len(self.note or b"") + sum(len(image.spec) + len(image.status or b"") for image in images)


@dataclass(frozen=True, slots=True)
class Entry:
    """A change as a list shows it: without the records."""

    revision: int
    time: datetime
    author: Author
    operation: Operation
    key: Key
    note: bytes | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """What of the log is meant; None is any. A mesh is what is in it, and the Mesh itself."""

    kind: str | None = None
    mesh: str | None = None
    name: str | None = None

    def holds(self, key: Key) -> bool:
        """Whether a key is meant."""
        return (
            self.kind in {None, key.kind}
            and self.name in {None, key.name}
            and (self.mesh in {None, key.mesh} or key == Key("Mesh", "", self.mesh or ""))
        )


ANYWHERE = Place()


@dataclass(frozen=True, slots=True)
class Sought:
    """Which entries of the log are asked for: ``user`` by name, from a time on, up to a revision."""

    place: Place = ANYWHERE
    user: str | None = None
    since: datetime | None = None
    until: int | None = None
    people_only: bool = False


@dataclass(frozen=True, slots=True)
class Entries:
    """A part of the entries that were sought, newest first, and how many there are in all."""

    total: int
    items: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class Span:
    """What became of one record between two revisions: its first and its last logged change after the earlier one."""

    first: Change
    last: Change


@dataclass(frozen=True, slots=True)
class Spans:
    """
    What changed between two revisions, a span for each record, by key.

    ``revision`` is the newest committed one. ``oldest`` is the oldest whose state the log can tell: every later logged
    change is still in it.
    """

    revision: int
    oldest: int
    items: tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class Contents:
    """Everything in the store at one revision."""

    revision: int
    records: tuple[Record, ...]


class Reader(Protocol):
    """Records as they stand. Every method may raise ``StoreUnavailable``."""

    async def get(self, key: Key) -> Record:
        """One record. Raises ``NotFound``."""
        ...

    async def find(self, key: Key) -> Record | None:
        """One record or None."""
        ...

    async def list(self, kind: str, mesh: str | None = None) -> tuple[Record, ...]:
        """All records of a kind, of one mesh when given, by mesh then name."""
        ...


class Store(Reader, Protocol):
    """See the module's promises. Every method may raise ``StoreUnavailable``."""

    async def contents(self) -> Contents:
        """All records with the revision they stand at, read consistently."""
        ...

    async def revision(self) -> int:
        """The newest committed revision; equal revisions mean equal contents."""
        ...

    async def write(self, batch: Sequence[Write], *, author: Author, now: datetime) -> tuple[Change, ...]:
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

    async def entries(self, sought: Sought, *, limit: int, offset: int = 0) -> Entries:
        """What the log tells of who did what, newest first."""
        ...

    async def spans(
        self, after: int, until: int, place: Place = ANYWHERE, *, people_only: bool = False, limit: int
    ) -> Spans:
        """
        What the log tells of the records that changed after one revision and up to another, at most ``limit``.

        ``people_only`` leaves out records that only the control plane and proxies changed.
        """
        ...

    async def trim(self, *, now: datetime, max_age: timedelta, max_entries: int, max_bytes: int | None = None) -> int:
        """
        Forget change log entries that are too old, too many or too much; returns how many went.

        The oldest go first, and none goes while an older one is young enough to stay.
        """
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
