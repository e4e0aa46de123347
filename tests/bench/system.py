"""The control plane under test as a process, and what the kernel says it costs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from tests.e2e.harness.api import Answer, Api
from tests.e2e.harness.ports import free_port
from tests.e2e.harness.processes import ROOT, Program, command, environment

_TICK: Final = os.sysconf("SC_CLK_TCK")
_PAUSE: Final = 0.005


class ControlPlane:
    """``kuma-cp run`` with the settings it comes with, but for ports and the work directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._work = directory / "work"
        http_port, self.dp_port, diagnostics_port = free_port(), free_port(), free_port()
        self.api = Api(http_port, timeout=60)
        self._diagnostics = Api(diagnostics_port, timeout=5)
        self._settings = {
            "KUMA_API_SERVER_HTTP_PORT": str(http_port),
            "KUMA_API_SERVER_HTTPS_PORT": str(free_port()),
            "KUMA_DP_SERVER_PORT": str(self.dp_port),
            "KUMA_DIAGNOSTICS_SERVER_PORT": str(diagnostics_port),
            "KUMA_GENERAL_WORK_DIR": str(self._work),
        }
        self._program: Program | None = None

    @property
    def ca_file(self) -> Path:
        """What clients verify it with."""
        return self._work / "ca.crt"

    @property
    def url(self) -> str:
        """Where kumactl finds it."""
        return f"http://localhost:{self.api.port}"

    @property
    def pid(self) -> int:
        assert self._program is not None
        return self._program.pid

    def start(self, *, within: float = 60) -> float:
        """Start and wait until it is ready; the seconds it took."""
        begun = time.monotonic()
        self._program = Program(
            [*command("kuma-cp"), "run"],
            log=self._directory / "kuma-cp.log",
            env=environment(self._directory, self._settings),
        )
        while time.monotonic() - begun < within:
            if not self._program.running:
                break
            try:
                if self._diagnostics.request("GET", "/ready").status == 200:
                    return time.monotonic() - begun
            except OSError:
                pass
            time.sleep(_PAUSE)
        raise AssertionError(f"kuma-cp is not ready\n{self._program.tail()}")

    def stop(self) -> None:
        """End it as a process manager does."""
        assert self._program is not None
        self._program.terminate(seconds=30)

    def close(self) -> None:
        """End it in any case."""
        if self._program is not None:
            self._program.close()

    def put(self, path: str, document: Mapping[str, Any]) -> float:
        """Create or replace; when the answer came."""
        return self._expect_success(self.api.put(path, document))

    def post(self, path: str, document: Mapping[str, Any]) -> str:
        """The text of the answer."""
        answer = self.api.post(path, document)
        self._expect_success(answer)
        return answer.text

    def cpu(self) -> float:
        """CPU-seconds of the process since its start."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICK

    def memory(self) -> float:
        """Resident megabytes."""
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) / 1024

    def metric(self, name: str) -> float:
        """The sum of a metric over all its labels."""
        lines = self._diagnostics.request("GET", "/metrics").text.splitlines()
        values = [float(line.rpartition(" ")[2]) for line in lines if line.startswith((f"{name} ", f"{name}{{"))]
        assert values, f"there is no metric {name}"
        return sum(values)

    def _expect_success(self, answer: Answer) -> float:
        now = time.monotonic()
        assert answer.status in {200, 201}, f"{answer.status} {answer.text[:500]}"
        return now


class Fleet:
    """The fleet's process (``tests.bench.fleet``)."""

    def __init__(self, control_plane: ControlPlane, proxies: list[dict[str, str]], *, delta: bool) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.bench.fleet"],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT / "src"), str(ROOT)))},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        settings = {
            "port": control_plane.dp_port,
            "ca_file": str(control_plane.ca_file),
            "delta": delta,
            "proxies": proxies,
        }
        self._write(settings)

    def order(self, do: str, **details: Any) -> dict[str, Any]:
        """Give an order and wait until it is carried out."""
        self.begin(do, **details)
        return self.answer()

    def begin(self, do: str, **details: Any) -> None:
        """Give an order; ``answer`` has to follow."""
        self._write({"do": do, **details})

    def answer(self) -> dict[str, Any]:
        """What came of the order."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the fleet's process ended"
        answer: dict[str, Any] = json.loads(line)
        return answer

    @property
    def answers_on(self) -> int:
        """The file that becomes readable when the answer is there."""
        assert self._process.stdout is not None
        return self._process.stdout.fileno()

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.communicate()

    def _write(self, line: Mapping[str, Any]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(line) + "\n")
        self._process.stdin.flush()
