import sqlite3
from datetime import UTC, datetime

import pytest

from kuma.core.model.resource import Key
from kuma.cp.store.planning import Stored, plan
from kuma.cp.store.port import CONTROL_PLANE, Put, Record
from kuma.cp.store.sealing import Sealer
from kuma.cp.store.sqlite_log import Log
from kuma.cp.store.sqlite_rows import Rows
from kuma.cp.store.sqlite_schema import migrate

NOW = datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)


@pytest.fixture
def database():
    """The schema in memory."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    migrate(connection, "memory")
    yield connection
    connection.close()


@pytest.mark.parametrize("many", [1, 99, 100, 101, 1250])
def test_any_number_of_records_goes_in_and_comes_out(database, many):
    """However they divide into statements; times to the microsecond, before 1970 too."""
    rows = Rows(Sealer(b"k" * 32))
    keys = [Key("Secret" if n % 7 == 0 else "MeshRetry", f"m-{n % 3}", f"n-{n}") for n in range(many)]
    batch = [Put(key, key.name.encode(), unlogged=n % 2 == 0) for n, key in enumerate(keys)]
    planned = plan(batch, find=lambda _: None, owned=lambda _: [], revision=0, author=CONTROL_PLANE, now=NOW)

    log = Log(Sealer(b"k" * 32))
    rows.apply(database, planned)
    log.append(database, planned.logged)

    assert rows.find(database, [*keys, Key("MeshRetry", "m-0", "absent")]) == planned.outcome
    assert log.history(database, 0, many, None) == planned.logged
    assert rows.revision(database) == many
    assert planned.outcome[keys[0]] == Stored(
        Record(keys[0], b"n-0", created=NOW, modified=NOW, version=1, revision=1), True
    )
