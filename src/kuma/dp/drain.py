"""How long draining lasts: the drain time at most, and less when nobody can miss this proxy.

That is so when every other proxy knows that it drains, and then for a while no connection was open and none came. The
while is for callers from outside the mesh, who learn from ``/ready`` and not from the control plane.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

from kuma.dp.http import HttpError

log = logging.getLogger("kuma.dp")

_LOOK_SECONDS: Final = 0.5
_QUIET_LOOKS: Final = 10


class Traffic(Protocol):
    """Where connections are counted."""

    async def connections(self) -> tuple[int, int]:
        """How many connections are open, and how many there ever were. Raises ``HttpError``."""


async def until_unused(
    traffic: Traffic, farewell: Callable[[], Awaitable[bool]], pause: Callable[[float], Awaitable[None]] = asyncio.sleep
) -> None:
    """Return when nobody uses this proxy any more; never, where that cannot be known. The caller limits the time."""
    if not await farewell():
        await asyncio.get_running_loop().create_future()
    quiet, before = 0, -1
    while quiet < _QUIET_LOOKS:
        await pause(_LOOK_SECONDS)
        try:
            is_open, accepted = await traffic.connections()
        except HttpError as error:
            log.debug("connections cannot be counted: %s", error)
            quiet = 0
            continue
        quiet = quiet + 1 if not is_open and accepted == before else 0
        before = accepted
    log.info("no connection is left")
