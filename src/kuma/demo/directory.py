"""The demo's directory: a temporary one, readable to its owner only, removed at the end unless it is to be kept."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from kuma.core.errors import ConfigInvalid

_ATTEMPTS: Final = 10
_PAUSE: Final = 0.05


@contextmanager
def temporary(*, keep: bool) -> Iterator[Path]:
    """
    A new directory for as long as the context lasts, or for ever.

    Raises:
        ConfigInvalid: it cannot be made.
    """
    try:
        path = Path(tempfile.mkdtemp(prefix="kuma-demo-"))
    except OSError as error:
        raise ConfigInvalid(
            f"cannot make a temporary directory: {error.strerror}; TMPDIR says where temporary files go"
        ) from error
    try:
        yield path
    finally:
        if not keep:
            _remove(path)


def _remove(path: Path) -> None:
    """Programs that were killed may have been writing until now, so that a first attempt may find new files."""
    for _ in range(_ATTEMPTS):
        shutil.rmtree(path, ignore_errors=True)
        if not path.exists():
            return
        time.sleep(_PAUSE)


def write(directory: Path, files: Mapping[str, str]) -> None:
    """
    Write files that only their owner may read.

    Raises:
        ConfigInvalid: the disk is full, or not writable.
    """
    for name, text in files.items():
        path = directory / name
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
                file.write(text)
        except OSError as error:
            raise ConfigInvalid(f"cannot write {path}: {error.strerror}") from error
