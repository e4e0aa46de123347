"""The benchmark in small: what must hold on any machine, however slow. Times are `make bench`'s business."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.e2e.harness.processes import ROOT


@pytest.mark.timeout(240)
@pytest.mark.parametrize("dialect", ["delta", "sotw"])
def test_a_hundred_proxies_get_all_they_need_and_nothing_else(dialect: str):
    """
    The command of the benchmark, in short.

    Everyone is configured, a policy for one service reaches nobody else, a restarted control plane re-sends nothing.
    The last is a promise of the delta dialect only.
    """
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.run", "--check", "--runs=1", "--proxies=100", f"--dialect={dialect}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=220,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "pushes to others | 0 |" in done.stdout
