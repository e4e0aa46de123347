"""``kumactl`` as a user runs it."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.harness.processes import command, environment


@dataclass(frozen=True, slots=True)
class Result:
    """What a command left behind."""

    code: int
    out: str
    err: str

    def __post_init__(self) -> None:
        assert "Traceback" not in self.out + self.err, self.err


@dataclass(frozen=True, slots=True)
class Kumactl:
    """Runs against one control plane, with a home directory of its own; ``prefix`` goes before every command."""

    home: Path
    env: Mapping[str, str]
    prefix: tuple[str, ...] = ()

    def run(self, *arguments: str, stdin: str = "", seconds: float = 30) -> Result:
        """Run a command; any exit code is an answer."""
        done = subprocess.run(
            [*self.prefix, *command("kumactl"), *arguments],
            env=environment(self.home, self.env),
            cwd=self.home,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
        return Result(done.returncode, done.stdout, done.stderr)

    def __call__(self, *arguments: str, stdin: str = "") -> str:
        """Run a command that must succeed; what it printed."""
        result = self.run(*arguments, stdin=stdin)
        assert result.code == 0, f"kumactl {' '.join(arguments)}: exit code {result.code}\n{result.out}{result.err}"
        return result.out

    def apply(self, document: str) -> str:
        return self("apply", "-f", "-", stdin=document)

    def connect(self, url: str) -> None:
        self("config", "control-planes", "add", "--name", "test", "--address", url, "--overwrite")
