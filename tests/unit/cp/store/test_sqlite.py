import asyncio
import resource
import sqlite3
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime

import pytest

from kuma.core.errors import Conflict, StoreUnavailable
from kuma.core.model.resource import Key
from kuma.cp.store.port import CONTROL_PLANE, Put
from kuma.cp.store.sealing import Sealer
from kuma.cp.store.sqlite import SqliteStore
from kuma.cp.store.sqlite_schema import MIGRATIONS

NOW = datetime(2026, 1, 1, tzinfo=UTC)
MESH = Key("Mesh", "", "default")
SECRET = Key("Secret", "default", "ca.key")
SEALER = Sealer(b"k" * 32)


@asynccontextmanager
async def opened(path, sealer=SEALER):
    """A store for as long as the block lasts."""
    store = await SqliteStore.open(path, sealer)
    try:
        yield store
    finally:
        await store.close()


async def write(store, *batch):
    """A batch by the control plane."""
    return await store.write(batch, author=CONTROL_PLANE, now=NOW)


@pytest.fixture
def path(tmp_path):
    """A database in a folder that does not exist yet."""
    return tmp_path / "work" / "kuma.db"


async def test_files_are_for_their_owner_only(path):
    """The database, its side files and the folder made for them; a shared folder keeps its mode."""
    async with opened(path) as store:
        await write(store, Put(MESH, b"{}"))

        assert {file.name for file in path.parent.iterdir()} == {
            *("kuma.db", "kuma.db-wal", "kuma.db-shm", "kuma.db.lock")
        }
        assert {file.stat().st_mode & 0o777 for file in path.parent.iterdir()} == {0o600}
        assert path.parent.stat().st_mode & 0o777 == 0o700
    path.parent.chmod(0o755)
    path.chmod(0o644)
    async with opened(path):
        assert path.stat().st_mode & 0o777 == 0o600
        assert path.parent.stat().st_mode & 0o777 == 0o755


async def test_a_second_control_plane_cannot_open_the_same_file(path):
    """Also by another name of it; when the first one stops, it can."""
    async with opened(path):
        link = path.with_name("link.db")
        link.symlink_to(path)
        for name in path, link:
            with pytest.raises(StoreUnavailable, match=r"in use by another control plane \(process \d+\): stop that"):
                await SqliteStore.open(name, SEALER)
    async with opened(path):
        pass


async def test_secrets_are_nowhere_on_the_disk_in_clear(path):
    """Neither now nor in the log, before or after, nor in the write-ahead log; other kinds are left readable."""
    async with opened(path) as store:
        await write(store, Put(MESH, b"visible-mesh"), Put(SECRET, b"hidden-one"))
        await write(store, Put(SECRET, b"hidden-two"), Put(Key("GlobalSecret", "", "token"), b"hidden-three"))

        on_disk = b"".join(file.read_bytes() for file in path.parent.iterdir())

    assert b"visible-mesh" in on_disk
    assert b"hidden" not in on_disk
    assert b"hidden" not in b"".join(file.read_bytes() for file in path.parent.iterdir())


async def test_a_secret_moved_to_another_name_does_not_open(path):
    """Whoever edits the file cannot have the control plane read one secret as another."""
    async with opened(path) as store:
        await write(store, Put(SECRET, b"hidden"))
    with _edited(path) as database:
        database.execute("UPDATE resources SET name = 'mine' WHERE kind = 'Secret'")

    async with opened(path) as store:
        with pytest.raises(StoreUnavailable, match="altered, or sealed for another record"):
            await store.contents()


async def test_a_wrong_key_is_told_at_the_start(path):
    """Even when no secret is stored yet; the file stays usable with the right key."""
    async with opened(path):
        pass
    other = Sealer(b"o" * 32)

    with pytest.raises(
        StoreUnavailable, match=rf"kuma\.db was made with: .*key {SEALER.key_id}.*{other.key_id}.*KEY_FILE"
    ):
        await SqliteStore.open(path, other)
    async with opened(path):
        pass


async def test_a_file_of_a_newer_version_is_left_alone(path):
    """The refusal says which versions meet and what to do."""
    async with opened(path):
        pass
    with _edited(path) as database:
        database.execute("INSERT INTO schema_version VALUES (99)")
    before = path.read_bytes()

    with pytest.raises(StoreUnavailable, match=f"it has schema 99, this one knows schemas up to {len(MIGRATIONS)}"):
        await SqliteStore.open(path, SEALER)
    assert path.read_bytes() == before


async def test_the_database_of_another_program_is_left_alone(path):
    """A mistyped path must not add tables to it."""
    path.parent.mkdir()
    with _edited(path) as database:
        database.execute("CREATE TABLE customers (id INTEGER)")

    with pytest.raises(StoreUnavailable, match="database of another program"):
        await SqliteStore.open(path, SEALER)


