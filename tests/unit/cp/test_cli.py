"""What kuma-cp says before it runs: one line, exit code 1."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


def _kuma_cp(home: Path, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("KUMA_")}
    return subprocess.run(
        [sys.executable, "-m", "kuma.cp.cli", *arguments],
        env={**inherited, "HOME": str(home), **environ},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "--foo"], "Error: No such option '--foo'.\n"),
        (["run", "--log-level", "loud"], "Error: Invalid value for '--log-level': 'loud' is not one of"),
        (["fly"], "Error: No such command 'fly'.\n"),
        (["run", "--config-file", "/nowhere/kuma-cp.yaml"], "Error: "),
    ],
)
def test_wrong_usage_is_one_line(tmp_path: Path, arguments: list[str], message: str) -> None:
    """Exit code 1 and no usage text after it."""
    result = _kuma_cp(tmp_path, *arguments)

    assert result.returncode == 1
    assert result.stderr.startswith(message)
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(("name", "value"), [("KUMA_ENVIRONMENT", "kubernetes"), ("KUMA_STORE_TYPE", "postgres")])
def test_what_is_not_built_says_so(tmp_path: Path, name: str, value: str) -> None:
    """Before the settings that only it needs are found missing."""
    result = _kuma_cp(tmp_path, "run", **{name: value})

    assert result.returncode == 1
    assert result.stderr.startswith(f"Error: {name}={value} is not built yet")


@pytest.mark.parametrize("before", [True, False])
def test_log_flags_stand_before_or_after_the_command(tmp_path: Path, before: bool) -> None:  # noqa: FBT001
    """As Kuma's persistent flags do."""
    flags = ["--log-output-path", str(tmp_path / "missing" / "kuma-cp.log")]

    result = _kuma_cp(tmp_path, *(flags if before else []), "run", *([] if before else flags))

    assert result.returncode == 1
    assert "the log file" in result.stderr
