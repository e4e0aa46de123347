"""What a batch does to the records, computed before anything is written.

Every store that decides in this process shares this: versions, optimistic locking, ownership and what counts as no
change at all mean the same everywhere. The caller shows the records it holds through two functions, gets a ``Plan``
and stores it as a whole; a batch that may not happen raises here, before the first byte is written.

Operations see the effect of those before them in the same batch. Each change has its own revision. Owned records are
deleted before their owner, so that whoever replays the changes never stands at a record without its owner.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import MappingProxyType

from kuma.core.errors import Conflict, NotFound
from kuma.core.model.resource import NO_LABELS, Key
from kuma.cp.store.port import Author, Change, Delete, Note, Operation, Put, Record, Write


@dataclass(frozen=True, slots=True)
class Stored:
    """A record and whether all its writes stayed out of the change log; then so does its deletion."""

    record: Record
    unlogged: bool


@dataclass(frozen=True, slots=True)
class Plan:
    """
    ``changes`` in revision order, what of them and of the notes to log, and how each touched record ends.

    A record that is gone ends as None.
    """

    revision: int
    changes: tuple[Change, ...]
    logged: tuple[Change, ...]
    outcome: Mapping[Key, Stored | None]


def plan(
    batch: Sequence[Write],
    *,
    find: Callable[[Key], Stored | None],
    owned: Callable[[Key], Iterable[Key]],
    revision: int,
    author: Author,
    now: datetime,
) -> Plan:
    """
    Compute a batch's changes on top of ``revision``.

    ``find`` gives a record as it is stored now, ``owned`` the keys of the records a key owns directly.

    Raises:
        Conflict: an expected version is not the stored one, or the owner a logged Put names does not exist.
        NotFound: a deleted record does not exist.
    """
    draft = _Draft(find, owned, revision, author, now.astimezone(UTC))
    for operation in batch:
        match operation:
            case Put():
                draft.put(operation)
            case Delete():
                draft.delete(operation)
            case Note():
                draft.add_note(operation)
    return Plan(draft.revision, tuple(draft.changes), tuple(draft.logged), draft.outcome)


def title(key: Key) -> str:
    """How messages name a record."""
    place = f' in mesh "{key.mesh}"' if key.mesh else ""
    return f'{key.kind} "{key.name}"{place}'


def storable(key: Key) -> bool:
    """Whether a key is text at all: a lone surrogate, which JSON can carry, is not, and nothing has such a name."""
    try:
        for part in (key.kind, key.mesh, key.name):
            part.encode()
    except UnicodeEncodeError:
        return False
    return True


def not_found(key: Key) -> NotFound:
    """The error for a record that is not there."""
    return NotFound(f"{title(key)} does not exist")


@dataclass(slots=True)
class _Draft:
    find: Callable[[Key], Stored | None]
    owned: Callable[[Key], Iterable[Key]]
    revision: int
    author: Author
    now: datetime
    changes: list[Change] = field(default_factory=list)
    logged: list[Change] = field(default_factory=list)
    outcome: dict[Key, Stored | None] = field(default_factory=dict)
    adopted: dict[Key, set[Key]] = field(default_factory=dict)

    def put(self, put: Put) -> None:
        key = put.key
        _require_storable(key)
        stored = self.current(key)
        before = stored.record if stored else None
        _check_version(key, before, put.expected_version)
        if before is not None and _same(before, put):
            return
        # An owner that is kept exists: with its end the record would have ended too.
        new_owner = put.owner if before is None or before.owner != put.owner else None
        if new_owner is not None and self.current(new_owner) is None:
            if put.unlogged:
                return
            raise Conflict(
                f"{title(key)} cannot be stored: its owner, {title(new_owner)}, does not exist any more; "
                "create the owner first"
            )
        after = Record(
            key=key,
            spec=put.spec,
            labels=MappingProxyType(dict(put.labels)) if put.labels else NO_LABELS,
            status=put.status,
            owner=put.owner,
            created=before.created if before else self.now,
            modified=self.now,
            version=before.version + 1 if before else 1,
            revision=self.revision + 1,
        )
        if new_owner is not None:
            self.adopted.setdefault(new_owner, set()).add(key)
        # A record that was ever logged must not vanish from the log without a word.
        self.outcome[key] = Stored(after, put.unlogged and (stored is None or stored.unlogged))
        self.note(Operation.UPDATE if before else Operation.CREATE, key, before, after, unlogged=put.unlogged)

    def delete(self, delete: Delete) -> None:
        stored = self.current(delete.key)
        if stored is None:
            if delete.missing_ok:
                return
            raise not_found(delete.key)
        _check_version(delete.key, stored.record, delete.expected_version)
        for doomed in self.with_owned(stored):
            key = doomed.record.key
            self.outcome[key] = None
            self.note(Operation.DELETE, key, doomed.record, None, unlogged=doomed.unlogged)

    def add_note(self, note: Note) -> None:
        _require_storable(note.key)
        self.revision += 1
        self.logged.append(
            Change(self.revision, self.now, self.author, Operation.ISSUE, note.key, None, None, note.text)
        )

    def with_owned(self, stored: Stored) -> list[Stored]:
        """The record and everything it owns, directly or not, owners last. A circle of owners ends the walk."""
        found = {stored.record.key: stored}
        waiting = [stored.record.key]
        while waiting:
            owner = waiting.pop()
            for key in sorted({*self.owned(owner), *self.adopted.get(owner, ())}):
                child = self.current(key)
                if key not in found and child is not None and child.record.owner == owner:
                    found[key] = child
                    waiting.append(key)
        return list(reversed(found.values()))

    def current(self, key: Key) -> Stored | None:
        return self.outcome[key] if key in self.outcome else self.find(key)

    def note(
        self, operation: Operation, key: Key, before: Record | None, after: Record | None, *, unlogged: bool
    ) -> None:
        self.revision += 1
        change = Change(self.revision, self.now, self.author, operation, key, before, after)
        self.changes.append(change)
        if not unlogged:
            self.logged.append(change)


def _require_storable(key: Key) -> None:
    if not storable(key):
        raise ValueError(f"{key!r} is not text: edges must not let such names through")


def _same(record: Record, put: Put) -> bool:
    return (
        record.spec == put.spec
        and record.status == put.status
        and record.owner == put.owner
        and record.labels == put.labels
    )


def _check_version(key: Key, record: Record | None, expected: int | None) -> None:
    if expected is None or expected == (record.version if record else 0):
        return
    if record is None:
        raise Conflict(f"{title(key)} does not exist any more: someone deleted it since it was read")
    if expected == 0:
        raise Conflict(f"{title(key)} already exists")
    raise Conflict(
        f"{title(key)} was changed by someone else: version {record.version} is stored, version {expected} was "
        "expected; read it again and repeat the change"
    )