async def test_a_file_that_is_no_database_is_refused_with_a_next_step(path):
    """It is not overwritten."""
    path.parent.mkdir()
    path.write_bytes(b"This is not a database. " * 1000)

    with pytest.raises(
        StoreUnavailable, match=r"kuma\.db: it is not an SQLite database.*put back a saved copy"
    ) as refusal:
        await SqliteStore.open(path, SEALER)
    assert isinstance(refusal.value.__cause__, sqlite3.DatabaseError)
    assert path.read_bytes().startswith(b"This is")


async def test_damage_inside_the_file_is_a_refusal_not_a_wrong_answer(path):
    """Overwritten pages and broken values alike, at start or at the first read."""
    async with opened(path) as store:
        await write(store, *[Put(Key("MeshRetry", "default", f"r-{n}"), b"x" * 2000) for n in range(200)])
    whole = path.read_bytes()
    path.write_bytes(whole[:8192] + b"\xff" * 300_000 + whole[308_192:])

    with pytest.raises(StoreUnavailable, match="damaged"):
        async with opened(path) as store:
            await store.contents()

    path.write_bytes(whole)
    with _edited(path) as database:
        database.execute("UPDATE resources SET labels = '{' WHERE name = 'r-7'")
    async with opened(path) as store:
        with pytest.raises(StoreUnavailable, match=r"damaged.*MeshRetry r-7"):
            await store.contents()
        assert await store.find(Key("MeshRetry", "default", "r-8"))


async def test_a_folder_that_is_a_file_is_named(tmp_path):
    """The path in the message is the one that was configured."""
    (tmp_path / "work").touch()

    with pytest.raises(StoreUnavailable, match=r"work/kuma\.db: "):
        await SqliteStore.open(tmp_path / "work" / "kuma.db", SEALER)


async def test_a_full_disk_refuses_the_write_and_keeps_the_rest(path):
    """Nothing is half-written, reads go on, and so do writes once there is room."""
    async with opened(path) as store:
        await write(store, Put(MESH, b"{}"))
        before = await store.contents()

        with _files_no_longer_than(path.with_name("kuma.db-wal").stat().st_size + 20_000):
            big = [Put(Key("MeshRetry", "default", f"r-{n}"), b"x" * 2000) for n in range(200)]
            with pytest.raises(StoreUnavailable, match=r"kuma\.db: the disk"):
                await write(store, *big)
            assert await store.contents() == before

        await write(store, *big)
        assert len((await store.contents()).records) == 201


async def test_a_batch_too_big_for_the_disk_does_not_take_others_with_it(path):
    """Batches that share a transaction are tried alone when it fails."""
    async with opened(path) as store:
        await write(store, Put(MESH, b"{}"))
        with _files_no_longer_than(path.with_name("kuma.db-wal").stat().st_size + 200_000):
            results = await asyncio.gather(
                write(store, Put(Key("MeshRetry", "default", "a"), b"{}")),
                write(store, Put(Key("MeshRetry", "default", "b"), b"x" * 1_000_000)),
                write(store, Put(Key("MeshRetry", "default", "c"), b"{}")),
                write(store, Put(MESH, b"[]", expected_version=7)),
                return_exceptions=True,
            )

        assert [type(result) for result in results] == [tuple, StoreUnavailable, tuple, Conflict]
        assert [record.key.name for record in await store.list("MeshRetry")] == ["a", "c"]
        assert [change.revision for change in await store.history()] == [1, 2, 3]


async def test_a_cancelled_writer_does_not_stop_the_others(path):
    """Its batch may be stored or not; the store goes on."""
    async with opened(path) as store:
        writers = [asyncio.create_task(write(store, Put(MESH, b"%d" % n))) for n in range(50)]
        await asyncio.sleep(0)
        for writer in writers[::2]:
            writer.cancel()
        results = await asyncio.gather(*writers, return_exceptions=True)

        assert all(isinstance(result, tuple) for result in results[1::2])
        assert await write(store, Put(MESH, b"last"))
        assert (await store.get(MESH)).spec == b"last"


async def test_closing_finishes_the_writes_that_wait(path):
    """Who was let in is answered; what was acknowledged is there at the next start."""
    async with opened(path) as store:
        writers = [
            asyncio.create_task(write(store, Put(Key("MeshRetry", "default", f"r-{n}"), b"{}"))) for n in range(2000)
        ]
        await asyncio.sleep(0)
    results = await asyncio.gather(*writers, return_exceptions=True)

    async with opened(path) as store:
        stored = {record.key for record in await store.list("MeshRetry")}
    acknowledged = {result[0].key for result in results if isinstance(result, tuple)}
    refused = [result for result in results if not isinstance(result, tuple)]
    assert acknowledged == stored
    assert all(isinstance(result, StoreUnavailable) for result in refused)


@contextmanager
def _edited(path):
    """The database as a person with the sqlite3 shell has it."""
    database = sqlite3.connect(path)
    yield database
    database.commit()
    database.close()


@contextmanager
def _files_no_longer_than(size):
    """What a full disk or a quota does, done to this process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
