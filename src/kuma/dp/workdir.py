"""The directory with Envoy's configuration, its sockets and, where needed, the token.

A temporary one is removed at the end. Others on the machine may pass through it to a socket they are allowed to use,
but not list it (mode 0711); files are readable to the owner only.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from kuma.core.errors import ConfigInvalid

_MODE: Final = 0o711
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
            path = Path(tempfile.mkdtemp(prefix="kuma-dp-"))
            path.chmod(_MODE)
    except OSError as error:
        raise ConfigInvalid(f"--work-dir: cannot make {path}: {error.strerror}") from error
    try:
        yield path
    finally:
        if not given:
            shutil.rmtree(path, ignore_errors=True)


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
        raise ConfigInvalid(f"--work-dir: cannot write {path}: {error.strerror}") from error
