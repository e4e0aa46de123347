import base64

import pytest

from kuma.core.errors import ConfigInvalid, StoreUnavailable
from kuma.cp.store.memory import MemoryStore
from kuma.cp.store.opening import open_store
from kuma.cp.store.sqlite import SqliteStore

TEXT = base64.b64encode(b"t" * 32).decode()


async def test_memory_touches_no_file(tmp_path):
    """Neither database nor key."""
    store = await open_store("memory", path=tmp_path / "kuma.db", key_file=tmp_path / "store.key")

    assert isinstance(store, MemoryStore)
    assert list(tmp_path.iterdir()) == []


async def test_the_first_start_makes_key_and_database_and_the_second_opens_them(tmp_path):
    """With no configuration at all."""
    for _ in range(2):
        store = await open_store("sqlite", path=tmp_path / "kuma.db", key_file=tmp_path / "store.key")
        assert isinstance(store, SqliteStore)
        await store.close()


async def test_a_key_given_as_text_needs_no_file(tmp_path):
    """The text wins, and no key is left on the disk."""
    store = await open_store("sqlite", path=tmp_path / "kuma.db", key_text=TEXT, key_file=tmp_path / "store.key")
    await store.close()

    assert not (tmp_path / "store.key").exists()


async def test_a_lost_key_file_is_not_replaced_by_a_new_key(tmp_path):
    """The database has a key; a new one would only hide that it is missing."""
    paths = {"path": tmp_path / "kuma.db", "key_file": tmp_path / "store.key"}
    await (await open_store("sqlite", **paths)).close()
    (tmp_path / "store.key").unlink()

    with pytest.raises(StoreUnavailable, match=r"store\.key of the database .*kuma\.db is missing: put it back"):
        await open_store("sqlite", **paths)
    assert not (tmp_path / "store.key").exists()


async def test_an_unknown_type_is_refused_with_the_known_ones(tmp_path):
    """The message names the setting."""
    with pytest.raises(ConfigInvalid, match=r"KUMA_STORE_TYPE.*one of sqlite, memory, not 'mongodb'"):
        await open_store("mongodb", path=tmp_path / "kuma.db", key_file=tmp_path / "store.key")
