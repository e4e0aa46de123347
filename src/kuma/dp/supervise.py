"""From a running Envoy to its end: signals, draining, and what the exit code says.

SIGTERM or SIGINT: no new traffic is invited, open connections get the drain time at most (see ``drain``), then Envoy
ends and kuma-dp with it, exit code 0. A second signal ends the waiting. SIGUSR2: inbound connections drain and nothing
ends; a SIGTERM after it ends at once. Envoy ending by itself ends kuma-dp, so that whatever started kuma-dp can start
it again.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Protocol

from kuma.core.units import format_duration
from kuma.dp.drain import Traffic, until_unused

log = logging.getLogger("kuma.dp")

_ENDING: Final = (signal.SIGTERM, signal.SIGINT)
_MAX_WAITING: Final = 16


class EnvoyProcess(Protocol):
    """What is supervised."""

    async def ended(self) -> int:
        """Wait for the end; the exit code, negative for the signal that killed it."""

    async def kill(self) -> None:
        """End it now."""


class Drainable(Traffic, Protocol):
    """Where draining is ordered."""

    async def is_starting(self) -> bool:
        """Whether it never listened anywhere."""

    async def fail_health_checks(self) -> None:
        """No new work is wanted."""

    async def drain_inbound(self) -> None:
        """Inbound connections end one by one."""


class Orders:
    """Signals in the order they came; ``interrupt`` is called for those that end the program."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[signal.Signals] = asyncio.Queue(_MAX_WAITING)
        self.interrupt: Callable[[], object] = bool
        self.ending = False

    def add(self, order: signal.Signals) -> None:
        """Beyond the bound a signal says nothing new."""
        if order in _ENDING:
            self.ending = True
            self.interrupt()
        if not self._queue.full():
            self._queue.put_nowait(order)

    async def next(self) -> signal.Signals:
        return await self._queue.get()

    @contextmanager
    def listening(self) -> Iterator[None]:
        """The process's signals arrive here, and its own defaults return afterwards."""
        loop = asyncio.get_running_loop()
        caught = (*_ENDING, signal.SIGUSR2)
        for order in caught:
            loop.add_signal_handler(order, self.add, order)
        try:
            yield
        finally:
            for order in caught:
                loop.remove_signal_handler(order)


@dataclass(frozen=True, slots=True)
class Farewell:
    """
    How draining is made known: ``announce`` to those who ask whether this proxy is ready, ``tell`` the control plane.

    ``tell`` is false where the control plane cannot be told.
    """

    announce: Callable[[], None]
    tell: Callable[[], Awaitable[bool]]


async def supervise(
    envoy: EnvoyProcess, admin: Drainable, orders: Orders, drain_time: timedelta, farewell: Farewell
) -> int:
    """Stay until Envoy has ended, by itself or by order; the exit code for kuma-dp."""
    async with asyncio.TaskGroup() as tasks:
        gone = tasks.create_task(envoy.ended(), name="envoy")
        helpers: list[asyncio.Task[None]] = []
        while True:
            order = tasks.create_task(orders.next(), name="signals")
            await asyncio.wait({gone, order}, return_when=asyncio.FIRST_COMPLETED)
            if gone.done():
                order.cancel()
                break
            if order.result() in _ENDING:
                farewell.announce()
                if not helpers:
                    await _drain(order.result(), gone, admin, orders, drain_time, farewell)
                break
            log.info("SIGUSR2: draining inbound connections; Envoy stays")
            starting = await admin.is_starting()
            await admin.drain_inbound()
            if not starting and not helpers:
                helpers.append(tasks.create_task(_tell(farewell), name="farewell"))
        for helper in helpers:
            helper.cancel()
        if gone.done():
            return _explained(gone.result())
        await envoy.kill()
        log.info("Envoy ended; bye")
        return 0


async def _drain(
    order: signal.Signals,
    gone: asyncio.Task[int],
    admin: Drainable,
    orders: Orders,
    drain_time: timedelta,
    farewell: Farewell,
) -> None:
    """Until Envoy may be ended, or has."""
    if await admin.is_starting():
        log.info("%s: Envoy never had a configuration, there is nothing to drain", order.name)
        return
    log.info("%s: draining for at most %s; a second signal ends it now", order.name, format_duration(drain_time))
    await admin.fail_health_checks()
    async with asyncio.TaskGroup() as tasks:
        ends = {
            tasks.create_task(_second(orders), name="second signal"),
            tasks.create_task(until_unused(admin, farewell.tell), name="unused"),
        }
        await asyncio.wait({gone, *ends}, timeout=drain_time.total_seconds(), return_when=asyncio.FIRST_COMPLETED)
        for task in ends:
            task.cancel()


async def _tell(farewell: Farewell) -> None:
    await farewell.tell()


async def _second(orders: Orders) -> None:
    while await orders.next() not in _ENDING:
        pass


def _explained(code: int) -> int:
    """Say what happened to Envoy; the exit code a shell would give."""
    if code == 0:
        log.info("Envoy ended by itself, without an error; kuma-dp ends too")
        return 0
    if code > 0:
        log.error("Envoy ended with exit code %d; its last lines above say why. kuma-dp ends too", code)
        return code
    name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
    hint = "; when the machine is out of memory the kernel does that (see dmesg)" if name == "SIGKILL" else ""
    log.error("Envoy was ended by %s%s. kuma-dp ends too", name, hint)
    return 128 - code
