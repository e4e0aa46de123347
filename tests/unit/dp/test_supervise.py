from __future__ import annotations

import asyncio
import signal
from datetime import timedelta

import pytest

from kuma.dp.supervise import Farewell, Orders, supervise

LONG = timedelta(hours=1)


class _World:
    """An Envoy, its admin interface and the order of what happened to them."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.orders = Orders()
        self.starting = False
        self.all_know = False
        self.open = 0
        self._news = asyncio.Condition()
        self._end: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def end(self, code: int) -> None:
        if not self._end.done():
            self._end.set_result(code)

    async def ended(self) -> int:
        return await asyncio.shield(self._end)

    async def kill(self) -> None:
        await self._happened("killed")
        self.end(-signal.SIGKILL)

    async def is_starting(self) -> bool:
        return self.starting

    async def connections(self) -> tuple[int, int]:
        return self.open, self.open

    async def tell(self) -> bool:
        await self._happened("told")
        return self.all_know

    async def fail_health_checks(self) -> None:
        await self._happened("health checks fail")

    async def drain_inbound(self) -> None:
        await self._happened("inbound drains")

    def supervised(self, drain_time=LONG):
        farewell = Farewell(lambda: self.events.append("not ready"), self.tell)
        return asyncio.create_task(supervise(self, self, self.orders, drain_time, farewell))

    async def until(self, event: str) -> None:
        async with asyncio.timeout(5), self._news:
            await self._news.wait_for(lambda: event in self.events)

    async def _happened(self, event: str) -> None:
        async with self._news:
            self.events.append(event)
            self._news.notify_all()


async def test_sigterm_drains_and_then_ends_envoy():
    """Readiness first, then health checks, then the control plane, then the drain time, then the end; exit code 0."""
    world = _World()
    world.orders.add(signal.SIGTERM)

    assert await world.supervised(timedelta(milliseconds=10)) == 0
    assert world.events == ["not ready", "health checks fail", "told", "killed"]


async def test_draining_ends_early_when_nobody_uses_the_proxy():
    """The drain time is a maximum."""
    world = _World()
    world.all_know = True
    world.orders.add(signal.SIGTERM)

    assert await asyncio.wait_for(world.supervised(), 20) == 0
    assert world.events[-1] == "killed"


async def test_an_envoy_that_never_listened_has_nothing_to_drain():
    """Its token was refused, for instance."""
    world = _World()
    world.starting = True
    world.orders.add(signal.SIGTERM)

    assert await asyncio.wait_for(world.supervised(), 5) == 0
    assert world.events == ["not ready", "killed"]


async def test_a_second_signal_ends_the_waiting():
    """Whoever presses Ctrl-C twice does not want to wait."""
    world = _World()
    task = world.supervised()
    world.orders.add(signal.SIGINT)
    await world.until("health checks fail")
    world.orders.add(signal.SIGUSR2)
    world.orders.add(signal.SIGINT)

    assert await asyncio.wait_for(task, 5) == 0
    assert world.events[-1] == "killed"


async def test_sigusr2_drains_without_ending():
    """A SIGTERM after it need not wait again."""
    world = _World()
    task = world.supervised()
    world.orders.add(signal.SIGUSR2)
    await world.until("told")
    assert not task.done()
    world.orders.add(signal.SIGTERM)

    assert await asyncio.wait_for(task, 5) == 0
    assert world.events == ["inbound drains", "told", "not ready", "killed"]


@pytest.mark.parametrize("code, expected", [(0, 0), (1, 1), (-11, 139), (-9, 137)])
async def test_envoys_end_is_ours(code, expected, caplog):
    """With the exit code a shell would show, and a sentence."""
    world = _World()
    task = world.supervised()
    world.end(code)

    assert await asyncio.wait_for(task, 5) == expected
    if code:
        assert "kuma-dp ends too" in caplog.text
    assert world.events == []


async def test_envoy_dying_while_it_drains_is_told():
    """A crash is a crash, also at the end."""
    world = _World()
    task = world.supervised()
    world.orders.add(signal.SIGTERM)
    await world.until("health checks fail")
    world.end(-11)

    assert await asyncio.wait_for(task, 5) == 139


async def test_a_flood_of_signals_is_no_memory_leak():
    """Beyond a bound a signal says nothing new."""
    world = _World()
    for _ in range(10000):
        world.orders.add(signal.SIGUSR2)
    task = world.supervised()
    await world.until("inbound drains")
    for _ in range(2):
        world.orders.add(signal.SIGTERM)
        await asyncio.sleep(0.01)
    world.end(0)

    assert await asyncio.wait_for(task, 5) == 0
    assert world.events.count("inbound drains") < 20
