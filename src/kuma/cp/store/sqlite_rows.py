"""Records and changes as rows of the SQLite file, and the statements that move them.

Specs of admin-only kinds are sealed on the way in and opened on the way out, in both tables; nothing above this
module sees an envelope, nothing below it sees a secret.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any, Final

from kuma.core.model.resource import NO_LABELS, Key
from kuma.cp.store.planning import Plan, Stored, storable
from kuma.cp.store.port import Author, Change, Operation, Record
from kuma.cp.store.sealing import Sealer, must_be_sealed
from kuma.cp.store.sqlite_file import DamagedRow

_EPOCH: Final = datetime.fromtimestamp(0, UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_ROWS_PER_STATEMENT: Final = 100
_KEYS_PER_STATEMENT: Final = 500

_RECORD: Final = (
    "kind, mesh, name, spec, status, labels, owner_kind, owner_mesh, owner_name, created, modified, version, revision,"
    " unlogged"
)
_CHANGE: Final = (
    "revision, time, author, operation, kind, mesh, name, before_meta, before_spec, before_status, after_meta,"
    " after_spec, after_status"
)
_HISTORY: Final = f"SELECT {_CHANGE} FROM changes WHERE revision > ? {{}} ORDER BY revision LIMIT ?"  # noqa: S608 our words
_TRIM: Final = """
    DELETE FROM changes WHERE revision IN (
        SELECT revision FROM changes WHERE time < ?1
        UNION
        SELECT revision FROM changes
        WHERE revision <= (SELECT revision FROM changes ORDER BY revision DESC LIMIT 1 OFFSET ?2)
        ORDER BY revision LIMIT ?3
    )
