"""From Envoy's start to its first configuration, as the log tells it.

Envoy waits for its configuration for ever, and says why it has none in one line among a hundred. So kuma-dp says when
Envoy serves, and when it does not for long, where to look.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

from kuma.dp.http import Answer, HttpError

log = logging.getLogger("kuma.dp")

_LOOK_SECONDS: Final = 0.5
_LONG_LOOKS: Final = 20


class Starting(Protocol):
    """Who knows how far Envoy is."""

    async def ready(self) -> Answer:
        """Envoy's word; raises ``HttpError`` when it does not answer."""


async def tell_when_serving(envoy: Starting, pause: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
    """Return when Envoy serves, or is not going to any more."""
    looks = 0
    while True:
        await pause(_LOOK_SECONDS)
        looks += 1
        state = await _state(envoy)
        if state == "LIVE":
            log.info("Envoy has its configuration and serves")
            return
        if state == "DRAINING":
            return
        if looks == _LONG_LOOKS:
            log.warning(
                "Envoy has no configuration yet (%s). Look for 'config stream' in its lines above: where the control "
                "plane refuses this proxy, the reason stands there",
                state,
            )


async def _state(envoy: Starting) -> str:
    try:
        answer = await envoy.ready()
    except HttpError as error:
        return str(error)
    return answer.body.decode(errors="replace").strip()
