"""A program as a user starts it: a process with a log, ended by its id together with what it started."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import sysconfig
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from tests.e2e.harness.waiting import wait_until

ROOT: Final = Path(__file__).parents[3]
_MODULES: Final = {"kuma-cp": "kuma.cp.cli", "kuma-dp": "kuma.dp.cli", "kumactl": "kuma.ctl.cli"}
_TRACE: Final = ("Traceback (most recent call last)", "Task exception was never retrieved", "was never awaited")


def command(program: str) -> list[str]:
    """How to start one of the three: the installed script, else the module."""
    script = Path(sysconfig.get_path("scripts")) / program
    return [str(script)] if script.exists() else [sys.executable, "-m", _MODULES[program]]


def environment(home: Path, extra: Mapping[str, str]) -> dict[str, str]:
    """A clean environment: nothing of the user's settings, a home of its own, our programs on PATH."""
    kept = {name: os.environ[name] for name in ("LANG", "LC_ALL", "TZ", "COVERAGE_PROCESS_START") if name in os.environ}
    path = os.pathsep.join((sysconfig.get_path("scripts"), os.environ.get("PATH", os.defpath)))
    return {**kept, "PATH": path, "HOME": str(home), "PYTHONPATH": str(ROOT / "src"), "PYTHONUNBUFFERED": "1", **extra}


class Program:
    """A running process. Its output goes to a file; a second start with the same file appends."""

    def __init__(self, arguments: Sequence[str], *, log: Path, env: Mapping[str, str], stdin: str = "") -> None:
        self.arguments = tuple(arguments)
        self._log = log
        self._start_of_log = log.stat().st_size if log.exists() else 0
        # Should the tests be killed, their processes must not stay.
        guard = ["setpriv", "--pdeathsig", "KILL", "--"] if shutil.which("setpriv") else []
        with log.open("ab") as out:
            self._process = subprocess.Popen(
                [*guard, *arguments],
                env=dict(env),
                cwd=log.parent,
                stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        if stdin and self._process.stdin:
            self._process.stdin.write(stdin.encode())
            self._process.stdin.close()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    @property
    def exit_code(self) -> int | None:
        return self._process.poll()

    @property
    def cpu_seconds(self) -> float:
        """How much processor time it has used."""
        status = _status(self.pid)
        return (int(status[11]) + int(status[12])) / os.sysconf("SC_CLK_TCK")

    def log(self) -> str:
        """What this start of the program has written."""
        with self._log.open("rb") as file:
            file.seek(self._start_of_log)
            return file.read().decode(errors="replace")

    def tail(self, lines: int = 10) -> str:
        """The end of the log, for messages of failed tests."""
        state = "running" if self.running else f"ended with {self.exit_code}"
        return "\n".join((f"--- {self._log} ({state})", *(line[:260] for line in self.log().splitlines()[-lines:])))

    def wait_for_log(self, text: str, *, seconds: float = 20) -> str:
        """The first line with a text, once it is there."""

        def found() -> str:
            return next((line for line in self.log().splitlines() if text in line), "")

        return wait_until(found, f"{text!r} in the log", seconds=seconds, explain=self.tail)

    def signal(self, number: signal.Signals) -> None:
        if self.running:
            self._process.send_signal(number)

    def wait(self, *, seconds: float) -> int:
        """The exit code, once the program has ended by itself."""
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired as error:
            raise AssertionError(f"{self.arguments[0]} did not end within {seconds:g} s\n{self.tail()}") from error

    def terminate(self, *, seconds: float = 15) -> int:
        """Ask it to end, as a process manager does; the exit code."""
        self.signal(signal.SIGTERM)
        return self.wait(seconds=seconds)

    def kill(self) -> None:
        """``kill -9``: no farewell."""
        self.signal(signal.SIGKILL)
        self._process.wait()

    def close(self) -> None:
        """End it and all it started, whatever state they are in."""
        family = {self.pid, *descendants(self.pid)} if self.running else set()
        self.kill()
        for pid in family:
            try:
                wait_until(lambda pid=pid: not _alive(pid), f"process {pid} is gone", seconds=1)  # type: ignore[misc] # a bound default
            except AssertionError:
                os.kill(pid, signal.SIGKILL)

    def assert_clean_log(self) -> None:
        """No traceback ever reaches a user."""
        for sign in _TRACE:
            assert sign not in self._log.read_text(errors="replace"), self.tail(200)


def descendants(pid: int) -> list[int]:
    """The processes a process started, and those that they started."""
    children = [child for child in _all() if _parent(child) == pid]
    return [*children, *(below for child in children for below in descendants(child))]


def _all() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal()]


def _status(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _parent(pid: int) -> int:
    status = _status(pid)
    return int(status[1]) if status else 0


def _alive(pid: int) -> bool:
    status = _status(pid)
    return bool(status) and status[0] != "Z"
