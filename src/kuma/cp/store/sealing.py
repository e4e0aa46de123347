"""Secrets at rest: what only administrators may read is encrypted before it reaches a disk.

A sealed value is one envelope: format byte, key id, nonce, AES-256-GCM ciphertext with its tag. The identity of the
record is authenticated with it, so a value copied to another name, mesh or kind does not open. The key id tells a
wrong key from a damaged value; it reveals nothing about the key.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import os
import secrets
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from kuma.core.errors import ConfigInvalid
from kuma.core.model.kinds import BY_NAME
from kuma.core.model.resource import Key

KEY_BYTES: Final = 32
_FORMAT: Final = b"\x01"
_ID_BYTES: Final = 8
_NONCE_BYTES: Final = 12
_HEADER_BYTES: Final = len(_FORMAT) + _ID_BYTES + _NONCE_BYTES

CHECK: Final = Key("", "", "key check")
"""The identity under which a store seals the value that tells a wrong key at once; no resource can have it."""


class CannotUnseal(Exception):
    """A sealed value does not open; the store that holds it turns this into ``StoreUnavailable``."""


class Sealer:
    """Seals and unseals with one key. Holds no other state and may be used from several threads."""

    def __init__(self, key: bytes, random: Callable[[int], bytes] = os.urandom) -> None:
        if len(key) != KEY_BYTES:
            raise ConfigInvalid(f"a store encryption key has {KEY_BYTES} bytes, this one has {len(key)}")
        self._cipher = AESGCM(key)
        self._random = random
        self._id = hmac.digest(key, b"kuma store key id", hashlib.sha256)[:_ID_BYTES]

    @property
    def key_id(self) -> str:
        """What messages call the key."""
        return self._id.hex()

    def seal(self, key: Key, clear: bytes) -> bytes:
        """An envelope that opens for the same ``key`` only."""
        nonce = self._random(_NONCE_BYTES)
        header = _FORMAT + self._id
        return header + nonce + self._cipher.encrypt(nonce, clear, header + _identity(key))

    def unseal(self, key: Key, envelope: bytes) -> bytes:
        """
        What was sealed.

        Raises:
            CannotUnseal: it is no envelope, was sealed with another key or for another record, or was altered.
        """
        if len(envelope) < _HEADER_BYTES or not envelope.startswith(_FORMAT):
            raise CannotUnseal("it is not a sealed value")
        header, nonce = envelope[: len(_FORMAT) + _ID_BYTES], envelope[len(_FORMAT) + _ID_BYTES : _HEADER_BYTES]
        sealed_with = header[len(_FORMAT) :]
        if sealed_with != self._id:
            raise CannotUnseal(f"it was sealed with key {sealed_with.hex()}, the key in use is {self.key_id}")
        try:
            return self._cipher.decrypt(nonce, envelope[_HEADER_BYTES:], header + _identity(key))
        except InvalidTag as error:
            raise CannotUnseal("it was altered, or sealed for another record") from error


def must_be_sealed(kind: str) -> bool:
    """Whether the spec of a kind is for administrators only."""
    known = BY_NAME.get(kind)
    return known is not None and known.admin_only


def key_from_text(text: str) -> bytes:
    """
    A key from base64 text. The text never appears in an error.

    Raises:
        ConfigInvalid: it is not base64 of 32 bytes.
    """
    try:
        key = base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != KEY_BYTES:
        raise ConfigInvalid(
            f"store.encryption.key (KUMA_STORE_ENCRYPTION_KEY) must be the base64 text of {KEY_BYTES} random bytes; "
            f"make one with: openssl rand -base64 {KEY_BYTES}"
        )
    return key


def load_key(path: Path) -> bytes | None:
    """
    The key in a file, None when there is no file.

    Raises:
        ConfigInvalid: it cannot be read or does not hold exactly 32 bytes.
    """
    try:
        with path.open("rb") as file:
            key = file.read(KEY_BYTES + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigInvalid(f"the store's key file {path} cannot be read: {error.strerror}") from error
    if len(key) != KEY_BYTES:
        raise ConfigInvalid(
            f"the store's key file {path} must hold exactly {KEY_BYTES} bytes and nothing else: put the right file "
            "back, it is the only way to read the secrets of this store"
        )
    return key


def load_or_create_key(path: Path, random: Callable[[int], bytes] = secrets.token_bytes) -> bytes:
    """
    The key in a file, made at first use: mode 0600, whole or not at all, on disk when this returns.

    When two processes come first, one key wins and both return it.

    Raises:
        ConfigInvalid: as ``load_key``, or the file cannot be made.
    """
    key = load_key(path)
    if key is not None:
        return key
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        create_key(path, random)
    except OSError as error:
        raise ConfigInvalid(
            f"the store's key file {path} cannot be made: {error.strerror}; make its folder writable or set "
            "store.encryption.keyFile (KUMA_STORE_ENCRYPTION_KEY_FILE)"
        ) from error
    return load_or_create_key(path)


def create_key(path: Path, random: Callable[[int], bytes] = secrets.token_bytes) -> None:
    """
    Make a key file that is not there yet: mode 0600, whole or not at all, on disk when this returns.

    Raises:
        OSError: the folder does not let it.
    """
    fresh = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(random(KEY_BYTES))
            file.flush()
            os.fsync(file.fileno())
        # A link, unlike a rename, never replaces a key that another process made meanwhile.
        with suppress(FileExistsError):
            os.link(fresh, path)
    finally:
        fresh.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _identity(key: Key) -> bytes:
    return json.dumps([key.kind, key.mesh, key.name]).encode()
