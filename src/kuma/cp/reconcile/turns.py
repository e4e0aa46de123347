"""Fair turns: work that comes in crowds takes a bounded part of each turn of the event loop.

The loop runs all that is ready before it looks for more. When a thousand proxies speak at once, that is the work of a
tenth of a second, in which nobody else is heard. So each piece of such work waits for its turn; a turn has room for
few, and in between everybody else gets theirs.
"""

from __future__ import annotations

import asyncio
from collections import deque


class Turns:
    """Lets ``per_turn`` callers go on in each turn of the loop, in the order in which they came."""

    def __init__(self, per_turn: int) -> None:
        self._per_turn = per_turn
        self._room = per_turn
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._scheduled = False

    async def next(self) -> None:
        """Wait for a turn; at once while there is room in this one and nobody waits."""
        loop = asyncio.get_running_loop()
        if not self._scheduled:
            self._scheduled = True
            loop.call_soon(self._begin, loop)
        if self._room and not self._waiting:
            self._room -= 1
            return
        mine = loop.create_future()
        self._waiting.append(mine)
        await mine

    def _begin(self, loop: asyncio.AbstractEventLoop) -> None:
        self._room = self._per_turn
        while self._room and self._waiting:
            first = self._waiting.popleft()
            if not first.done():  # it may have given up
                first.set_result(None)
                self._room -= 1
        self._scheduled = self._room < self._per_turn or bool(self._waiting)
        if self._scheduled:
            loop.call_soon(self._begin, loop)
