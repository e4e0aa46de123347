"""The change log as rows of the SQLite file: what happened, who did it, and how records looked before and after.

Images of admin-only kinds are sealed as the records themselves are. Lists are answered from one index that holds all
that can be asked for, and so without touching an image.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final

from kuma.core.model.resource import NO_LABELS, Key
from kuma.cp.store.planning import storable
from kuma.cp.store.port import (
    Author,
    Change,
    Entries,
    Entry,
    Operation,
    Place,
    Record,
    Sought,
    Span,
    Spans,
)
from kuma.cp.store.sealing import Sealer, must_be_sealed
from kuma.cp.store.sqlite_file import DamagedRow
from kuma.cp.store.sqlite_rows import insert, micros, moment, newest_revision

_ENTRY: Final = "revision, time, author, operation, kind, mesh, name, note"
_CHANGE: Final = f"{_ENTRY}, before_meta, before_spec, before_status, after_meta, after_spec, after_status"
_WRITTEN: Final = f"{_CHANGE}, bytes"
_LISTED: Final = "FROM changes INDEXED BY changes_listed WHERE"
_OF_ONE: Final = "FROM changes INDEXED BY changes_by_key WHERE"
_PERSON: Final = "json_array_length(author, '$.groups') > 0"

Condition = tuple[str, list[Any]]
"""A part of a WHERE clause and its values."""


class Log:
    """The table of changes; ``sealer`` keeps its secrets. Each method runs in the caller's transaction."""

    def __init__(self, sealer: Sealer) -> None:
        self._sealer = sealer

    def append(self, connection: sqlite3.Connection, changes: Sequence[Change]) -> None:
        """Keep changes."""
        insert(connection, "changes", _WRITTEN, [self._row(change) for change in changes])

    def history(self, connection: sqlite3.Connection, after: int, limit: int, key: Key | None) -> tuple[Change, ...]:
        """Logged changes newer than a revision, oldest first."""
        where, values = ("true", []) if key is None else ("kind = ? AND mesh = ? AND name = ?", _parts(key))
        if key is not None and not storable(key):
            return ()
        statement = f"SELECT {_CHANGE} FROM changes WHERE {where} AND revision > ? ORDER BY revision LIMIT ?"  # noqa: S608 our words
        return tuple(self._change(row) for row in connection.execute(statement, (*values, after, max(limit, 0))))

    def entries(self, connection: sqlite3.Connection, sought: Sought, limit: int, offset: int) -> Entries:
        """What was sought, newest first."""
        where, values = _sought(sought)
        place = sought.place
        source = _OF_ONE if place.kind and place.name and place.mesh is not None else _LISTED
        total = connection.execute(f"SELECT count(*) {source} {where}", values).fetchone()[0]
        chosen = f"SELECT revision {source} {where} ORDER BY revision DESC LIMIT ? OFFSET ?"
        statement = f"SELECT {_ENTRY} FROM changes WHERE revision IN ({chosen}) ORDER BY revision DESC"  # noqa: S608 our words
        rows = connection.execute(statement, (*values, max(limit, 0), max(offset, 0)))
        return Entries(total, tuple(_entry(row) for row in rows))

    def spans(
        self, connection: sqlite3.Connection, after: int, until: int, place: Place, limit: int, *, people_only: bool
    ) -> Spans:
        """First and last change of each record that changed in between."""
        where, values = _at(place)
        some_person = f"HAVING max({_PERSON})" if people_only else ""
        edges = (
            f"SELECT min(revision) AS first, max(revision) AS last {_LISTED} {where}"
            f" AND revision > ? AND revision <= ? AND operation != '{Operation.ISSUE.value}'"
            f" GROUP BY kind, mesh, name {some_person} ORDER BY kind, mesh, name LIMIT ?"
        )
        statement = (
            f"WITH edges AS ({edges}) SELECT {_CHANGE} FROM changes WHERE revision IN"  # noqa: S608 our words
            " (SELECT first FROM edges UNION SELECT last FROM edges) ORDER BY kind, mesh, name, revision"
        )
        found: dict[Key, Span] = {}
        for row in connection.execute(statement, (*values, after, until, max(limit, 0))):
            change = self._change(row)
            earlier = found.get(change.key)
            found[change.key] = Span(earlier.first if earlier else change, change)
        oldest = connection.execute("SELECT trimmed FROM state").fetchone()[0]
        return Spans(newest_revision(connection), oldest, tuple(found.values()))

    def first_kept(self, connection: sqlite3.Connection, before: datetime, most: int, most_bytes: int | None) -> int:
        """From which revision on entries stay: not older than ``before``, the newest ``most``, of so many bytes."""
        newest = "SELECT coalesce(max(revision), 0) + 1 FROM changes"
        of_age = "SELECT min(revision) FROM changes INDEXED BY changes_by_time WHERE time >= ?"
        of_count = "SELECT revision FROM changes ORDER BY revision DESC LIMIT 1 OFFSET ?"
        sizes = (
            "SELECT revision, sum(bytes) OVER (ORDER BY revision DESC) AS total FROM changes INDEXED BY changes_sizes"
        )
        of_size = f"SELECT max(revision) FROM ({sizes}) WHERE total > ?"  # noqa: S608 our words
        end = int(connection.execute(newest).fetchone()[0])
        young = connection.execute(of_age, (micros(before),)).fetchone()[0]
        few = connection.execute(of_count, (max(most, 0),)).fetchone()
        small = None if most_bytes is None else connection.execute(of_size, (most_bytes,)).fetchone()[0]
        gone = (end - 1 if young is None else young - 1, few[0] if few else 0, small or 0)
        return max(gone) + 1

    def forget(self, connection: sqlite3.Connection, first_kept: int, at_most: int) -> int:
        """Drop up to ``at_most`` of the oldest entries that do not stay; how many went."""
        gone = connection.execute(
            "DELETE FROM changes WHERE revision IN"
            " (SELECT revision FROM changes WHERE revision < ? ORDER BY revision LIMIT ?) RETURNING revision",
            (first_kept, at_most),
        ).fetchall()
        if gone:
            connection.execute("UPDATE state SET trimmed = ?", (max(revision for (revision,) in gone),))
        return len(gone)

    def _row(self, change: Change) -> tuple[Any, ...]:
        author = {"name": change.author.name, "groups": change.author.groups, "address": change.author.address}
        return (
            *(change.revision, micros(change.time), json.dumps(author), change.operation.value),
            *(change.key.kind, change.key.mesh, change.key.name, change.note),
            *self._image(change.before),
            *self._image(change.after),
            change.size,
        )

    def _change(self, row: tuple[Any, ...]) -> Change:
        entry, images = _entry(row[:8]), row[8:]
        try:
            return Change(
                revision=entry.revision,
                time=entry.time,
                author=entry.author,
                operation=entry.operation,
                key=entry.key,
                before=self._imaged(entry.key, *images[:3]),
                after=self._imaged(entry.key, *images[3:]),
                note=entry.note,
            )
        except (ValueError, TypeError, KeyError, OverflowError) as error:
            raise DamagedRow(f"change {entry.revision}: {error}") from error

    def _image(self, record: Record | None) -> tuple[str | None, bytes | None, bytes | None]:
        if record is None:
            return None, None, None
        owner = record.owner
        meta = {
            "labels": dict(record.labels),
            "owner": [owner.kind, owner.mesh, owner.name] if owner else None,
            "created": micros(record.created),
            "modified": micros(record.modified),
            "version": record.version,
            "revision": record.revision,
        }
        sealed = must_be_sealed(record.key.kind)
        spec = self._sealer.seal(record.key, record.spec) if sealed else record.spec
        return json.dumps(meta), spec, record.status

    def _imaged(self, key: Key, meta: str | None, spec: bytes | None, status: bytes | None) -> Record | None:
        if meta is None or spec is None:
            return None
        said = json.loads(meta)
        return Record(
            key=key,
            spec=self._sealer.unseal(key, spec) if must_be_sealed(key.kind) else spec,
            labels=MappingProxyType(said["labels"]) if said["labels"] else NO_LABELS,
            status=status,
            owner=Key(*said["owner"]) if said["owner"] else None,
            created=moment(said["created"]),
            modified=moment(said["modified"]),
            version=said["version"],
            revision=said["revision"],
        )


