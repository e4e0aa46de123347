"""From settings to a store."""

from __future__ import annotations

import asyncio
from pathlib import Path

from kuma.core.errors import ConfigInvalid
from kuma.cp.store.key_file import KeyFile
from kuma.cp.store.memory import MemoryStore
from kuma.cp.store.port import Store
from kuma.cp.store.sealing import Sealer, key_from_text, load_or_create_key
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
    if key_text:
        return await SqliteStore.open(path, Sealer(key_from_text(key_text)))
    keys = KeyFile(key_file)
    store = await SqliteStore.open(path, *await asyncio.to_thread(_sealers, path, keys))
    try:
        await asyncio.to_thread(keys.settle, store.sealer)
    except ConfigInvalid:
        await store.close()
        raise
    return store


def _sealers(path: Path, keys: KeyFile) -> tuple[Sealer, ...]:
    if found := keys.sealers():
        return found
    with failures_named(path):
        used = path.exists() and path.stat().st_size > 0
    if used:
        raise keys.missing(path)
    return (Sealer(load_or_create_key(keys.path)),)
