"""The log of refused proxies: a refusal is told at once, and when it repeats, now and then how often.

Envoy asks again for ever, at first several times a second. A line for each would hide everything else.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import structlog

_AGAIN_SECONDS: Final = 600.0
_MAX_REMEMBERED: Final = 1000

log = structlog.get_logger("xds")


@dataclass(slots=True)
class _Told:
    when: float
    repeated: int = 0


class Refusals:
    """Tells of refusals. Equal ones come from one connection of one proxy, for one reason."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._told: OrderedDict[tuple[str, str, str, str], _Told] = OrderedDict()

    def tell(self, event: str, *, node: str, address: str, reason: str) -> None:
        """One refusal."""
        now = self._clock()
        what = (event, node, address, reason)
        told = self._told.get(what)
        if told is None:
            self._told[what] = _Told(now)
            if len(self._told) > _MAX_REMEMBERED:
                self._told.popitem(last=False)
            log.warning(event, node=node, address=address, reason=reason)
            return
        self._told.move_to_end(what)
        told.repeated += 1
        if now - told.when >= _AGAIN_SECONDS:
            log.warning(event, node=node, address=address, reason=reason, repeated=told.repeated)
            self._told[what] = _Told(now)
