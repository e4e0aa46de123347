import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from kuma.core.errors import StoreUnavailable
from kuma.core.model.resource import Key
from kuma.cp.store.port import CONTROL_PLANE, Note, Operation, Put, Sought
from kuma.cp.store.sealing import Sealer
from kuma.cp.store.sqlite import SqliteStore
from kuma.cp.store.sqlite_schema import APPLICATION_ID

NOW = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)
SEALER = Sealer(b"k" * 32)
FIRST = Path(__file__).with_name("first_schema.sql")
"""What a control plane of the first schema wrote: mesh, secret, timeout made (1, 2, 3); the last two changed (4, 5)."""


@pytest.fixture
def old_file(tmp_path):
    """A file of the first schema, and a way to change it before it is opened."""
    path = tmp_path / "kuma.db"

    def make(*statements):
        connection = sqlite3.connect(path, isolation_level=None)
        connection.executescript(FIRST.read_text())
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        for statement in statements:
            connection.execute(statement)
        connection.close()
        return path

    return make


async def test_a_file_of_the_first_schema_opens_with_its_whole_history(old_file):
    """Nothing is lost, secrets still open, and the log tells of every state since the beginning."""
    store = await SqliteStore.open(old_file(), SEALER)

    listed = await store.entries(Sought(), limit=10)
    spans = await store.spans(0, 99, limit=10)
    await store.write(
        [Note(Key("UserToken", "", "x"), b"{}"), Put(Key("Mesh", "", "m"), b"{}")], author=CONTROL_PLANE, now=NOW
    )
    after = await store.history(after=3)
    await store.close()

    assert [(e.revision, e.operation.value, e.author.name) for e in listed.items] == [
        (5, "update", "alice"),
        (4, "update", "alice"),
        (3, "create", "alice"),
        (2, "create", "alice"),
        (1, "create", "mesh-system:control-plane"),
    ]
    assert (spans.oldest, spans.revision, [span.first.revision for span in spans.items]) == (0, 5, [1, 3, 2])
    assert (after[0].before.spec, after[0].after.spec) == (b'{"data":"b2xk"}', b'{"data":"bmV3"}')
    assert [(c.revision, c.operation) for c in after[2:]] == [(6, Operation.ISSUE), (7, Operation.CREATE)]


@pytest.mark.parametrize(
    "trimming, oldest", [("DELETE FROM changes WHERE revision < 3", 2), ("DELETE FROM changes", 5)]
)
async def test_what_an_older_version_trimmed_is_known_to_be_gone(old_file, trimming, oldest):
    """States that its log cannot tell any more are not made up."""
    store = await SqliteStore.open(old_file(trimming), SEALER)

    spans = await store.spans(0, 99, limit=10)
    await store.close()

    assert spans.oldest == oldest


async def test_the_log_of_an_older_file_is_measured(old_file):
    """So that it is kept as small as a new one."""
    store = await SqliteStore.open(old_file(), SEALER)

    kept = [len(await store.history())]
    for most in (1000, 100, 15, 0):
        await store.trim(now=NOW, max_age=timedelta(1), max_entries=99, max_bytes=most)
        kept.append(len(await store.history()))
    await store.close()

    assert kept == [5, 5, 1, 1, 0]


async def test_a_damaged_entry_is_named(old_file):
    """The list fails with the revision to look at, not with nonsense."""
    store = await SqliteStore.open(
        old_file("UPDATE changes SET author = '{\"groups\": []}' WHERE revision = 3"), SEALER
    )

    with pytest.raises(StoreUnavailable, match="change 3"):
        await store.entries(Sought(), limit=10)
    await store.close()


async def test_lists_and_trimming_read_no_images(old_file):
    """Both are answered from indexes: a long log of large resources costs neither of them."""
    path = old_file()
    store = await SqliteStore.open(path, SEALER)
    await store.close()
    connection = sqlite3.connect(path)
    plans = [
        connection.execute(f"EXPLAIN QUERY PLAN {statement}").fetchall()
        for statement in (
            "SELECT count(*) FROM changes INDEXED BY changes_listed WHERE json_extract(author, '$.name') = 'x'",
            "SELECT revision FROM changes INDEXED BY changes_listed WHERE mesh = 'x' ORDER BY revision DESC LIMIT 9",
            "SELECT min(revision) FROM changes INDEXED BY changes_by_time WHERE time >= 5",
            "SELECT revision, bytes FROM changes INDEXED BY changes_sizes ORDER BY revision DESC",
        )
    ]
    connection.close()

    assert all(len(steps) == 1 and "COVERING INDEX" in steps[0][3] for steps in plans), plans


async def test_the_end_of_the_log_outlives_it(tmp_path):
    """After everything was trimmed, a new start still knows what it cannot tell."""
    path = tmp_path / "kuma.db"
    store = await SqliteStore.open(path, SEALER)
    await store.write([Put(Key("Mesh", "", "m"), b"{}")], author=CONTROL_PLANE, now=NOW)
    await store.trim(now=NOW, max_age=timedelta(1), max_entries=0)
    await store.close()

    store = await SqliteStore.open(path, SEALER)
    spans = await store.spans(0, 99, limit=10)
    await store.close()

    assert (spans.oldest, spans.revision, spans.items) == (1, 1, ())
