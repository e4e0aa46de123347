"""The directory with Envoy's configuration, its sockets and, where needed, the token.

A temporary one is removed at the end, and those that a killed kuma-dp left behind with the next start: a lock tells
that they are in use. Others on the machine may pass through it to a socket they are allowed to use, but not list it
(mode 0711); files are readable to the owner only.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from kuma.core.errors import ConfigInvalid

_MODE: Final = 0o711
_PREFIX: Final = "kuma-dp-"
_LOCK: Final = ".in-use"
_LONGEST: Final = 98 - len("/kuma-envoy-admin")


@contextmanager
def work_dir(given: str) -> Iterator[Path]:
    """
    The directory given, made if needed; else a temporary one for as long as the context lasts.

    Raises:
        ConfigInvalid: it cannot be made, or its name is too long for a Unix socket in it.
    """
    path = Path(given).absolute() if given else Path(tempfile.gettempdir()) / "kuma-dp-XXXXXXXX"
    if len(os.fsencode(path)) > _LONGEST:
        raise ConfigInvalid(
            f"--work-dir: {path} is too long for the sockets in it; use one of at most {_LONGEST} bytes"
        )
    try:
        if given:
            path.mkdir(mode=_MODE, parents=True, exist_ok=True)
        else:
            path = Path(tempfile.mkdtemp(prefix=_PREFIX))
            path.chmod(_MODE)
    except FileExistsError as error:
        raise ConfigInvalid(f"--work-dir: {path} is not a directory") from error
    except OSError as error:
        raise ConfigInvalid(
            f"--work-dir: cannot make {path}: {error.strerror}; give a directory that kuma-dp may write in"
        ) from error
    if given:
        yield path
        return
    lock = _locked(path)
    try:
        _sweep(path.parent)
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        os.close(lock)


def _locked(path: Path) -> int:
    """Mark a directory as in use for as long as this process lives; it is locked before its lock can be found."""
    hidden = path / f"{_LOCK}.new"
    lock = os.open(hidden, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    hidden.rename(path / _LOCK)
    return lock


def _sweep(parent: Path) -> None:
    """Remove what killed processes of the same user left behind, the token among it."""
    for left in parent.glob(f"{_PREFIX}*/{_LOCK}"):
        with suppress(OSError):
            lock = os.open(left, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                if os.fstat(lock).st_uid == os.geteuid() == left.parent.lstat().st_uid:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(left.parent, ignore_errors=True)
            finally:
                os.close(lock)


def write_private(path: Path, data: bytes) -> None:
    """
    Write a file that only its owner may read; a reader sees the old content or the new, never a part.

    Raises:
        ConfigInvalid: it cannot be written.
    """
    new = path.with_name(f".{path.name}.new")
    try:
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, 0o600)
            file.write(data)
        new.replace(path)
    except OSError as error:
        raise ConfigInvalid(
            f"--work-dir: cannot write {path}: {error.strerror}; give a directory that kuma-dp may write in"
        ) from error
