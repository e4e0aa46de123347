import sqlite3

import pytest

from kuma.core.errors import StoreUnavailable
from kuma.cp.store.sqlite_schema import migrate

ONE = ("CREATE TABLE a (x INTEGER)", "INSERT INTO a VALUES (1)")
TWO = ("ALTER TABLE a ADD COLUMN y INTEGER",)


@pytest.fixture
def database(tmp_path):
    """An empty file."""
    connection = sqlite3.connect(tmp_path / "kuma.db", isolation_level=None)
    yield connection
    connection.close()


def test_migrations_run_once_and_in_order(database):
    """A file of an older version is brought up to date; a current one is left alone."""
    migrate(database, "f", (ONE,))
    migrate(database, "f", (ONE, TWO))
    migrate(database, "f", (ONE, TWO))

    assert database.execute("SELECT x, y FROM a").fetchall() == [(1, None)]
    assert database.execute("SELECT version FROM schema_version ORDER BY version").fetchall() == [(1,), (2,)]


def test_a_migration_that_fails_leaves_the_version_before_it(database):
    """The part that ran is undone, so that the next start can try again."""
    migrate(database, "f", (ONE,))

    with pytest.raises(sqlite3.OperationalError):
        migrate(database, "f", (ONE, ("UPDATE a SET x = 2", "NONSENSE")))
    database.rollback()

    assert database.execute("SELECT x FROM a").fetchall() == [(1,)]
    migrate(database, "f", (ONE, TWO))


def test_a_newer_file_is_refused(database):
    """An older program must not touch it."""
    migrate(database, "some.db", (ONE, TWO))

    with pytest.raises(StoreUnavailable, match=r"some\.db was written by a newer kuma-cp: it has schema 2"):
        migrate(database, "some.db", (ONE,))
