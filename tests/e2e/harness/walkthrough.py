"""A page's walk-through, executed word by word as its reader would: one shell, one empty folder, default ports.

In the page a block marked ``sh {walkthrough}`` is executed once, ``sh {walkthrough, again}`` is repeated until the
block marked ``text {expect}`` below it fits: its reader, too, would ask again after a moment. A block marked
``sh {walkthrough, background}`` is left running, as in a terminal of its own. An expected line fits a line of the
output that contains it; ``…`` stands for anything, and runs of spaces for one.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Final

from tests.e2e.harness.processes import Program, command, environment
from tests.e2e.harness.waiting import wait_until

_BLOCK: Final = re.compile(r"^```(\w+)(?: \{([^}\n]*)\})?\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_PROGRAMS: Final = ("kuma-cp", "kuma-dp", "kumactl")
_NAMESPACE: Final = ("--net", "--pid", "--fork", "--kill-child")
# Raises the loopback interface, which a new namespace has down, and becomes the shell.
_LOOPBACK_UP: Final = (
    "import fcntl, os, socket, struct, sys; "
    "fcntl.ioctl(socket.socket(), 0x8914, struct.pack('16sh14x', b'lo', 0x1)); "
    "os.execvp(sys.argv[1], sys.argv[1:])"
)
_STEP_SECONDS: Final = 30.0
_PAUSE_SECONDS: Final = 0.3


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block of a page; ``line`` is where its text begins."""

    language: str
    marks: frozenset[str]
    text: str
    line: int


def blocks(text: str) -> list[Block]:
    """All fenced blocks, in order."""
    found = []
    for match in _BLOCK.finditer(text):
        language, marks, body = match.groups()
        line = text.count("\n", 0, match.start()) + 2
        found.append(Block(language, frozenset((marks or "").replace(" ", "").split(",")), body, line))
    return found


def steps(text: str) -> Iterator[tuple[Block, Block | None]]:
    """The blocks to execute, each with what is expected of it."""
    for block, following in pairwise([*blocks(text), Block("", frozenset(), "", 0)]):
        if "walkthrough" in block.marks:
            yield block, following if "expect" in following.marks else None


def missing(expected: str, output: str) -> str:
    """The first expected line that the output does not have after the lines before it; empty when it has all."""
    rest = iter(output.splitlines())
    for line in filter(None, map(str.strip, expected.splitlines())):
        parts = map(re.escape, re.split(r"\s*…\s*", re.sub(r"\s+", " ", line)))
        pattern = re.compile(".*".join(parts))
        if not any(pattern.search(re.sub(r"\s+", " ", given)) for given in rest):
            return line
    return ""


def walk(shell: Shell, page: Path, *, until: str = "") -> None:
    """
    Execute a page's walk-through, all of it or up to a line that begins with ``until``.

    Raises:
        AssertionError: a command fails, or does not show what the page says it shows.
    """
    text = page.read_text()
    for block, expected in steps(text[: text.index(f"\n{until}")] if until else text):
        deadline = time.monotonic() + _STEP_SECONDS
        while True:
            code, output = shell.execute(_left_running(block) if "background" in block.marks else block)
            lacking = missing(expected.text, output) if expected else ""
            if not lacking or "again" not in block.marks or time.monotonic() > deadline:
                break
            time.sleep(_PAUSE_SECONDS)
        where = f"{page.name} line {block.line}"
        assert not lacking, f"{where}: the output lacks {lacking!r}\n{output}\n{shell.explain()}"
        assert code == 0, f"{where}: exit code {code}\n{output}\n{shell.explain()}"
        assert "Traceback" not in output


def _left_running(block: Block) -> Block:
    return replace(block, text=f"{{\n{block.text}}} > line-{block.line}.log 2>&1 &\n")


class Shell:
    """The reader's shell, which keeps its folder, its variables and its background jobs from block to block."""

    def __init__(self, directory: Path, prefix: Sequence[str]) -> None:
        """``prefix`` goes before the shell's command, as ``alone`` gives it."""
        self._directory = directory
        self._alone = bool(prefix)
        home = directory / "home"
        home.mkdir()
        env = environment(home, {})
        programs = _programs(directory / "programs")
        env["PATH"] = os.pathsep.join((str(programs), env["PATH"]))
        self._blocks = 0
        self._log = directory / "shell.log"
        self._feed = directory / "commands"
        os.mkfifo(self._feed)
        # Opened for both so that neither side waits for the other.
        self._commands = os.open(self._feed, os.O_RDWR | os.O_CLOEXEC)
        script = f'cd "{home}"; while read -r block <&3; do . "$block" </dev/null; echo $? > "$block.code"; done'
        bash = ["bash", "--noprofile", "--norc", "-c", f'exec 3< "{self._feed}"; {script}']
        self.program = Program([*prefix, *bash], log=self._log, env=env)

    def execute(self, block: Block, *, seconds: float = _STEP_SECONDS) -> tuple[int, str]:
        """The exit code of a block's last command, and what the block wrote."""
        self._blocks += 1
        path = self._directory / f"block-{self._blocks}"
        path.write_text(block.text)
        code = path.with_name(path.name + ".code")
        before = len(self.program.log())
        os.write(self._commands, f"{path}\n".encode())
        wait_until(
            lambda: code.exists() and code.read_text().strip(),
            f"the block of line {block.line} ends",
            seconds=seconds,
            explain=self.explain,
        )
        return int(code.read_text()), self.program.log()[before:]

    def explain(self) -> str:
        """The logs, for the message of a failed test."""
        logs = sorted(self._directory.glob("home/*/*.log"))
        return "\n".join((self.program.tail(30), *(f"--- {log.name}\n{_end(log)}" for log in logs)))

    def close(self) -> None:
        """End the shell and everything that the walk-through started and did not end."""
        self.program.close()
        if not self._alone:  # with a namespace its processes end, and their ids mean nothing here
            for file in self._directory.glob("home/*/*.pid"):
                _kill(int(file.read_text()))
        os.close(self._commands)


def _end(log: Path) -> str:
    return "\n".join(line[:300] for line in log.read_text(errors="replace").splitlines()[-15:])


def _kill(pid: int) -> None:
    """End a program of the walk-through, if it still is one."""
    try:
        command_line = Path(f"/proc/{pid}/cmdline").read_bytes()
        if b"kuma" in command_line or b"app.py" in command_line:
            os.kill(pid, signal.SIGKILL)
    except OSError:
        return


def _programs(directory: Path) -> Path:
    """The three programs as installed, or scripts that stand for them in a checkout that is not installed."""
    directory.mkdir()
    for name in _PROGRAMS:
        script = directory / name
        script.write_text(f'#!/bin/sh\nexec {" ".join(command(name))} "$@"\n')
        script.chmod(0o755)
    return directory


def alone() -> tuple[str, ...]:
    """What goes before a command to give it a network of its own; empty where the system allows none."""
    if shutil.which("unshare") is None:
        return ()
    for rights in ((), ("--map-root-user",)):
        prefix = ("unshare", *rights, *_NAMESPACE, "--", sys.executable, "-c", _LOOPBACK_UP)
        if subprocess.run([*prefix, "true"], capture_output=True, timeout=20, check=False).returncode == 0:
            return prefix
    return ()
