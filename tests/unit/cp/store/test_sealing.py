import base64
import os
import threading

import pytest

from kuma.core.errors import ConfigInvalid
from kuma.core.model.kinds import KINDS
from kuma.core.model.resource import Key
from kuma.cp.store.sealing import (
    CannotUnseal,
    Sealer,
    key_from_text,
    load_key,
    load_or_create_key,
    must_be_sealed,
)

KEY = Key("Secret", "default", "ca.key")


def test_a_sealed_value_opens_for_its_record_and_shows_nothing():
    """What is on disk does not contain the secret, and no two envelopes of it are alike."""
    sealer = Sealer(b"k" * 32)

    one, two = sealer.seal(KEY, b"very secret"), sealer.seal(KEY, b"very secret")

    assert sealer.unseal(KEY, one) == sealer.unseal(KEY, two) == b"very secret"
    assert one != two
    assert b"secret" not in one


@pytest.mark.parametrize(
    "other",
    [Key("Secret", "default", "ca"), Key("Secret", "other", "ca.key"), Key("GlobalSecret", "default", "ca.key")],
    ids=["name", "mesh", "kind"],
)
def test_a_sealed_value_does_not_open_for_another_record(other):
    """Whoever can write the file cannot move a secret to where they may read it."""
    sealer = Sealer(b"k" * 32)

    with pytest.raises(CannotUnseal, match="another record"):
        sealer.unseal(other, sealer.seal(KEY, b"very secret"))


def test_an_altered_value_does_not_open():
    """Any byte changed, cut or added is noticed."""
    sealer = Sealer(b"k" * 32)
    envelope = sealer.seal(KEY, b"very secret")

    for position in range(len(envelope)):
        altered = bytearray(envelope)
        altered[position] ^= 1
        with pytest.raises(CannotUnseal):
            sealer.unseal(KEY, bytes(altered))
        with pytest.raises(CannotUnseal):
            sealer.unseal(KEY, envelope[:position])
    with pytest.raises(CannotUnseal):
        sealer.unseal(KEY, envelope + b"\0")


def test_another_key_is_named_as_the_reason():
    """The ids of both keys are told, neither key is."""
    one, two = Sealer(b"1" * 32), Sealer(b"2" * 32)

    with pytest.raises(CannotUnseal, match=f"sealed with key {one.key_id}, the key in use is {two.key_id}"):
        two.unseal(KEY, one.seal(KEY, b"very secret"))


def test_clear_text_is_not_taken_for_a_sealed_value():
    """A secret slipped into the file in clear is refused."""
    with pytest.raises(CannotUnseal, match="not a sealed value"):
        Sealer(b"k" * 32).unseal(KEY, b'{"data": "' + b"A" * 100 + b'"}')


def test_the_kinds_only_administrators_read_are_sealed():
    """The kind registry decides."""
    assert {kind.name for kind in KINDS if must_be_sealed(kind.name)} == {"Secret", "GlobalSecret"}
    assert not must_be_sealed("NoSuchKind")


def test_a_key_is_read_from_base64_text():
    """White space around it, as files and shells add it, is fine."""
    assert key_from_text(f" {base64.b64encode(b'k' * 32).decode()}\n") == b"k" * 32


@pytest.mark.parametrize("text", ["", "c2hvcnQ=", "not base64 at all", "k" * 32, "ü" * 44])
def test_a_bad_key_text_is_refused_without_being_shown(text):
    """The error says how to make a key and names the setting."""
    with pytest.raises(ConfigInvalid, match="KUMA_STORE_ENCRYPTION_KEY") as refusal:
        key_from_text(text)
    assert not text or text not in str(refusal.value)


def test_a_key_file_is_made_once_and_for_its_owner_only(tmp_path):
    """The first start makes it, with its folder; later starts read it."""
    path = tmp_path / "work" / "store.key"

    key = load_or_create_key(path)

    assert load_or_create_key(path) == load_key(path) == key == path.read_bytes()
    assert len(key) == 32
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert [found.name for found in path.parent.iterdir()] == ["store.key"]


def test_two_first_starts_at_once_agree_on_one_key(tmp_path):
    """Whoever comes second takes the first one's key."""
    path, keys, together = tmp_path / "store.key", [], threading.Barrier(8)

    def start():
        together.wait(10)
        keys.append(load_or_create_key(path))

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(keys) == 8
    assert set(keys) == {path.read_bytes()}


@pytest.mark.parametrize("content", [b"", b"k" * 31, b"k" * 33, base64.b64encode(b"k" * 32) + b"\n"])
def test_a_key_file_of_another_size_is_refused_and_left_alone(tmp_path, content):
    """It is never replaced: it may be the damaged rest of the only key."""
    path = tmp_path / "store.key"
    path.write_bytes(content)

    with pytest.raises(ConfigInvalid, match=r"store\.key must hold exactly 32 bytes"):
        load_or_create_key(path)
    assert path.read_bytes() == content


def test_a_key_file_that_cannot_be_made_names_the_file(tmp_path):
    """The reason and the setting are told."""
    (tmp_path / "file").touch()

    with pytest.raises(ConfigInvalid, match=r"KUMA_STORE_ENCRYPTION_KEY_FILE|cannot be read"):
        load_or_create_key(tmp_path / "file" / "store.key")
    with pytest.raises(ConfigInvalid, match="Is a directory"):
        load_key(tmp_path)


def test_a_sealer_wants_a_whole_key():
    """A short key is refused at once."""
    with pytest.raises(ConfigInvalid, match="32 bytes, this one has 5"):
        Sealer(os.urandom(5))
