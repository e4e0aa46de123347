"""The demo from start to end: start everything, let traffic flow and show it, end everything."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from kuma.demo.advice import advice
from kuma.demo.directory import temporary
from kuma.demo.documents import Layout
from kuma.demo.lines import Span, Tone, line
from kuma.demo.observe import Observer
from kuma.demo.outcome import shortcomings
from kuma.demo.ports import reserved
from kuma.demo.programs import Programs, environment, typed
from kuma.demo.progress import all_shown, shown
from kuma.demo.screen import Screen
from kuma.demo.start import Start
from kuma.demo.stop import Stop
from kuma.demo.table import EdgeRow, Picture, ProxyRow, one_line, table
from kuma.demo.traffic import EDGES, VISITOR, Clock, Edge, Traffic

_SPIN_SECONDS: Final = 0.1
_REDRAW_SECONDS: Final = 0.5
_PLAIN_SECONDS: Final = 5.0
_END_SECONDS: Final = 6.0


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
        programs = Programs(directory / "logs", environment(env, {}))
        demo = _Demo(options, screen, Layout.of(ports), directory, programs, stop, clock)
        try:
            return await demo.live(begun)
        finally:
            await demo.end()
            if options.keep:
                screen.say(line(f"kept, with all logs: {directory}"))


class _Demo:
    """One run. Whatever happens in ``live``, ``end`` leaves no program behind."""

    def __init__(
        self,
        options: Options,
        screen: Screen,
        layout: Layout,
        directory: Path,
        programs: Programs,
        stop: Stop,
        clock: Clock,
    ) -> None:
        self._options = options
        self._screen = screen
        self._layout = layout
        self._directory = directory
        self._programs = programs
        self._stop = stop
        self._clock = clock
        self._observer = Observer(layout.api)

    async def live(self, begun: float) -> int:
        """
        From the start to what the user waited for; the exit code.

        Raises:
            MeshError: the start failed.
        """
        start = Start(self._layout, self._directory, self._programs, self._observer, self._clock)
        self._screen.say(line(Span("kuma-demo", Tone.HEAD), f": a mesh of its own, in {self._directory}"))
        if not await self._started(start):
            self._screen.say(line("interrupted during the start"))
            return self._stop.exit_code
        if start.first:
            took = Span(f"{start.first - begun:.1f} s", Tone.GOOD)
            self._screen.say(line("The first request over mutual TLS was answered ", took, " after the start."), line())
        kumactl = typed("kumactl", self._programs.env)
        pid = self._programs.all["api-2"].pid
        self._screen.say(*advice(kumactl, start.kumactl_config, self._directory, self._layout.web_url, pid), line())
        return await self._flow()

    async def _started(self, start: Start) -> bool:
        """Whether the start came to its end before anyone asked for another."""
        told: set[str] = set()
        work = asyncio.create_task(start.run(), name="start")
        asked = asyncio.create_task(self._stop.asked.wait(), name="signals")
        try:
            while not work.done() and not asked.done():
                await asyncio.wait({work, asked}, timeout=_SPIN_SECONDS, return_when=asyncio.FIRST_COMPLETED)
                self._tell(start, told)
            if work.done():
                await work
            return work.done()
        finally:
            for task in (work, asked):
                task.cancel()
            await asyncio.gather(work, asked, return_exceptions=True)
            for step in start.steps:
                step.give_up(self._clock())
            self._tell(start, told)
            self._screen.freeze()

    def _tell(self, start: Start, told: set[str]) -> None:
        """Show how far the start is; on paper, each step when it is over."""
        now = self._clock()
        if self._screen.live:
            self._screen.show(all_shown(start.steps, now, self._screen.look))
            return
        for step in start.steps:
            if step.ended is not None and step.name not in told:
                told.add(step.name)
                self._screen.say(shown(step, now, self._screen.look))

    async def _flow(self) -> int:
        """Traffic until the time is over or somebody ends it; the exit code."""
        traffic = Traffic(self._layout.web.application_port, self._clock)
        async with asyncio.TaskGroup() as tasks:
            running = [
                tasks.create_task(traffic.flow(), name="traffic"),
                tasks.create_task(self._observer.watch(), name="observer"),
                tasks.create_task(self._display(traffic), name="display"),
            ]
            duration = self._options.duration
            with suppress(TimeoutError):
                async with asyncio.timeout(duration.total_seconds() if duration else None):
                    await self._stop.asked.wait()
            for task in running:
                task.cancel()
        return self._concluded(traffic)

    async def _display(self, traffic: Traffic) -> None:
        told: set[str] = set()
        due = self._clock()
        while True:
            if self._screen.gone:
                self._stop.nobody_reads()
            for name, program in self._programs.all.items():
                if not program.running and name not in told:
                    told.add(name)
                    self._screen.say(line(Span(f"{program.what} {program.end}", Tone.BAD)))
            if self._screen.live:
                self._screen.show(table(self._picture(traffic)))
            elif self._clock() - due >= _PLAIN_SECONDS:
                due += _PLAIN_SECONDS
                self._screen.say(one_line(self._picture(traffic)))
            await asyncio.sleep(_REDRAW_SECONDS)

    def _picture(self, traffic: Traffic, *, whole: bool = False) -> Picture:
        """What there is to see now; ``whole``, at the end, takes the figures of all of it, not of the last seconds."""
        now = self._clock()
        observed = self._observer.now
        api_encrypted = False if whole and traffic.unencrypted else traffic.encrypted
        encrypted = {EDGES[1]: api_encrypted, EDGES[2]: observed.store_encrypted}

        def edge(name: Edge) -> EdgeRow:
            tally = traffic.tallies[name]
            figures = tally.all(now) if whole else tally.recent(now)
            return EdgeRow(*name, figures, encrypted.get(name), inside=name[0] != VISITOR)

        control_plane = self._programs.all["kuma-cp"]
        trouble = control_plane.end if not control_plane.running else "" if observed.reachable else "does not answer"

        def proxy(name: str) -> ProxyRow:
            program = self._programs.all[name]
            return ProxyRow(
                name,
                program.pid,
                (observed.proxies or {}).get(name),
                "" if program.running else program.end,
                stale=bool(trouble),
            )

        running = timedelta(seconds=now - traffic.since)
        return Picture(
            now=now,
            clock=datetime.now(UTC),
            running=running,
            left=self._options.duration - running if self._options.duration else None,
            edges=[edge(name) for name in EDGES],
            proxies=[proxy(instance.name) for instance in self._layout.instances],
            control_plane=trouble,
            over=whole,
        )

    def _concluded(self, traffic: Traffic) -> int:
        """Say what it was worth; the exit code."""
        whole = self._picture(traffic, whole=True)
        self._screen.show([])
        self._screen.say(*table(whole)) if self._screen.live else self._screen.say(one_line(whole))
        if self._options.duration is None:
            return 0 if not self._screen.gone else self._stop.exit_code
        if self._stop.asked.is_set():
            self._screen.say(line("interrupted before the time was over"))
            return self._stop.exit_code
        ended = [f"{program.what} {program.end}" for program in self._programs.all.values() if not program.running]
        found = shortcomings(whole, ended)
        for sentence in found:
            self._screen.say(line(Span(f"not as it should be: {sentence}", Tone.BAD)))
        if not found:
            self._screen.say(line(Span("All calls succeeded, and those between services used mutual TLS.", Tone.GOOD)))
        return 1 if found else 0

    async def end(self) -> None:
        """End all programs: proxies first, what they serve next, the control plane last."""
        proxies = [instance.name for instance in self._layout.instances]
        others = [name for name in self._programs.all if name not in {*proxies, "kuma-cp"}]
        begun = self._clock()
        ending = asyncio.create_task(
            self._programs.end([proxies, [*others, "kuma-cp"]], _END_SECONDS, self._stop.hurry), name="end"
        )
        while not ending.done():
            self._screen.show([line(Span(f"ending all programs … {self._clock() - begun:.1f} s", Tone.FAINT))])
            await asyncio.wait({ending}, timeout=_SPIN_SECONDS)
        self._screen.show([])
        await ending
        self._screen.say(line(f"All programs have ended ({self._clock() - begun:.1f} s)."))
