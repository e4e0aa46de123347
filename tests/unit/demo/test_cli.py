"""What the command says before it starts anything."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import kuma


def _demo(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "kuma.demo.cli", *arguments],
        env={**os.environ, "PYTHONPATH": str(Path(kuma.__file__).parents[1])},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_help_loads_no_server():
    """One screen of help."""
    done = _demo("--help")

    assert done.returncode == 0
    assert all(flag in done.stdout for flag in ("--duration", "--keep", "--plain"))


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["--duration", "60"], "missing unit"),
        (["--duration", "0s"], "longer than nothing"),
        (["--durations", "3s"], "--durations"),
        (["now"], "now"),
    ],
)
def test_a_wrong_flag_is_one_sentence(arguments, said):
    """Exit code 1, no usage, no trace."""
    done = _demo(*arguments)

    assert done.returncode == 1
    assert done.stderr.startswith("Error: ")
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1
