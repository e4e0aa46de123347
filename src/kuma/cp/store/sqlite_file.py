"""Opening the SQLite file: who may, how, and what to say when it does not work.

Promises: one process at a time has the file; nobody but its owner reads it; a commit is on the disk when it returns;
every failure of SQLite becomes one ``StoreUnavailable`` with the file's name and the next step.
"""

from __future__ import annotations

import errno
import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from kuma.core.errors import StoreUnavailable
from kuma.cp.store.sealing import CannotUnseal

BUSY_SECONDS: Final = 5.0
"""How long to wait for a foreign reader or writer, such as a person with the sqlite3 shell."""

_ANOTHER_FILE: Final = "or give this one its own file with store.sqlite.path (KUMA_STORE_SQLITE_PATH)"
_NEXT_STEP: Final = {
    sqlite3.SQLITE_FULL: "the disk is full: free some space and try again; nothing was stored",
    sqlite3.SQLITE_CORRUPT: "the file is damaged: stop kuma-cp and put back a saved copy, or move the file away to "
    "start empty",
    sqlite3.SQLITE_NOTADB: "it is not an SQLite database, or it is damaged: put back a saved copy, or move the file "
    "away to start empty",
    sqlite3.SQLITE_IOERR: "the disk failed to read or write: check the disk, its free space and its quota",
    sqlite3.SQLITE_READONLY: "it cannot be written: check the permissions of the file, of its folder and of the mount",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened: check the permissions of the file and its folder",
    sqlite3.SQLITE_PERM: "it cannot be opened: check the permissions of the file and its folder",
    sqlite3.SQLITE_BUSY: "another program holds it: close whatever has the file open and try again",
    sqlite3.SQLITE_LOCKED: "another program holds it: close whatever has the file open and try again",
}


@contextmanager
def failures_named(path: Path) -> Iterator[None]:
    """Turn what SQLite, the file system and damaged contents raise into ``StoreUnavailable``."""
    try:
        yield
    except sqlite3.Error as error:
        # The low byte is the primary code; errors of the Python module itself have none.
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        raise StoreUnavailable(f"{path}: {_NEXT_STEP.get(code, 'SQLite failed')} ({error})") from error
    except CannotUnseal as error:
        raise StoreUnavailable(
            f"{path}: a secret in it cannot be decrypted: {error}; put back a saved copy of the file with its key"
        ) from error
    except DamagedRow as error:
        raise StoreUnavailable(f"{path}: {_NEXT_STEP[sqlite3.SQLITE_CORRUPT]} ({error})") from error
    except OSError as error:
        raise StoreUnavailable(
            f"{path}: {error.strerror}: check the permissions and the free space of the file and its folder"
        ) from error


class DamagedRow(Exception):
    """A row does not read as what was written; the text names the record."""


class Lock:
    """
    The right to use the file, held until released; the system releases it when the process dies.

    It is a lock on a file beside the database: SQLite's own locks on the database would be lost by opening and
    closing it here.
    """

    def __init__(self, path: Path, *, instead: str = _ANOTHER_FILE) -> None:
        """``instead`` ends the refusal when another control plane has the file."""
        self._file = os.open(path.with_name(f"{path.name}.lock"), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(self._file, 0)
            os.pwrite(self._file, f"{os.getpid()}\n".encode(), 0)
        except BlockingIOError as error:
            holder = os.pread(self._file, 20, 0).decode(errors="replace").strip()
            os.close(self._file)
            raise StoreUnavailable(
                f"{path} is in use by another control plane{f' (process {holder})' if holder.isdigit() else ''}: "
                f"stop that one, {instead}"
            ) from error
        except OSError as error:
            os.close(self._file)
            if error.errno in {errno.ENOLCK, errno.ENOTSUP}:
                raise StoreUnavailable(
                    f"{path} is on a file system without locks: put it on a local disk with store.sqlite.path "
                    "(KUMA_STORE_SQLITE_PATH)"
                ) from error
            raise

    def release(self) -> None:
        """Give the file free. Idempotent."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def make_private(path: Path) -> None:
    """
    Create the file when there is none, on disk when this returns, and take it from everyone but its owner.

    SQLite gives its side files the mode of the database.
    """
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    if path.stat().st_mode & 0o077:
        path.chmod(0o600)


def connect_writer(path: Path) -> sqlite3.Connection:
    """The connection that writes: each commit is synced to the disk before it returns."""
    connection = _connect(path)
    try:
        mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
        if mode != "wal":
            raise StoreUnavailable(
                f"{path}: its file system does not support SQLite's WAL mode: put the file on a local disk with "
                "store.sqlite.path (KUMA_STORE_SQLITE_PATH)"
            )
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(f"PRAGMA journal_size_limit = {64 << 20}")
    except BaseException:
        connection.close()
        raise
    return connection


def connect_reader(path: Path) -> sqlite3.Connection:
    """A connection that cannot write."""
    connection = _connect(path)
    connection.execute("PRAGMA query_only = ON")
    return connection


def _connect(path: Path) -> sqlite3.Connection:
    # Connections move between threads, one thread at a time; transactions are begun and ended by us alone.
    return sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
