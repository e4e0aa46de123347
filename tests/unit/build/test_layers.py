"""The house keeps its shape: the contracts of pyproject.toml, proven where every test runs."""

import os
import subprocess
import sys
from pathlib import Path

_ROOT = Path(__file__).parents[3]


def test_the_core_stays_pure_and_the_programs_apart():
    """The core touches no IO, kuma-cp, kuma-dp and kumactl share nothing but the core, no policy knows another."""
    result = subprocess.run(
        [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"],
        cwd=_ROOT,
        env={**os.environ, "PYTHONPATH": str(_ROOT / "src")},
        capture_output=True,
        text=True,
        check=False,
    )

    assert result.returncode == 0, result.stdout