"""
_SELECT: Final = f"SELECT {_RECORD} FROM resources"  # noqa: S608 our words
_REPLACE: Final = " ON CONFLICT (kind, mesh, name) DO UPDATE SET " + ", ".join(
    f"{column} = excluded.{column}" for column in _RECORD.split(", ")[3:]
)


class Rows:
    """The tables of one file; ``sealer`` keeps its secrets. Each method runs in the caller's transaction."""

    def __init__(self, sealer: Sealer) -> None:
        self._sealer = sealer

    def revision(self, connection: sqlite3.Connection) -> int:
        """The newest revision."""
        row = connection.execute("SELECT revision FROM state").fetchone()
        if row is None:
            raise DamagedRow("the revision is missing")
        return int(row[0])

    def find(self, connection: sqlite3.Connection, keys: Iterable[Key]) -> dict[Key, Stored]:
        """Those of the records that exist."""
        found: dict[Key, Stored] = {}
        wanted: dict[tuple[str, str], list[str]] = {}
        for key in keys:
            if storable(key):
                wanted.setdefault((key.kind, key.mesh), []).append(key.name)
        for (kind, mesh), names in wanted.items():
            for start in range(0, len(names), _KEYS_PER_STATEMENT):
                part = names[start : start + _KEYS_PER_STATEMENT]
                where = f" WHERE kind = ? AND mesh = ? AND name IN ({', '.join('?' * len(part))})"
                for stored in self._select(connection, where, (kind, mesh, *part)):
                    found[stored.record.key] = stored
        return found

    def owned(self, connection: sqlite3.Connection, owner: Key) -> list[Stored]:
        """The records a key owns directly."""
        where = " WHERE owner_kind = ? AND owner_mesh = ? AND owner_name = ?"
        return list(self._select(connection, where, (owner.kind, owner.mesh, owner.name)))

    def list(self, connection: sqlite3.Connection, kind: str, mesh: str | None) -> tuple[Record, ...]:
        """The records of a kind, by mesh then name."""
        if not storable(Key(kind, mesh or "", "")):
            return ()
        where, values = (" WHERE kind = ?", [kind]) if mesh is None else (" WHERE kind = ? AND mesh = ?", [kind, mesh])
        return tuple(s.record for s in self._select(connection, f"{where} ORDER BY mesh, name", values))

    def all(self, connection: sqlite3.Connection) -> tuple[Record, ...]:
        """Every record, by key."""
        return tuple(s.record for s in self._select(connection, " ORDER BY kind, mesh, name", ()))

    def apply(self, connection: sqlite3.Connection, plan: Plan) -> None:
        """Write what a plan says."""
        gone = [(key.kind, key.mesh, key.name) for key, stored in plan.outcome.items() if stored is None]
        kept = [self._record_row(stored) for stored in plan.outcome.values() if stored is not None]
        connection.executemany("DELETE FROM resources WHERE kind = ? AND mesh = ? AND name = ?", gone)
        _insert(connection, "resources", _RECORD, kept, _REPLACE)
        _insert(connection, "changes", _CHANGE, [self._change_row(change) for change in plan.logged])
        connection.execute("UPDATE state SET revision = ?", (plan.revision,))

    def history(self, connection: sqlite3.Connection, after: int, limit: int, key: Key | None) -> tuple[Change, ...]:
        """Logged changes newer than a revision, oldest first."""
        if key is None:
            rows = connection.execute(_HISTORY.format(""), (after, max(limit, 0)))
        elif storable(key):
            of_key = "AND kind = ? AND mesh = ? AND name = ?"
            rows = connection.execute(_HISTORY.format(of_key), (after, key.kind, key.mesh, key.name, max(limit, 0)))
        else:
            return ()
        return tuple(self._change(row) for row in rows)

    def trim(self, connection: sqlite3.Connection, before: datetime, keep: int, at_most: int) -> int:
        """Forget up to ``at_most`` log entries that are older than ``before`` or not among the newest ``keep``."""
        return connection.execute(_TRIM, (_micros(before), max(keep, 0), at_most)).rowcount

    def _select(self, connection: sqlite3.Connection, where: str, values: Sequence[Any]) -> Iterator[Stored]:
        return (self._stored(row) for row in connection.execute(_SELECT + where, values))

    def _seal(self, record: Record) -> bytes:
        return self._sealer.seal(record.key, record.spec) if must_be_sealed(record.key.kind) else record.spec

    def _unseal(self, key: Key, spec: bytes) -> bytes:
        return self._sealer.unseal(key, spec) if must_be_sealed(key.kind) else spec

    def _record_row(self, stored: Stored) -> tuple[Any, ...]:
        record = stored.record
        owner = record.owner
        return (
            *(record.key.kind, record.key.mesh, record.key.name),
            *(self._seal(record), record.status, _labels_text(record)),
            *((owner.kind, owner.mesh, owner.name) if owner else (None, None, None)),
            *(_micros(record.created), _micros(record.modified), record.version, record.revision),
            int(stored.unlogged),
        )

    def _stored(self, row: tuple[Any, ...]) -> Stored:
        kind, mesh, name, spec, status, labels, *owner, created, modified, version, revision, unlogged = row
        key = Key(kind, mesh, name)
        try:
            record = Record(
                key=key,
                spec=self._unseal(key, spec),
                labels=MappingProxyType(json.loads(labels)) if labels != "{}" else NO_LABELS,
                status=status,
                owner=Key(*owner) if owner[0] is not None else None,
                created=_time(created),
                modified=_time(modified),
                version=version,
                revision=revision,
            )
        except (ValueError, TypeError, OverflowError) as error:
            raise DamagedRow(f"{kind} {name}: {error}") from error
        return Stored(record, bool(unlogged))

    def _change_row(self, change: Change) -> tuple[Any, ...]:
        author = {"name": change.author.name, "groups": change.author.groups, "address": change.author.address}
        return (
            *(change.revision, _micros(change.time), json.dumps(author), change.operation.value),
            *(change.key.kind, change.key.mesh, change.key.name),
            *self._image(change.before),
            *self._image(change.after),
        )

    def _change(self, row: tuple[Any, ...]) -> Change:
        revision, time, author, operation, kind, mesh, name, *images = row
        key = Key(kind, mesh, name)
        try:
            said = json.loads(author)
            return Change(
                revision=revision,
                time=_time(time),
                author=Author(said["name"], tuple(said["groups"]), said["address"]),
                operation=Operation(operation),
                key=key,
                before=self._imaged(key, *images[:3]),
                after=self._imaged(key, *images[3:]),
            )
        except (ValueError, TypeError, KeyError, OverflowError) as error:
            raise DamagedRow(f"change {revision}: {error}") from error

    def _image(self, record: Record | None) -> tuple[str | None, bytes | None, bytes | None]:
        if record is None:
            return None, None, None
        owner = record.owner
        meta = {
            "labels": dict(record.labels),
            "owner": [owner.kind, owner.mesh, owner.name] if owner else None,
            "created": _micros(record.created),
            "modified": _micros(record.modified),
            "version": record.version,
            "revision": record.revision,
        }
        return json.dumps(meta), self._seal(record), record.status

    def _imaged(self, key: Key, meta: str | None, spec: bytes | None, status: bytes | None) -> Record | None:
        if meta is None or spec is None:
            return None
        said = json.loads(meta)
        return Record(
            key=key,
            spec=self._unseal(key, spec),
            labels=MappingProxyType(said["labels"]) if said["labels"] else NO_LABELS,
            status=status,
            owner=Key(*said["owner"]) if said["owner"] else None,
            created=_time(said["created"]),
            modified=_time(said["modified"]),
            version=said["version"],
            revision=said["revision"],
        )


def _insert(
    connection: sqlite3.Connection, table: str, columns: str, rows: Sequence[tuple[Any, ...]], end: str = ""
) -> None:
    """Insert rows, many per statement: about a third faster than one at a time."""
    one = f"({', '.join('?' * len(columns.split(', ')))})"
    start = f"INSERT INTO {table} ({columns}) VALUES "  # noqa: S608 the table and its columns are our own words
    whole = len(rows) - len(rows) % _ROWS_PER_STATEMENT
    for first in range(0, whole, _ROWS_PER_STATEMENT):
        values = [value for row in rows[first : first + _ROWS_PER_STATEMENT] for value in row]
        connection.execute(start + ", ".join([one] * _ROWS_PER_STATEMENT) + end, values)
    connection.executemany(start + one + end, rows[whole:])


def _labels_text(record: Record) -> str:
    return json.dumps(dict(record.labels)) if record.labels else "{}"


def _micros(time: datetime) -> int:
    return (time - _EPOCH) // _MICROSECOND


def _time(micros: int) -> datetime:
    return _EPOCH + timedelta(microseconds=micros)
