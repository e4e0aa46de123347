"""All secrets are sealed with another key, or none is."""

import base64
import shutil
import sqlite3
from datetime import UTC, datetime

import pytest

from kuma.core.errors import ConfigInvalid, StoreUnavailable
from kuma.core.model.resource import Key
from kuma.cp.store.key_file import KeyFile
from kuma.cp.store.opening import open_store
from kuma.cp.store.port import CONTROL_PLANE, Delete, Put
from kuma.cp.store.rotation import rotate_key
from kuma.cp.store.sealing import Sealer

NOW = datetime.now(UTC)
SECRETS = [Key("Secret", "default", f"s-{number}") for number in range(1200)] + [Key("GlobalSecret", "", "g")]
GONE = Key("Secret", "default", "gone")


def value(key, version):
    """What is in a secret; unlike anything else on the disk."""
    return b'{"data": "hunter2-%s-%d"}' % (key.name.encode(), version)


@pytest.fixture
async def place(tmp_path):
    """A database with secrets of two versions, one deleted, and a mesh that is no secret."""
    place = {"path": tmp_path / "kuma.db", "key_file": tmp_path / "store.key"}
    store = await open_store("sqlite", **place)
    for version in (1, 2):
        puts = [Put(key, value(key, version)) for key in SECRETS]
        await store.write([*puts, Put(Key("Mesh", "", "default"), b"{}")], author=CONTROL_PLANE, now=NOW)
    await store.write([Put(GONE, value(GONE, 1))], author=CONTROL_PLANE, now=NOW)
    await store.write([Delete(GONE)], author=CONTROL_PLANE, now=NOW)
    await store.close()
    return place


def rotate(place, *, key_text="", new_key_file=None):
    """The command, without its command line."""
    return rotate_key(place["path"], key_text=key_text, key_file=place["key_file"], new_key_file=new_key_file)


async def everything(place, **key):
    """All secrets, and all that the history says of them."""
    store = await open_store("sqlite", **{**place, **key})
    try:
        records = {record.key: record.spec for record in await store.list("Secret")}
        records |= {record.key: record.spec for record in await store.list("GlobalSecret")}
        changes = await store.history(limit=100_000)
        return records, [(c.revision, c.key, c.before and c.before.spec, c.after and c.after.spec) for c in changes]
    finally:
        await store.close()


def ciphertexts(place):
    """The envelopes in the file."""
    with sqlite3.connect(place["path"]) as connection:
        rows = connection.execute("SELECT spec FROM resources WHERE kind LIKE '%Secret'").fetchall()
        rows += connection.execute("SELECT before_spec FROM changes WHERE kind LIKE '%Secret'").fetchall()
        rows += connection.execute("SELECT after_spec FROM changes WHERE kind LIKE '%Secret'").fetchall()
    return {row[0] for row in rows if row[0] is not None}


async def test_every_value_is_sealed_with_the_new_key_and_reads_as_before(place):
    """Records and history alike; the former key opens nothing any more."""
    before, history = await everything(place)
    old = ciphertexts(place)
    (former,) = KeyFile(place["key_file"]).sealers()

    done = rotate(place)

    assert done.former_id == former.key_id
    assert done.key_id == KeyFile(place["key_file"]).sealers()[0].key_id
    assert done.values == len(SECRETS) + 2 * len(SECRETS) + len(SECRETS) + 2
    assert not old & ciphertexts(place)
    assert await everything(place) == (before, history)
    for secret in SECRETS:
        assert before[secret] == value(secret, 2)
    shutil.copy(done.former_file, place["key_file"])
    with pytest.raises(StoreUnavailable, match=f"sealed with key {done.key_id}, the key in use is {done.former_id}"):
        await everything(place)


async def test_nothing_of_the_former_key_is_left_in_the_file(place):
    """Neither in free pages nor in the file beside it."""
    old = ciphertexts(place)

    rotate(place)

    content = b"".join(path.read_bytes() for path in place["path"].parent.glob("kuma.db*"))
    assert not [envelope for envelope in old if envelope[-24:] in content]
    assert b"hunter2" not in content