def _entry(row: tuple[Any, ...]) -> Entry:
    revision, time, author, operation, kind, mesh, name, note = row
    try:
        said = json.loads(author)
        who = Author(said["name"], tuple(said["groups"]), said["address"])
        return Entry(revision, moment(time), who, Operation(operation), Key(kind, mesh, name), note)
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        raise DamagedRow(f"change {revision}: {error}") from error


def _parts(key: Key) -> list[Any]:
    return [key.kind, key.mesh, key.name]


def _at(place: Place) -> Condition:
    if not storable(Key(place.kind or "", place.mesh or "", place.name or "")):
        return "false", []
    parts, values = ["true"], []
    for column, value in (("kind", place.kind), ("name", place.name)):
        if value is not None:
            parts.append(f"{column} = ?")
            values.append(value)
    if place.mesh is not None and place.kind in {None, "Mesh"}:
        parts.append("(mesh = ? OR kind = 'Mesh' AND mesh = '' AND name = ?)")
        values += [place.mesh, place.mesh]
    elif place.mesh is not None:
        parts.append("mesh = ?")
        values.append(place.mesh)
    return " AND ".join(parts), values


def _sought(sought: Sought) -> Condition:
    where, values = _at(sought.place)
    parts: list[str] = [where]
    if sought.user is not None:
        if not storable(Key("", "", sought.user)):
            return "false", []
        parts.append("json_extract(author, '$.name') = ?")
        values.append(sought.user)
    if sought.since is not None:
        parts.append("time >= ?")
        values.append(micros(sought.since))
    if sought.until is not None:
        parts.append("revision <= ?")
        values.append(sought.until)
    if sought.people_only:
        parts.append(_PERSON)
    return " AND ".join(parts), values
