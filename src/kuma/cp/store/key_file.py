"""The file with the key for secrets at rest, and how another key takes its place.

A change of key has a moment in which the database is sealed with the new key while the file still holds the former
one. So the new key is on disk beside it (``store.key.next``) before the database is touched, and whoever opens the
database next finds both, sees which one opens it, and finishes or undoes the change. The former key is kept
(``store.key.<its id>``): backups of the database need it.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from kuma.core.errors import ConfigInvalid, StoreUnavailable
from kuma.cp.private_file import keep_private
from kuma.cp.store.sealing import Sealer, create_key, load_key


class KeyFile:
    """The files of one key. To be changed only by who holds the lock of the database."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._next = path.with_name(f"{path.name}.next")

    def sealers(self) -> tuple[Sealer, ...]:
        """
        For the key, and for the one that is to follow it if a change was begun; empty if there is neither.

        What is kept as the former key later is this file, so it is made private here.

        Raises:
            ConfigInvalid: a file cannot be read or holds no key.
        """
        for path in (self.path, self._next):
            keep_private(path)
        keys = (load_key(path) for path in (self.path, self._next))
        return tuple(Sealer(key) for key in keys if key is not None)

    def missing(self, database: Path) -> StoreUnavailable:
        """What to say when there is neither, and a database that has one."""
        return StoreUnavailable(
            f"the key file {self.path} of the database {database} is missing: put it back, or give the key with "
            "store.encryption.keyFile (KUMA_STORE_ENCRYPTION_KEY_FILE) or store.encryption.key "
            "(KUMA_STORE_ENCRYPTION_KEY); without it move the database away to start empty"
        )

    def former(self, sealer: Sealer) -> Path:
        """Where a key is kept after it was replaced."""
        return self.path.with_name(f"{self.path.name}.{sealer.key_id}")

    def begin(self) -> Sealer:
        """
        Make the key that is to follow; it is on disk when this returns.

        Raises:
            ConfigInvalid: the file cannot be made.
        """
        self._change(self._make_next)
        return self._sealer(self._next)

    def settle(self, used: Sealer) -> None:
        """
        Finish a change after which the database opens with ``used``, undo one that never came so far.

        Raises:
            ConfigInvalid: a file cannot be moved.
        """
        for left in self._half_made():
            self._change(left.unlink)
        if load_key(self._next) is None:
            return
        if self._sealer(self._next).key_id == used.key_id:
            self._change(self._replace)
        else:
            self._change(self._next.unlink)

    def _make_next(self) -> None:
        for left in self._half_made():
            left.unlink()
        fresh, owner = self.path.with_name(f".{self.path.name}.next"), self.path.stat()
        create_key(fresh)
        with suppress(PermissionError):  # kuma-cp must be able to read what an administrator makes
            os.chown(fresh, owner.st_uid, owner.st_gid)
        fresh.replace(self._next)

    def _half_made(self) -> tuple[Path, ...]:
        """Keys that no database was ever sealed with, of a change that was killed while it made one."""
        return tuple(self.path.parent.glob(f".*{glob.escape(self.path.name)}.next*"))

    def _replace(self) -> None:
        if load_key(self.path) is not None:
            with suppress(FileExistsError):
                self.former(self._sealer(self.path)).hardlink_to(self.path)
        self._next.replace(self.path)

    def _change(self, step: Callable[[], object]) -> None:
        """One change of the folder, on disk when this returns."""
        try:
            step()
            folder = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError as error:
            raise ConfigInvalid(
                f"the store's key file {self.path} cannot be replaced: {error.strerror}; its folder has to be writable"
            ) from error

    @staticmethod
    def _sealer(path: Path) -> Sealer:
        key = load_key(path)
        if key is None:
            raise ConfigInvalid(f"the store's key file {path} has vanished while it was in use")
        return Sealer(key)
