"""A key takes the place of another; at no moment is there none that opens the database."""

import pytest

from kuma.core.errors import ConfigInvalid
from kuma.cp.store.key_file import KeyFile
from kuma.cp.store.sealing import Sealer, load_or_create_key


@pytest.fixture
def key(tmp_path):
    """A key file, as the first start makes it."""
    load_or_create_key(tmp_path / "store.key")
    return KeyFile(tmp_path / "store.key")


def ids(keys):
    """Of the keys that whoever opens the database tries."""
    return [sealer.key_id for sealer in keys.sealers()]


def names(keys):
    """What is in the folder."""
    return sorted(path.name for path in keys.path.parent.iterdir())


def test_before_the_change_and_after_it_there_is_one_key(key):
    """The former one is kept under its id; nothing else is left."""
    (former,) = key.sealers()

    fresh = key.begin()
    assert ids(key) == [former.key_id, fresh.key_id]
    key.settle(fresh)

    assert ids(key) == [fresh.key_id]
    assert names(key) == ["store.key", f"store.key.{former.key_id}"]
    assert Sealer(key.former(former).read_bytes()).key_id == former.key_id
    assert {path.stat().st_mode & 0o777 for path in key.path.parent.iterdir()} == {0o600}


def test_a_key_that_others_could_read_is_closed_before_it_is_used_or_kept(key):
    """A copy that was put back with the wrong mode: neither it nor what is kept of it stays open."""
    key.path.chmod(0o644)
    key.sealers()

    key.settle(key.begin())

    assert {path.stat().st_mode & 0o777 for path in key.path.parent.iterdir()} == {0o600}


def test_a_change_that_never_reached_the_database_is_undone(key):
    """The database still opens with the former key: the new one is of no use."""
    (former,) = key.sealers()
    key.begin()

    key.settle(former)

    assert ids(key) == [former.key_id]
    assert names(key) == ["store.key"]


def test_a_change_that_was_interrupted_at_its_end_is_finished(key):
    """Killed after the former key was kept and before the new one took its place."""
    (former,) = key.sealers()
    fresh = key.begin()
    key.former(former).hardlink_to(key.path)

    key.settle(fresh)
    key.settle(fresh)

    assert ids(key) == [fresh.key_id]
    assert names(key) == ["store.key", f"store.key.{former.key_id}"]


def test_a_change_begun_twice_has_one_new_key(key):
    """What an earlier attempt left is not taken for the key of the next."""
    key.path.with_name(".store.key.next").write_bytes(b"half")
    first = key.begin()
    second = key.begin()

    assert first.key_id != second.key_id
    assert ids(key)[1:] == [second.key_id]


def test_the_new_key_opens_even_when_the_former_file_is_gone(key):
    """Somebody tidied up in the middle."""
    fresh = key.begin()
    key.path.unlink()

    assert ids(key) == [fresh.key_id]
    key.settle(fresh)
    assert names(key) == ["store.key"]


def test_what_a_killed_change_left_is_tidied_up(key):
    """A key that was never in use is not kept."""
    (used,) = key.sealers()
    for name in (".store.key.next", "..store.key.next.123.abcd"):
        key.path.with_name(name).write_bytes(b"half")

    key.settle(used)

    assert names(key) == ["store.key"]


def test_without_a_change_nothing_is_touched(key):
    """A start looks, and leaves everything as it is."""
    (used,) = key.sealers()
    before = key.path.stat()

    key.settle(used)

    assert key.path.stat() == before
    assert names(key) == ["store.key"]


def test_a_folder_that_cannot_be_changed_is_named(key):
    """With what has to be done."""
    key.path.with_name("store.key.next").mkdir()

    with pytest.raises(ConfigInvalid, match=r"store\.key.*(cannot be replaced|cannot be read)"):
        key.begin()
