"""The demo from start to end: start everything, let traffic flow and show it, end everything."""

from __future__ import annotations

import asyncio
import random
import shlex
import shutil
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from kuma.demo.directory import temporary
from kuma.demo.documents import Layout
from kuma.demo.lines import Line, Span, Tone, line
from kuma.demo.observe import Observer
from kuma.demo.ports import reserved
from kuma.demo.programs import Programs, command, environment
from kuma.demo.progress import all_shown, shown
from kuma.demo.screen import Screen
from kuma.demo.start import Start
from kuma.demo.statistics import Figures
from kuma.demo.stop import Stop
from kuma.demo.table import EdgeRow, Picture, ProxyRow, error_line, one_line, table
from kuma.demo.traffic import EDGES, VISITOR, Clock, Edge, Traffic

_REDRAW_SECONDS: Final = 0.5
_SPIN_SECONDS: Final = 0.1
_PLAIN_SECONDS: Final = 5.0
_END_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class Options:
    """What the user asked for; without a duration the demo runs until it is ended."""

    duration: timedelta | None = None
    keep: bool = False


async def run(options: Options, screen: Screen, env: Mapping[str, str], clock: Clock, begun: float) -> int:
    """
    Run the demo; the exit code.

    Raises:
        MeshError: it could not be started.
    """
    stop = Stop()
    with (
        stop.listening(),
        temporary(keep=options.keep) as directory,
        reserved(Layout.NEEDED, random.SystemRandom()) as ports,
    ):
        demo = _Demo(options, screen, Layout.of(ports), directory, Programs(directory / "logs", environment(env, {})))
        try:
            return await demo.live(stop, clock, begun)
        finally:
            await demo.end(stop)
            if options.keep:
                screen.say(line(f"kept: {directory}"))


class _Demo:
    def __init__(
        self, options: Options, screen: Screen, layout: Layout, directory: Path, programs: Programs
    ) -> None:
        self._options = options
        self._screen = screen
        self._layout = layout
        self._directory = directory
        self._programs = programs
        self._observer = Observer(layout.api)

    async def live(self, stop: Stop, clock: Clock, begun: float) -> int:
        start = Start(self._layout, self._directory, self._programs, self._observer, clock)
        self._screen.say(line(Span("kuma-demo", Tone.HEAD), f": a mesh of its own, in {self._directory}"), line())
        if not await self._started(start, stop, clock):
            self._screen.say(line("interrupted during the start"))
            return stop.exit_code
        if start.first:
            seconds = start.first[0] - begun
            self._screen.say(line(), line("The first request over mutual TLS was answered ", _bold(f"{seconds:.1f} s"), " after the start."))
        self._screen.say(*self._advice(start.kumactl_config))
        traffic = Traffic(self._layout.web.application_port, clock)
        await self._flow(traffic, stop, clock)
        return self._outcome(traffic, stop, clock)

    async def _started(self, start: Start, stop: Stop, clock: Clock) -> bool:
        """Whether the start came to its end before anyone asked for another."""
        said = 0
        work = asyncio.create_task(start.run(), name="start")
        asked = asyncio.create_task(stop.asked.wait(), name="signals")
        try:
            while not work.done() and not asked.done():
                await asyncio.wait({work, asked}, timeout=_SPIN_SECONDS, return_when=asyncio.FIRST_COMPLETED)
                said = self._tell(start, clock(), said)
            if work.done():
                await work
                return True
            return False
        finally:
            self._screen.freeze()
            for task in (work, asked):
                task.cancel()
            await asyncio.gather(work, asked, return_exceptions=True)

    def _tell(self, start: Start, now: float, said: int) -> int:
        """Show how far the start is; on paper, each step when it is over."""
        ...
