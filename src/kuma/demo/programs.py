"""The programs of the demo as processes: started as a user does, each with a log, ended by their ids.

None outlives the demo: the kernel kills them when it dies, however it dies. They are in process groups of their own,
so that Ctrl-C in a terminal reaches only the demo, which then ends them in order.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, TypeVar

from kuma.demo.errors import NotInTime, ProgramFailed

MODULES: Final = {"kuma-cp": "kuma.cp.cli", "kuma-dp": "kuma.dp.cli", "kumactl": "kuma.ctl.cli"}
_PR_SET_PDEATHSIG: Final = 1
_TAIL_LINES: Final = 6
_TAIL_BYTES: Final = 16_384
_LONGEST_LINE: Final = 240
_PAUSE: Final = 0.05
_TOOL_SECONDS: Final = 30

T = TypeVar("T")


def command(program: str) -> list[str]:
    """How to start one of the three: the script installed beside our Python, else the module."""
    script = Path(sys.executable).parent / program
    return [str(script)] if os.access(script, os.X_OK) else [sys.executable, "-m", MODULES[program]]


def typed(program: str, env: Mapping[str, str]) -> list[str]:
    """What a user types in another terminal to start it."""
    words = command(program)
    if len(words) == 1:
        return [program] if shutil.which(program) == words[0] else words
    modules = env.get("PYTHONPATH", "")
    paths = os.pathsep.join(str(Path(one).absolute()) for one in modules.split(os.pathsep) if one)
    return ["env", f"PYTHONPATH={paths}", *words] if paths else words


def environment(given: Mapping[str, str], extra: Mapping[str, str]) -> dict[str, str]:
    """The user's environment without settings for other control planes and proxies, which would win over ours."""
    kept = {name: value for name, value in given.items() if not name.startswith("KUMA_")}
    return {**kept, "PYTHONUNBUFFERED": "1", **extra}


class Program:
    """A started program; ``what`` is how it is called in front of the user."""

    def __init__(self, what: str, log: Path, process: asyncio.subprocess.Process) -> None:
        self.what = what
        self.log = log
        self.stopping = False
        self._process = process

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process.returncode is None

    @property
    def end(self) -> str:
        """How it ended, in words."""
        code = self._process.returncode
        if code is None:
            return "is running"
        if code >= 0:
            return f"ended with exit code {code}"
        name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
        return f"was ended by {name}"

    def signal(self, number: signal.Signals) -> None:
        if self.running:
            with suppress(ProcessLookupError):
                self._process.send_signal(number)

    async def ended(self, seconds: float) -> bool:
        """Whether it ends within a time."""
        try:
            async with asyncio.timeout(seconds):
                await self._process.wait()
        except TimeoutError:
            return False
        return True

    async def kill(self) -> None:
        """End it and what it started, now."""
        if self.running:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
        await self._process.wait()

    def tail(self) -> str:
        """The last lines of its log, below each other and indented."""
        return tail(self.log)


def tail(log: Path) -> str:
    """The last lines of a log, below each other and indented; a sentence when there are none."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - _TAIL_BYTES))
            lines = file.read().decode(errors="replace").splitlines()[-_TAIL_LINES:]
    except OSError as error:
        return f"  (its log cannot be read: {error.strerror})"
    return "\n".join(f"  | {line[:_LONGEST_LINE]}" for line in lines) or "  (it wrote nothing)"


class Programs:
    """All that the demo has started, in order."""

    def __init__(self, logs: Path, env: Mapping[str, str]) -> None:
        self.all: dict[str, Program] = {}
        self.env = dict(env)
        self._logs = logs

    async def start(self, name: str, what: str, arguments: Sequence[str], **extra: str) -> Program:
        """
        Start a program; ``name`` is that of its log.

        Raises:
            ProgramFailed: it cannot be executed.
        """
        log = self._logs / f"{name}.log"
        try:
            with log.open("ab") as out:
                process = await asyncio.create_subprocess_exec(
                    *arguments,
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=subprocess.STDOUT,
                    env={**self.env, **extra},
                    process_group=0,
                    preexec_fn=_die_with_parent(),
                )
        except (OSError, subprocess.SubprocessError) as error:
            raise ProgramFailed(f"cannot start {arguments[0]}: {getattr(error, 'strerror', '') or error}") from error
        self.all[name] = Program(what, log, process)
        return self.all[name]

    async def tool(self, name: str, what: str, arguments: Sequence[str]) -> None:
        """
        Run a command that does something and ends.

        Raises:
            ProgramFailed: it failed.
            NotInTime: it did not end.
        """
        program = await self.start(name, what, arguments)
        if not await program.ended(_TOOL_SECONDS):
            raise NotInTime(f"{what} did not end within {_TOOL_SECONDS} s; the last lines it wrote:\n{program.tail()}")
        if program.end != "ended with exit code 0":
            raise ProgramFailed(f"{what} {program.end}; the last lines it wrote:\n{program.tail()}")
        del self.all[name]

    async def until(self, ready: Callable[[], Awaitable[T]], what: str, needed: Iterable[Program], seconds: float) -> T:
        """
        Ask again and again until the answer is true; the answer.

        Raises:
            ProgramFailed: one of the programs that are needed for it ended.
            NotInTime: it took too long.
        """
        needed = tuple(needed)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        while True:
            for program in needed:
                if not program.running:
                    raise ProgramFailed(f"{program.what} {program.end}; the last lines of its log:\n{program.tail()}")
            if answer := await ready():
                return answer
            if loop.time() > deadline:
                lines = "\n".join(f"{program.what}:\n{program.tail()}" for program in needed)
                raise NotInTime(f"{what}: not within {seconds:g} s; the last lines of the logs:\n{lines}")
            await asyncio.sleep(_PAUSE)

    async def end(self, groups: Iterable[Iterable[str]], seconds: float, hurry: asyncio.Event) -> None:
        """
        End groups of programs one after the other, then whatever is left; ``hurry`` ends the waiting.

        When it returns, none is running.
        """
        for group in groups:
            programs = [self.all[name] for name in group if name in self.all]
            for program in programs:
                program.stopping = True
                program.signal(signal.SIGTERM)
            await self._gone(programs, seconds, hurry)
        for program in self.all.values():
            await program.kill()

    @staticmethod
    async def _gone(programs: Sequence[Program], seconds: float, hurry: asyncio.Event) -> None:
        async def all_gone() -> None:
            for program in programs:
                await program.ended(seconds)

        waits = {asyncio.create_task(all_gone(), name="ends"), asyncio.create_task(hurry.wait(), name="hurry")}
        await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()
        await asyncio.wait(waits)


def _die_with_parent() -> Callable[[], None] | None:
    """What a child does before it becomes the program: ask the kernel to be killed when its parent dies."""
    if sys.platform != "linux":
        return None
    # Found before the fork, after which only plain system calls are safe; PyDLL, because it leaves the GIL alone.
    prctl = ctypes.PyDLL(None).prctl
    parent = os.getpid()

    def request_death() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died before the request
            os.kill(os.getpid(), signal.SIGKILL)

    return request_death
