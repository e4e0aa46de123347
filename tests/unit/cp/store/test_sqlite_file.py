import errno
import sqlite3

import pytest

from kuma.core.errors import StoreUnavailable
from kuma.cp.store.sealing import CannotUnseal
from kuma.cp.store.sqlite_file import DamagedRow, Lock, connect_reader, connect_writer, failures_named, make_private


def sqlite_error(code):
    """What the driver raises for a result code of SQLite."""
    error = sqlite3.OperationalError("driver's words")
    error.sqlite_errorcode = code
    return error


@pytest.mark.parametrize(
    "error, words",
    [
        (sqlite_error(sqlite3.SQLITE_FULL), "the disk is full: free some space"),
        (sqlite_error(sqlite3.SQLITE_IOERR_WRITE), "the disk failed to read or write"),
        (sqlite_error(sqlite3.SQLITE_CORRUPT_INDEX), "damaged: stop kuma-cp and put back a saved copy"),
        (sqlite_error(sqlite3.SQLITE_NOTADB), "not an SQLite database"),
        (sqlite_error(sqlite3.SQLITE_BUSY_TIMEOUT), "another program holds it"),
        (sqlite_error(sqlite3.SQLITE_READONLY), "check the permissions"),
        (sqlite3.ProgrammingError("driver's words"), "SQLite failed (driver's words)"),
        (OSError(errno.ENOSPC, "No space left on device"), "No space left on device"),
        (CannotUnseal("it was altered"), "cannot be decrypted: it was altered"),
        (DamagedRow("Mesh m"), "damaged"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_every_failure_names_the_file_and_a_next_step(tmp_path, error, words):
    """The driver's own error stays attached for the log."""
    with pytest.raises(StoreUnavailable) as refusal, failures_named(tmp_path / "kuma.db"):
        raise error

    assert str(refusal.value).startswith(f"{tmp_path}/kuma.db: ")
    assert words in str(refusal.value)
    assert refusal.value.__cause__ is error


def test_commits_are_synced_to_the_disk(tmp_path):
    """WAL with synchronous = FULL: a power cut takes no acknowledged write."""
    connection = connect_writer(tmp_path / "kuma.db")

    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
    connection.close()


def test_a_reader_cannot_write(tmp_path):
    """Only the writer thread changes the file."""
    connect_writer(tmp_path / "kuma.db").close()
    reader = connect_reader(tmp_path / "kuma.db")

    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        reader.execute("CREATE TABLE t (x)")
    reader.close()


def test_a_lock_is_free_again_after_release(tmp_path):
    """Releasing twice is fine."""
    lock = Lock(tmp_path / "kuma.db")
    with pytest.raises(StoreUnavailable, match="in use by another control plane"):
        Lock(tmp_path / "kuma.db")
    lock.release()
    lock.release()

    Lock(tmp_path / "kuma.db").release()


def test_an_existing_file_is_kept_and_made_private(tmp_path):
    """Its content is not touched."""
    path = tmp_path / "kuma.db"
    path.write_bytes(b"content")
    path.chmod(0o666)

    make_private(path)

    assert path.read_bytes() == b"content"
    assert path.stat().st_mode & 0o777 == 0o600
