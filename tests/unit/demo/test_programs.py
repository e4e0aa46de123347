"""Programs are started as a user does, watched, and never left behind."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from pathlib import Path

import pytest

from kuma.demo.errors import NotInTime, ProgramFailed
from kuma.demo.programs import Programs, command, environment, tail, typed

PATIENT = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(60)"]
STUBBORN = [
    sys.executable,
    "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)",
]


@pytest.fixture
def programs(tmp_path):
    """With logs of its own."""
    return Programs(tmp_path, environment(os.environ, {}))


async def _up(programs: Programs, *started) -> None:
    async def all_up() -> bool:
        return all(b"up" in program.log.read_bytes() for program in started)

    await programs.until(all_up, "they are up", started, 10)


def _gone(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists()


async def test_end_leaves_nothing(programs):
    """Groups end one after the other; when it returns none is there."""
    first = await programs.start("first", "the first", PATIENT)
    second = await programs.start("second", "the second", PATIENT)
    await _up(programs, first, second)

    await programs.end([["first"], ["second", "never started"]], 5, asyncio.Event())

    assert _gone(first.pid)
    assert _gone(second.pid)
    assert first.end == "was ended by SIGTERM"


async def test_who_does_not_end_is_killed(programs):
    """SIGTERM may be ignored; the time given is all it gets."""
    stubborn = await programs.start("stubborn", "the stubborn one", STUBBORN)
    await _up(programs, stubborn)

    await programs.end([["stubborn"]], 0.2, asyncio.Event())

    assert stubborn.end == "was ended by SIGKILL"


async def test_hurry_ends_the_waiting(programs):
    """After a second Ctrl-C nobody waits."""
    stubborn = await programs.start("stubborn", "the stubborn one", STUBBORN)
    await _up(programs, stubborn)
    hurry = asyncio.Event()
    hurry.set()
    begun = time.monotonic()

    await programs.end([["stubborn"]], 60, hurry)

    assert time.monotonic() - begun < 10
    assert _gone(stubborn.pid)


async def test_a_program_that_ends_while_it_is_needed(programs):
    """The wait ends at once, with the end of its log."""
    failing = [sys.executable, "-c", "import sys; print('Error: the port is taken'); sys.exit(3)"]
    program = await programs.start("failing", "kuma-cp", failing)

    async def never() -> bool:
        return False

    with pytest.raises(ProgramFailed) as refusal:
        await programs.until(never, "it is ready", [program], 10)

    assert str(refusal.value) == (
        "kuma-cp ended with exit code 3; the last lines of its log:\n  | Error: the port is taken"
    )


async def test_what_does_not_happen_in_time(programs):
    """It says what was waited for, and what the programs wrote."""
    program = await programs.start("slow", "kuma-dp of web", PATIENT)
    await _up(programs, program)

    async def never() -> bool:
        return False

    with pytest.raises(NotInTime, match=r"web is online: not within 0\.1 s(?s:.)*kuma-dp of web:\n  \| up"):
        await programs.until(never, "web is online", [program], 0.1)
    await programs.end([], 0, asyncio.Event())


async def test_a_tool_that_fails_is_quoted(programs):
    """The words of kumactl reach the user."""
    with pytest.raises(ProgramFailed, match=r"kumactl apply ended with exit code 1(?s:.)*Error: no such mesh"):
        await programs.tool("kumactl", "kumactl apply", [sys.executable, "-c", "exit('Error: no such mesh')"])


async def test_a_program_that_does_not_exist(programs, tmp_path):
    """Which one, and why."""
    with pytest.raises(ProgramFailed, match=r"cannot start .*absent: No such file"):
        await programs.start("absent", "absent", [str(tmp_path / "absent")])


def test_script_beside_python_else_module(tmp_path, monkeypatch):
    """An installation starts its scripts, a checkout its modules."""
    python = tmp_path / "python"
    monkeypatch.setattr(sys, "executable", str(python))
    assert command("kuma-dp") == [str(python), "-m", "kuma.dp.cli"]

    script = tmp_path / "kuma-dp"
    script.write_text("")
    script.chmod(0o755)
    assert command("kuma-dp") == [str(script)]


def test_what_a_user_types(tmp_path, monkeypatch):
    """The bare name if PATH finds the same script; in a checkout with what Python needs to find the module."""
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    assert typed("kumactl", {"PYTHONPATH": "src"})[:2] == ["env", f"PYTHONPATH={Path('src').absolute()}"]
    script = tmp_path / "kumactl"
    script.write_text("")
    script.chmod(0o755)
    assert typed("kumactl", {}) == [str(script)]
    monkeypatch.setenv("PATH", str(tmp_path))
    assert typed("kumactl", {}) == ["kumactl"]


def test_settings_for_other_control_planes_do_not_reach_ours():
    """A variable wins over a flag of kuma-dp, so that the user's own must not be passed on."""
    assert environment({"KUMA_CONTROL_PLANE_URL": "https://prod", "HOME": "/h"}, {"KUMA_READINESS_PORT": "1"}) == {
        "HOME": "/h",
        "PYTHONUNBUFFERED": "1",
        "KUMA_READINESS_PORT": "1",
    }


def test_tail_is_short(tmp_path):
    """A few lines, each of bearable length; also of a log that is empty or absent."""
    log = tmp_path / "log"
    log.write_text("".join(f"{number} {'x' * 1000}\n" for number in range(50)))

    assert len(tail(log).splitlines()) == 6
    assert max(map(len, tail(log).splitlines())) < 250
    log.write_text("")
    assert tail(log) == "  (it wrote nothing)"
    assert "No such file" in tail(tmp_path / "absent")
