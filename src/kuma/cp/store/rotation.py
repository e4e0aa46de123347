"""Another key for the secrets at rest, while no control plane runs.

All values are sealed anew in one transaction: until it is on disk the former key opens the database, from then on the
new one does, and there is no moment in which neither does, nor one in which both are needed.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from kuma.core.errors import ConfigInvalid, StoreUnavailable
from kuma.core.model.kinds import KINDS
from kuma.core.model.resource import Key
from kuma.cp.private_file import keep_private
from kuma.cp.store.key_file import KeyFile
from kuma.cp.store.sealing import CHECK, CannotUnseal, Sealer, key_from_text, load_or_create_key, must_be_sealed
from kuma.cp.store.sqlite import checked_sealer
from kuma.cp.store.sqlite_file import Lock, connect_writer, failures_named, make_private
from kuma.cp.store.sqlite_schema import migrate

_SEALED: Final = tuple(kind.name for kind in KINDS if must_be_sealed(kind.name))
_OF_THEM: Final = f"kind IN ({', '.join('?' * len(_SEALED))})"


@dataclass(frozen=True, slots=True)
class Rotated:
    """What was done: how many values were sealed anew, with which key instead of which, and where the keys are."""

    values: int
    former_id: str
    key_id: str
    key_file: Path
    former_file: Path | None


def rotate_key(database: Path, *, key_text: str, key_file: Path, new_key_file: Path | None) -> Rotated:
    """
    Seal all secrets of a database with another key.

    With ``new_key_file`` the key in there, made if there is no such file, and nothing else is touched; else a new key
    takes the place of the one in ``key_file``.

    Raises:
        ConfigInvalid: a key cannot be read or made, or there is nothing to put the new one in.
        StoreUnavailable: there is no such database, a control plane has it, or no key opens it.
    """
    if not database.is_file():
        raise StoreUnavailable(f"there is no database at {database}: nothing was changed")
    if new_key_file is not None:
        known = (Sealer(key_from_text(key_text)),) if key_text else _known(database, KeyFile(key_file))
        return _to_another_file(database, known, new_key_file)
    if key_text:
        raise ConfigInvalid(
            "the key comes from store.encryption.key (KUMA_STORE_ENCRYPTION_KEY), where no new one can be put: name a "
            "file for it with --new-key-file, and start kuma-cp with what is in there"
        )
    return _in_place(database, KeyFile(key_file))


def _to_another_file(database: Path, known: tuple[Sealer, ...], new_key_file: Path) -> Rotated:
    with _opened(database) as connection:
        fresh = Sealer(load_or_create_key(new_key_file))
        keep_private(new_key_file)
        former = checked_sealer(connection, database, (*known, fresh))
        return Rotated(_seal_anew(connection, former, fresh), former.key_id, fresh.key_id, new_key_file, None)


def _in_place(database: Path, keys: KeyFile) -> Rotated:
    known = _known(database, keys)
    with _opened(database) as connection:
        former = checked_sealer(connection, database, known)
        keys.settle(former)
        fresh = keys.begin()
        values = _seal_anew(connection, former, fresh)
        keys.settle(fresh)
        return Rotated(values, former.key_id, fresh.key_id, keys.path, keys.former(former))


def _known(database: Path, keys: KeyFile) -> tuple[Sealer, ...]:
    if found := keys.sealers():
        return found
    raise keys.missing(database)


@contextmanager
def _opened(database: Path) -> Iterator[sqlite3.Connection]:
    """The database, for us alone, in its newest schema."""
    with failures_named(database), ExitStack() as undo:
        lock = Lock(database.resolve(), instead="keys are changed while it does not run")
        undo.callback(lock.release)
        make_private(database)
        connection = connect_writer(database)
        undo.callback(connection.close)
        migrate(connection, str(database))
        connection.execute("PRAGMA secure_delete = ON")  # what was sealed with the former key does not stay in the file
        yield connection
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _seal_anew(connection: sqlite3.Connection, former: Sealer, fresh: Sealer) -> int:
    """Everything or nothing; how many values there were."""
    if former.key_id == fresh.key_id:
        return 0
    connection.execute("BEGIN IMMEDIATE")
    try:
        count = _records(connection, former, fresh) + _changes(connection, former, fresh)
        connection.execute("UPDATE state SET key_check = ?", (fresh.seal(CHECK, b"kuma"),))
        connection.execute("COMMIT")
    except BaseException:
        connection.rollback()
        raise
    return count


def _records(connection: sqlite3.Connection, former: Sealer, fresh: Sealer) -> int:
    rows = connection.execute(f"SELECT id, kind, mesh, name, spec FROM resources WHERE {_OF_THEM}", _SEALED)  # noqa: S608 our words
    count = 0
    for number, kind, mesh, name, spec in rows.fetchall():
        sealed = _again(Key(kind, mesh, name), spec, former, fresh)
        connection.execute("UPDATE resources SET spec = ? WHERE id = ?", (sealed, number))
        count += 1
    return count


def _changes(connection: sqlite3.Connection, former: Sealer, fresh: Sealer) -> int:
    select = "SELECT revision, kind, mesh, name, before_spec, after_spec FROM changes WHERE revision > ? AND "
    count = last = 0
    while rows := connection.execute(f"{select}{_OF_THEM} ORDER BY revision LIMIT 500", (last, *_SEALED)).fetchall():
        for last, kind, mesh, name, *images in rows:
            key = Key(kind, mesh, name)
            sealed = [image if image is None else _again(key, image, former, fresh) for image in images]
            connection.execute("UPDATE changes SET before_spec = ?, after_spec = ? WHERE revision = ?", (*sealed, last))
            count += sum(image is not None for image in images)
    return count


def _again(key: Key, envelope: bytes, former: Sealer, fresh: Sealer) -> bytes:
    try:
        return fresh.seal(key, former.unseal(key, envelope))
    except CannotUnseal as error:
        raise CannotUnseal(f"{key.kind} {key.name}: {error}") from error
