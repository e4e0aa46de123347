"""Watching the token file of a running proxy.

Where the control plane lets Envoy read the token itself, Envoy reads a copy in the work directory: without the line
break at the end that most files have and no header may have, and never a token that is half written.

A changed file is looked at every few seconds rather than by notification: one ``stat`` works on every file system and
through the links by which Kubernetes swaps mounted files.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from kuma.core.errors import ConfigInvalid
from kuma.dp.token import read_token

log = logging.getLogger("kuma.dp.token")

_SECONDS: Final = 5.0


async def watch(
    path: str, deliver: Callable[[str], None] | None, pause: Callable[[float], Awaitable[None]] = asyncio.sleep
) -> None:
    """
    Hand a changed token to ``deliver``; with none, say that this Envoy keeps the old one.

    Never ends; with no path there is nothing to do.
    """
    if not path:
        return
    seen = _state(path)
    while True:
        await pause(_SECONDS)
        now = _state(path)
        if now == seen:
            continue
        seen = now
        try:
            token = read_token(path)
            if deliver is not None:
                deliver(token)
        except ConfigInvalid as error:
            log.warning("the token file changed: %s", error)
            continue
        if deliver is not None:
            log.info("the token file changed; Envoy uses it from its next connection to the control plane on")
        else:
            log.warning(
                "the token file changed, but this Envoy keeps the token it joined with until kuma-dp is started anew "
                "(dpServer.authn.enableReloadableTokens of the control plane lets Envoy read the file)"
            )


def _state(path: str) -> tuple[int, int, int]:
    """What changes when the file is written or replaced."""
    try:
        stat = Path(path).stat()
    except OSError:
        return 0, 0, 0
    return stat.st_ino, stat.st_mtime_ns, stat.st_size
