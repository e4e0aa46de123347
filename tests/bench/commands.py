"""What the commands themselves cost: kumactl, kuma-dp until its Envoy starts, and the demo for a newcomer."""

from __future__ import annotations

import resource
import subprocess
import time
from pathlib import Path
from typing import Final

from tests.bench import mesh
from tests.bench.envoys import RealProxy
from tests.bench.system import ControlPlane
from tests.e2e.harness import checkout
from tests.e2e.harness.processes import command, environment

_WITHIN: Final = 30.0
_PAUSE: Final = 0.002
_FIRST_REQUEST: Final = "The first request over mutual TLS"
_NEWCOMER_WITHIN: Final = 150.0


def run(times: int, directory: Path) -> list[dict[str, float]]:
    """Each so many times, against a control plane with one mesh."""
    control_plane = ControlPlane(directory)
    runs: list[dict[str, float]] = []
    try:
        control_plane.start()
        control_plane.put(f"/meshes/{mesh.MESH}", mesh.mutual_tls())
        _kumactl(directory, "config", "control-planes", "add", "--name=bench", f"--address={control_plane.url}")
        for number in range(times):
            figures = {
                "kumactl --help: CPU (ms)": _kumactl(directory, "--help") * 1000,
                "kumactl get meshes: CPU (ms)": _kumactl(directory, "get", "meshes") * 1000,
            }
            started, memory = _kuma_dp(control_plane, directory / f"proxy-{number}", number)
            figures["kuma-dp: from its start to that of Envoy (s)"] = started
            figures["kuma-dp: memory without Envoy (MB)"] = memory
            runs.append(figures)
    finally:
        control_plane.close()
    return runs


def newcomer(directory: Path) -> dict[str, float]:
    """From the copy of the sources to the first request over mutual TLS, installation included; an empty home."""
    temporary = directory / "t"
    temporary.mkdir()
    begun = time.monotonic()
    checkout.copy(directory / "kuma")
    demo = checkout.demo(directory / "kuma", directory, temporary)
    try:
        demo.wait_for_log(_FIRST_REQUEST, seconds=_NEWCOMER_WITHIN)
        figures = {"make demo in a fresh checkout: first request over mTLS (s)": time.monotonic() - begun}
        assert demo.wait(seconds=_NEWCOMER_WITHIN) == 0, demo.tail()
        return figures
    finally:
        demo.close()


def _kumactl(home: Path, *arguments: str) -> float:
    """CPU-seconds of one call."""
    before = _of_children()
    subprocess.run(
        [*command("kumactl"), *arguments], env=environment(home, {}), cwd=home, check=True, capture_output=True
    )
    return _of_children() - before


def _of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _kuma_dp(control_plane: ControlPlane, directory: Path, number: int) -> tuple[float, float]:
    """Seconds until Envoy starts, and resident megabytes once it serves."""
    proxy = RealProxy(control_plane, directory, number, 1)
    try:
        begun = time.monotonic()
        proxy.launch()
        while not proxy.has_envoy:
            assert time.monotonic() - begun < _WITHIN, "Envoy does not start"
            time.sleep(_PAUSE)
        started = time.monotonic() - begun
        while not proxy.ready:
            assert time.monotonic() - begun < _WITHIN, "the proxy does not get ready"
            time.sleep(_PAUSE)
        return started, proxy.own_memory
    finally:
        proxy.close()
