"""From settings to a store."""

from __future__ import annotations

import asyncio
from pathlib import Path

from kuma.core.errors import ConfigInvalid, StoreUnavailable
from kuma.cp.store.memory import MemoryStore
from kuma.cp.store.port import Store
from kuma.cp.store.sealing import Sealer, key_from_text, load_key, load_or_create_key
from kuma.cp.store.sqlite import SqliteStore
from kuma.cp.store.sqlite_file import failures_named

TYPES = ("sqlite", "memory")


async def open_store(type: str, *, path: Path, key_text: str = "", key_file: Path) -> Store:
    """
    Open the store the settings ask for.

    ``type``, ``path``, ``key_text`` and ``key_file`` are ``store.type``, ``store.sqlite.path``,
    ``store.encryption.key`` and ``store.encryption.keyFile``. The text wins over the file; the file is made at the
    first start, but never for a database that exists already: that one has a key, and it is missing.

    Raises:
        ConfigInvalid: the type is unknown, or the key is malformed or cannot be read.
        StoreUnavailable: the store cannot be opened; see ``SqliteStore.open``.
    """
    if type == "memory":
        return MemoryStore()
    if type != "sqlite":
        raise ConfigInvalid(f"store.type (KUMA_STORE_TYPE) must be one of {', '.join(TYPES)}, not {type!r}")
    key = key_from_text(key_text) if key_text else await asyncio.to_thread(_key_for, path, key_file)
    return await SqliteStore.open(path, Sealer(key))


def _key_for(path: Path, key_file: Path) -> bytes:
    key = load_key(key_file)
    if key is not None:
        return key
    with failures_named(path):
        used = path.exists() and path.stat().st_size > 0
    if used:
        raise StoreUnavailable(
            f"the key file {key_file} of the database {path} is missing: put it back, or give the key with "
            "store.encryption.keyFile (KUMA_STORE_ENCRYPTION_KEY_FILE) or store.encryption.key "
            "(KUMA_STORE_ENCRYPTION_KEY); without it move the database away to start empty"
        )
    return load_or_create_key(key_file)
