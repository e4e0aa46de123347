"""Records as rows of the SQLite file, and the statements that move them.

Specs of admin-only kinds are sealed on the way in and opened on the way out, here as in ``sqlite_log``; nothing above
these modules sees an envelope, nothing below them sees a secret.
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
from kuma.cp.store.port import Record
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
        return newest_revision(connection)

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
        """Write what a plan says of the records."""
        gone = [(key.kind, key.mesh, key.name) for key, stored in plan.outcome.items() if stored is None]
        kept = [self._record_row(stored) for stored in plan.outcome.values() if stored is not None]
        connection.executemany("DELETE FROM resources WHERE kind = ? AND mesh = ? AND name = ?", gone)
        insert(connection, "resources", _RECORD, kept, _REPLACE)
        connection.execute("UPDATE state SET revision = ?", (plan.revision,))

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
            *(micros(record.created), micros(record.modified), record.version, record.revision),
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
                created=moment(created),
                modified=moment(modified),
                version=version,
                revision=revision,
            )
        except (ValueError, TypeError, OverflowError) as error:
            raise DamagedRow(f"{kind} {name}: {error}") from error
        return Stored(record, bool(unlogged))


def newest_revision(connection: sqlite3.Connection) -> int:
    """The revision that the file stands at."""
    row = connection.execute("SELECT revision FROM state").fetchone()
    if row is None:
        raise DamagedRow("the revision is missing")
    return int(row[0])


def insert(
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


def micros(time: datetime) -> int:
    """A time as the file keeps it."""
    return (time - _EPOCH) // _MICROSECOND


def moment(since_epoch: int) -> datetime:
    """What ``micros`` made a number of."""
    return _EPOCH + timedelta(microseconds=since_epoch)
