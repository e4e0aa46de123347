"""Files with keys in them are for their owner only, whoever put them there."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Final

import structlog

_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO

log = structlog.get_logger("kuma-cp")


def keep_private(path: Path, user: Callable[[], int] = os.geteuid) -> None:
    """
    Take a file from everyone but its owner, and say so: others may have read it.

    A file of somebody else is theirs to close; it is told only if everyone may read it, for a group may be how this
    program reads it. No file is no fault.
    """
    try:
        state = path.stat()
    except OSError:
        return
    mode = stat.S_IMODE(state.st_mode)
    ours = state.st_uid == user()
    if not mode & (_OTHERS if ours else stat.S_IRWXO):
        return
    told = {"file": str(path), "mode": f"{mode:04o}"}
    try:
        if not ours:
            raise PermissionError
        path.chmod(mode & ~_OTHERS)
    except OSError:
        log.warning("a file with a key in it can be read by others on this host: close it with chmod 600", **told)
    else:
        log.warning(
            "a file with a key in it could be read by others on this host: it is now for its owner only", **told
        )
