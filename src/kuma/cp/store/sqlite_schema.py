"""The shape of the SQLite file, as numbered migrations.

A migration that was released is never edited; a new one is appended. Each runs in its own transaction, so a start
that was interrupted continues where it stopped. A file with more migrations than this program knows is left alone.
"""

from __future__ import annotations

import sqlite3
from typing import Final

from kuma.core.errors import StoreUnavailable

APPLICATION_ID: Final = 0x6B756D61
"""In the header of each file of ours ("kuma"), for ``file`` and for the curious."""

_FIRST: Final = (
    # One row. The revision outlives the change log, which is trimmed and does not hold everything.
    "CREATE TABLE state (id INTEGER PRIMARY KEY CHECK (id = 1), revision INTEGER NOT NULL, key_check BLOB) STRICT",
    "INSERT INTO state (id, revision) VALUES (1, 0)",
    # Times are microseconds since 1970 in UTC; labels are a JSON object; a sealed spec is an envelope of sealing.py.
    """
    CREATE TABLE resources (
        id INTEGER PRIMARY KEY,
        kind TEXT NOT NULL, mesh TEXT NOT NULL, name TEXT NOT NULL,
        spec BLOB NOT NULL, status BLOB, labels TEXT NOT NULL,
        owner_kind TEXT, owner_mesh TEXT, owner_name TEXT,
        created INTEGER NOT NULL, modified INTEGER NOT NULL,
        version INTEGER NOT NULL, revision INTEGER NOT NULL,
        unlogged INTEGER NOT NULL,
        UNIQUE (kind, mesh, name)
    ) STRICT
    """,
    "CREATE INDEX resources_by_owner ON resources (owner_kind, owner_mesh, owner_name) WHERE owner_kind IS NOT NULL",
    # The meta columns hold the rest of the record as a JSON object; all three are null where there is no record.
    """
    CREATE TABLE changes (
        revision INTEGER PRIMARY KEY,
        time INTEGER NOT NULL, author TEXT NOT NULL, operation TEXT NOT NULL,
        kind TEXT NOT NULL, mesh TEXT NOT NULL, name TEXT NOT NULL,
        before_meta TEXT, before_spec BLOB, before_status BLOB,
        after_meta TEXT, after_spec BLOB, after_status BLOB
    ) STRICT
    """,
    "CREATE INDEX changes_by_key ON changes (kind, mesh, name, revision)",
    "CREATE INDEX changes_by_time ON changes (time)",
)

_HISTORY: Final = (
    # Text of entries that change no record, such as the issue of a token; null for all others.
    "ALTER TABLE changes ADD COLUMN note BLOB",
    # The newest revision that was trimmed from the log. What an older file trimmed lies before its first entry.
    "ALTER TABLE state ADD COLUMN trimmed INTEGER NOT NULL DEFAULT 0",
    "UPDATE state SET trimmed = coalesce((SELECT min(revision) - 1 FROM changes), revision)",
    # All that lists are filtered by: they need not read the images, which are most of the table.
    "CREATE INDEX changes_listed ON changes (revision, time, operation, kind, mesh, name, author)",
)

_SIZES: Final = (
    # Of the texts of an entry together, so that the log can be kept small without reading it.
    "ALTER TABLE changes ADD COLUMN bytes INTEGER NOT NULL DEFAULT 0",
    """
    UPDATE changes SET bytes = coalesce(length(note), 0)
        + coalesce(length(before_spec), 0) + coalesce(length(before_status), 0)
        + coalesce(length(after_spec), 0) + coalesce(length(after_status), 0)
    """,
    "CREATE INDEX changes_sizes ON changes (revision, bytes)",
)

MIGRATIONS: Final = (_FIRST, _HISTORY, _SIZES)


def migrate(connection: sqlite3.Connection, path: str, migrations: tuple[tuple[str, ...], ...] = MIGRATIONS) -> None:
    """
    Bring a file to the newest schema.

    Raises:
        StoreUnavailable: the file belongs to a newer version of this program or to another program.
    """
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if tables and "schema_version" not in tables:
        raise StoreUnavailable(
            f"{path} is the database of another program: set store.sqlite.path (KUMA_STORE_SQLITE_PATH) to a file "
            "of its own"
        )
    version = connection.execute("SELECT coalesce(max(version), 0) FROM schema_version").fetchone()[0] if tables else 0
    if version > len(migrations):
        raise StoreUnavailable(
            f"{path} was written by a newer kuma-cp: it has schema {version}, this one knows schemas up to "
            f"{len(migrations)}; start the newer kuma-cp, or put back the file saved before the upgrade"
        )
    for number, statements in enumerate(migrations[version:], start=version + 1):
        connection.execute("BEGIN IMMEDIATE")
        if number == 1:
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute("CREATE TABLE schema_version (version INTEGER PRIMARY KEY) STRICT")
        for statement in statements:
            connection.execute(statement)
        connection.execute("INSERT INTO schema_version (version) VALUES (?)", (number,))
        connection.execute("COMMIT")