async def test_a_key_from_outside(place, tmp_path):
    """The file that is named is used, or made; the one of the settings stays as it is."""
    before = await everything(place)
    kept = place["key_file"].read_bytes()

    done = rotate(place, new_key_file=tmp_path / "mounted" / "key")

    assert done.former_file is None
    assert place["key_file"].read_bytes() == kept
    assert await everything(place, key_file=tmp_path / "mounted" / "key") == before
    with pytest.raises(StoreUnavailable, match="the encryption key is not the one"):
        await everything(place)


async def test_a_key_given_as_text_needs_a_file_for_the_new_one(place, tmp_path):
    """Settings cannot be rewritten; the message says how to go on."""
    text = base64.b64encode(place["key_file"].read_bytes()).decode()
    place["key_file"].unlink()
    before = await everything(place, key_text=text)

    with pytest.raises(ConfigInvalid, match="--new-key-file"):
        rotate(place, key_text=text)
    rotate(place, key_text=text, new_key_file=tmp_path / "new.key")

    fresh = base64.b64encode((tmp_path / "new.key").read_bytes()).decode()
    assert await everything(place, key_text=fresh) == before


async def test_asked_again_for_the_same_key_nothing_is_done(place, tmp_path):
    """Whoever does not know whether the first call came to its end calls again."""
    rotate(place, new_key_file=tmp_path / "new.key")

    done = rotate(place, new_key_file=tmp_path / "new.key")

    assert (done.values, done.former_id) == (0, done.key_id)


async def test_while_a_control_plane_runs_nothing_is_changed(place):
    """It would go on sealing with the former key."""
    store = await open_store("sqlite", **place)
    try:
        with pytest.raises(StoreUnavailable, match=r"in use by another control plane \(process \d+\): stop that one"):
            rotate(place)
    finally:
        await store.close()
    assert [path.name for path in place["path"].parent.glob("store.key*")] == ["store.key"]


async def test_a_value_that_cannot_be_read_changes_nothing(place):
    """It is named, and everything stays sealed with the former key."""
    before = ciphertexts(place)
    with sqlite3.connect(place["path"]) as connection:
        connection.execute("UPDATE resources SET spec = randomblob(60) WHERE name = 's-700'")
    damaged = ciphertexts(place)

    with pytest.raises(StoreUnavailable, match="Secret s-700"):
        rotate(place)

    assert ciphertexts(place) == damaged
    assert len(damaged - before) == 1
    assert len(KeyFile(place["key_file"]).sealers()) == 2
    store = await open_store("sqlite", **place)
    assert (await store.get(SECRETS[0])).spec == value(SECRETS[0], 2)
    await store.close()
    assert [path.name for path in place["path"].parent.glob("store.key*")] == ["store.key"]


async def test_killed_before_the_database_was_changed_the_start_undoes_it(place):
    """The new key is on disk, nothing is sealed with it."""
    before = await everything(place)
    KeyFile(place["key_file"]).begin()

    assert await everything(place) == before
    assert [path.name for path in place["path"].parent.glob("store.key*")] == ["store.key"]


async def test_killed_after_the_database_was_changed_the_start_finishes_it(place):
    """All is sealed with the new key, the file still holds the former one."""
    before = await everything(place)
    former = place["key_file"].read_bytes()
    done = rotate(place)
    place["key_file"].rename(place["key_file"].with_name("store.key.next"))
    done.former_file.rename(place["key_file"])

    assert await everything(place) == before
    assert Sealer(place["key_file"].read_bytes()).key_id == done.key_id
    assert done.former_file.read_bytes() == former


async def test_without_a_database_or_a_key_nothing_is_made(tmp_path, place):
    """A slip in the settings is told, not carried out."""
    with pytest.raises(StoreUnavailable, match=r"there is no database at .*other\.db"):
        rotate_key(tmp_path / "other.db", key_text="", key_file=place["key_file"], new_key_file=None)
    assert not (tmp_path / "other.db").exists()
    place["key_file"].unlink()
    with pytest.raises(StoreUnavailable, match=r"store\.key of the database .* is missing: put it back"):
        rotate(place)
