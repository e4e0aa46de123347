"""kuma-demo as a newcomer and as a script runs it: traffic flows over mutual TLS, and nothing is left behind."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.harness import checkout
from tests.e2e.harness.processes import ROOT, Program, descendants, environment
from tests.e2e.harness.waiting import wait_until

pytestmark = pytest.mark.timeout(180)

START_SECONDS = 90  # many proxies start at once, on a machine that runs other tests
DEMO = [sys.executable, "-m", "kuma.demo.cli"]
BLOCK = re.compile(r"^```sh\n(.*?)^```$(?:\n\n^```text\n(.*?)^```$)?", re.DOTALL | re.MULTILINE)
FLOWED = "All calls succeeded, and those between services used mutual TLS."


class Place:
    """A home and a place for temporary files; its name is short, because there will be sockets in it."""

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="demo-"))
        self.temporary = self.directory / "t"
        self.temporary.mkdir()
        self.env = environment(self.directory, {"TMPDIR": str(self.temporary)})
        self.demos: list[Program] = []

    def demo(self, *flags: str) -> Program:
        log = self.directory / f"demo-{len(self.demos)}.log"
        self.demos.append(Program([*DEMO, *flags], log=log, env=self.env))
        return self.demos[-1]

    def assert_nothing_left(self) -> None:
        """No file, and no process that was told a file of ours."""
        assert list(self.temporary.iterdir()) == []
        mark = str(self.temporary).encode()
        own = {os.getpid(), *descendants(os.getpid())}
        everybody = [entry for entry in Path("/proc").iterdir() if entry.name.isdecimal()]
        left = [entry.name for entry in everybody if int(entry.name) not in own and mark in _environ(entry)]
        assert left == []

    def close(self) -> None:
        for demo in self.demos:
            demo.close()
        shutil.rmtree(self.directory)


def _environ(process: Path) -> bytes:
    """What a process was started with: all that the demo starts inherit where temporary files go."""
    try:
        return (process / "environ").read_bytes()
    except OSError:
        return b""


@pytest.fixture
def place() -> Iterator[Place]:
    """Ended and removed after the test."""
    place = Place()
    yield place
    place.close()


def _family(demo: Program) -> list[int]:
    return descendants(demo.pid)


def _assert_gone(pids: list[int]) -> None:
    wait_until(lambda: not [pid for pid in pids if Path(f"/proc/{pid}").exists()], "all have ended", seconds=5)


def test_a_script_runs_it_for_a_while(place: Place):
    """Exit code 0, because calls flowed, none failed, and mutual TLS was seen on both edges; then nothing is left."""
    demo = place.demo("--duration", "15s", "--plain")
    demo.wait_for_log(" 5.0 s  |", seconds=START_SECONDS)
    family = _family(demo)

    assert demo.wait(seconds=40) == 0, demo.tail(30)

    log = demo.log()
    summary = next(line for line in reversed(log.splitlines()) if "web->api" in line)
    assert FLOWED in log
    assert re.search(r"The first request over mutual TLS was answered \d+\.\d s after the start", log)
    assert re.search(r"web->api \d+\.\d/s .* errors 0 mTLS yes .*web->kv \d+\.\d/s .* errors 0 mTLS yes", summary)
    assert "proxies online 4/4" in summary
    assert "\x1b" not in log
    demo.assert_clean_log()
    assert len(family) >= 13, "a control plane, four applications, four kuma-dp, four Envoys"
    _assert_gone(family)
    place.assert_nothing_left()


def test_a_newcomer_has_a_checkout_and_nothing_else(place: Place):
    """``make demo`` makes what it needs beside the sources, and traffic flows over mutual TLS."""
    sources = place.directory / "kuma"
    try:
        checkout.copy(sources)
    except checkout.NoCheckout as error:
        pytest.skip(f"these sources are no checkout of git: {error}")
    demo = checkout.demo(sources, place.directory, place.temporary)
    place.demos.append(demo)

    assert demo.wait(seconds=150) == 0, demo.tail(30)

    assert FLOWED in demo.log()
    assert (sources / "src/kuma/envoy_api").is_dir(), "it ran from its own sources"
    place.assert_nothing_left()


@pytest.mark.parametrize("moment", ["kuma-demo: a mesh", "tokens"])
def test_interrupted_during_the_start(place: Place, moment: str):
    """Ctrl-C while programs are starting: exit code 130, soon, and nothing is left."""
    demo = place.demo("--plain")
    demo.wait_for_log(moment, seconds=START_SECONDS)
    family = wait_until(lambda: _family(demo), "it has started something")

    demo.signal(signal.SIGINT)

    assert demo.wait(seconds=20) == 130, demo.tail(30)
    demo.assert_clean_log()
    _assert_gone(family)
    place.assert_nothing_left()


def test_two_at_the_same_time(place: Place):
    """Each has ports and a directory of its own; both succeed."""
    demos = [place.demo("--duration", "8s", "--plain") for _ in range(2)]

    codes = [demo.wait(seconds=START_SECONDS + 30) for demo in demos]

    assert codes == [0, 0], "\n".join(demo.tail(30) for demo in demos)
    urls = [re.findall(r"Open (http://127\.0\.0\.1:\d+/)", demo.log()) for demo in demos]
    assert urls[0] != urls[1]
    place.assert_nothing_left()


def test_killed_without_mercy(place: Place):
    """``kill -9``: the kernel ends all programs; only the directory stays."""
    demo = place.demo("--plain")
    demo.wait_for_log("Open http", seconds=START_SECONDS)
    family = _family(demo)

    demo.kill()

    assert len(family) >= 13
    _assert_gone(family)
    assert len(list(place.temporary.iterdir())) == 1


def test_an_envoy_that_does_not_work(place: Place):
    """A sentence says which program ended and why, with its last words; nothing is left."""
    broken = place.directory / "envoy"
    broken.write_text("#!/bin/sh\nexit 1\n")
    broken.chmod(0o755)
    place.env["PATH"] = f"{place.directory}:{place.env['PATH']}"
    demo = place.demo("--plain")

    assert demo.wait(seconds=START_SECONDS) == 1

    said = demo.log()
    assert re.search(r"Error: kuma-dp of \S+ ended with exit code 1; the last lines of its log:\n  \| ", said), said
    assert "is no Envoy" in said
    demo.assert_clean_log()
    place.assert_nothing_left()


class Reader:
    """Types what a text says, in a second terminal."""

    def __init__(self, place: Place, demo: Program) -> None:
        first = demo.wait_for_log("kuma-demo: a mesh", seconds=START_SECONDS)
        self.directory = first.split()[-1]
        tools = place.directory / "bin"
        tools.mkdir()
        for name, module in (("kumactl", "kuma.ctl.cli"), ("kuma-demo", "kuma.demo.cli")):
            script = tools / name
            script.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m {module} "$@"\n')
            script.chmod(0o755)
        self.env = {**place.env, "DEMO": self.directory, "PATH": f"{tools}:{place.env['PATH']}"}

    def type(self, command: str) -> str:
        done = subprocess.run(
            ["sh", "-c", command], env=self.env, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        return done.stdout

    def see(self, command: str, lines: str) -> None:
        """Type a command and see the lines; looking may be repeated until a change has arrived."""
        patterns = [r" +".join(map(re.escape, line.split())) for line in lines.splitlines()]
        shown = re.compile(r"[\s\S]*".join(patterns))
        if " inspect " in command:
            wait_until(lambda: shown.search(self.type(command)), f"{command} shows {lines}")
        else:
            output = self.type(command)
            assert shown.search(output), f"{command}\n{output}"


@pytest.mark.timeout(300)
def test_all_that_is_advised(place: Place):
    """Every command of the documentation and every command the demo prints does what it says; the demo goes on."""
    demo = place.demo("--plain")
    reader = Reader(place, demo)
    demo.wait_for_log("kill ", seconds=START_SECONDS)

    documented = BLOCK.findall((ROOT / "docs/demo.md").read_text())
    assert len(documented) == 8
    for command, lines in documented:
        if command != "kuma-demo\n":
            reader.see(command, lines)
        if "deny.yaml" in command:
            wait_until(lambda: not re.search(r"you->web \S+ .* errors 0 ", demo.log().splitlines()[-1]), "errors show")
    advised = re.findall(r"  # .*\n  (.*)\n", demo.log())
    assert len(advised) == 6
    for command in advised:
        reader.type(command)

    demo.wait_for_log("kuma-dp of api-2 ended with exit code 0")
    wait_until(lambda: "proxies online 3/4" in demo.log().splitlines()[-1], "three are left", seconds=15)
    demo.signal(signal.SIGTERM)
    assert demo.wait(seconds=20) == 0, demo.tail(30)
    demo.assert_clean_log()
    place.assert_nothing_left()
