"""The walk-through by hand works as it is written: every command of the text is typed, every output is seen."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.harness.api import Api
from tests.e2e.harness.ports import free_port
from tests.e2e.harness.processes import Program, command, environment
from tests.e2e.harness.waiting import wait_until
from tests.e2e.harness.walkthrough import Step, steps

TEXT = Path(__file__).parent / "quickstart.md"


class Terminals:
    """A reader at the keyboard of one machine, in one directory."""

    def __init__(self, directory: Path, ports: dict[str, str]) -> None:
        self.directory = directory
        self.programs: list[Program] = []
        self._ports = ports
        home = directory / "home"
        home.mkdir()
        self._env = environment(
            home,
            {
                "KUMA_API_SERVER_HTTP_PORT": ports["5681"],
                "KUMA_API_SERVER_HTTPS_PORT": str(free_port()),
                "KUMA_DP_SERVER_PORT": ports["5678"],
                "KUMA_DIAGNOSTICS_SERVER_PORT": str(free_port()),
                "KUMA_MONITORING_ASSIGNMENT_SERVER_PORT": str(free_port()),
                "KUMA_INTER_CP_SERVER_PORT": str(free_port()),
            },
        )
        tools = directory / "bin"
        tools.mkdir()
        for name in ("kuma-cp", "kuma-dp", "kumactl"):
            script = tools / name
            script.write_text(f'#!/bin/sh\nexec {" ".join(command(name))} "$@"\n')
            script.chmod(0o755)
        (tools / "python3").symlink_to(sys.executable)
        self._env["PATH"] = f"{tools}:{self._env['PATH']}"

    def leave_running(self, step: Step) -> None:
        log = self.directory / f"terminal-{len(self.programs)}.log"
        self.programs.append(Program(["sh", "-c", f"exec {step.command}"], log=log, env=self._env))

    def run(self, step: Step) -> str:
        done = subprocess.run(
            ["sh", "-c", step.command],
            env=self._env,
            cwd=self.directory,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert done.returncode == 0, f"{step.command}\n{done.stdout}{done.stderr}"
        assert "Traceback" not in done.stderr
        return done.stdout

    def type(self, step: Step) -> None:
        """Do one step, and see what the text says is seen."""
        if step.stays:
            self.leave_running(step)
        elif step.repeatable:
            wait_until(lambda: step.shown_by(self.run(step)), f"{step.command} shows {step.shows}", explain=self.tails)
        else:
            output = self.run(step)
            assert step.shown_by(output), f"{step.command}\n{output}"

    def tails(self) -> str:
        return "\n".join(program.tail() for program in self.programs)

    def close(self) -> None:
        for program in reversed(self.programs):
            program.close()


@pytest.fixture
def ports() -> dict[str, str]:
    """A free port for each that the text uses."""
    return {port: str(free_port()) for port in ("5681", "5678", "9000", "9001", "10000", "10001", "20000")}


@pytest.fixture
def terminals(tmp_path: Path, ports: dict[str, str]) -> Iterator[Terminals]:
    """Ended after the test with all that runs in them."""
    terminals = Terminals(tmp_path, ports)
    yield terminals
    terminals.close()


def test_every_command_of_the_text_does_what_it_says(terminals: Terminals, ports: dict[str, str]):
    """Two services, tokens, mutual TLS, deny, allow: as a reader types them."""
    control_plane = Api(int(ports["5681"]))

    for step in steps(TEXT.read_text(), ports):
        terminals.type(step)
        if step.command.startswith("kuma-cp run"):
            wait_until(lambda: control_plane.get("/"), "the control plane answers", explain=terminals.tails)

    assert len(terminals.programs) == 4
    for program in terminals.programs:
        assert program.running, program.tail()
        program.assert_clean_log()
