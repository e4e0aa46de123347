from __future__ import annotations

import asyncio

from kuma.dp.drain import until_unused
from kuma.dp.http import HttpError


class _Traffic:
    """What is counted at each look; the last one for ever."""

    def __init__(self, *counts) -> None:
        self._counts = list(counts)
        self.looks = 0

    async def connections(self):
        count = self._counts[min(self.looks, len(self._counts) - 1)]
        self.looks += 1
        if isinstance(count, HttpError):
            raise count
        return count


async def _all_know() -> bool:
    return True


async def _nobody_was_told() -> bool:
    return False


async def _at_once(_: float) -> None:
    await asyncio.sleep(0)


async def test_a_proxy_that_nobody_uses_is_done_after_a_while():
    """Not at once: callers from outside the mesh have to notice, too."""
    traffic = _Traffic((0, 7))

    await until_unused(traffic, _all_know, _at_once)

    assert traffic.looks == 11


async def test_an_open_connection_keeps_it():
    """Until it is closed, and then the while begins."""
    traffic = _Traffic(*[(1, 7)] * 30, (0, 7))

    await until_unused(traffic, _all_know, _at_once)

    assert traffic.looks == 30 + 10


async def test_short_connections_keep_it():
    """None is open whenever one looks, but they come."""
    traffic = _Traffic(*[(0, number) for number in range(30)])

    await until_unused(traffic, _all_know, _at_once)

    assert traffic.looks == 30 + 10


async def test_an_envoy_that_does_not_answer_is_not_taken_for_idle():
    """It may be too busy to answer."""
    traffic = _Traffic((0, 7), *[HttpError("no answer")] * 30, (0, 7))

    await until_unused(traffic, _all_know, _at_once)

    assert traffic.looks == 1 + 30 + 10


async def test_where_the_control_plane_cannot_be_told_the_whole_time_is_used():
    """Nobody knows who still sends work."""
    traffic = _Traffic((0, 7))
    task = asyncio.create_task(until_unused(traffic, _nobody_was_told, _at_once))

    done, _ = await asyncio.wait({task}, timeout=0.1)
    task.cancel()

    assert not done
    assert traffic.looks == 0
