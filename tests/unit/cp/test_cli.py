"""What kuma-cp says before it runs: one line, exit code 1."""

from __future__ import annotations

import os
import resource
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
        (["run", "--foo"], "Error: No such option '--foo'; see \"kuma-cp run --help\"\n"),
        (["run", "--log-level", "loud"], "Error: Invalid value for '--log-level': 'loud' is not one of"),
        (["fly"], "Error: No such command 'fly'; see \"kuma-cp --help\"\n"),
        (["run", "--config-file", "/nowhere/kuma-cp.yaml"], "Error: "),
    ],
)
def test_wrong_usage_is_one_line(tmp_path: Path, arguments: list[str], message: str) -> None:
    """Exit code 1 and no usage text after it."""
    result = _kuma_cp(tmp_path, *arguments)

    assert result.returncode == 1
    assert result.stderr.startswith(message)
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("environ", "text", "message"),
    [
        ({"KUMA_ENVIRONMENT": "kubernetes"}, "", "environment kubernetes (KUMA_ENVIRONMENT) is not built yet"),
        ({"KUMA_STORE_TYPE": "postgres"}, "", "store.type postgres (KUMA_STORE_TYPE) is not built yet"),
        ({}, "environment: kubernetes", "environment kubernetes (KUMA_ENVIRONMENT) is not built yet"),
        ({}, "STORE: {type: kubernetes}", "store.type kubernetes (KUMA_STORE_TYPE) is not built yet"),
    ],
)
def test_what_is_not_built_says_so(tmp_path: Path, environ: dict[str, str], text: str, message: str) -> None:
    """Before the settings that only it needs are found missing."""
    file = tmp_path / "kuma-cp.yaml"
    file.write_text(text)

    result = _kuma_cp(tmp_path, "run", "-c", str(file), **environ)

    assert result.returncode == 1
    assert result.stderr.startswith(f"Error: {message}")


@pytest.mark.parametrize("before", [True, False])
def test_log_flags_stand_before_or_after_the_command(tmp_path: Path, before: bool) -> None:  # noqa: FBT001
    """As Kuma's persistent flags do."""
    flags = ["--log-output-path", str(tmp_path / "missing" / "kuma-cp.log")]

    result = _kuma_cp(tmp_path, *(flags if before else []), "run", *([] if before else flags))

    assert result.returncode == 1
    assert "the log file" in result.stderr


def test_output_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    """Without a traceback."""
    with Path("/dev/full").open("w") as full:
        result = subprocess.run(
            [sys.executable, "-m", "kuma.cp.cli", "version"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )

    assert (result.returncode, result.stderr) == (1, "Error: cannot write the output: No space left on device\n")


def test_the_end_waits_for_no_thread(tmp_path: Path) -> None:
    """Once everything is closed, an answer that is still being computed is of use to nobody."""
    program = """
import asyncio, time
from kuma.cp import app, cli

async def serve(*_):
    asyncio.get_running_loop().run_in_executor(None, time.sleep, 300)

app.serve = serve
cli._run(None, None)
"""
    ended = subprocess.run([sys.executable, "-c", program], timeout=60, check=False)

    assert ended.returncode == 0


def test_as_many_files_as_the_system_allows(tmp_path: Path) -> None:
    """A thousand proxies need more than the thousand files that a shell allows by default."""
    program = """
import resource
from kuma.cp.cli import allow_many_files

hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
allow_many_files()
print(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
"""
    printed = subprocess.run([sys.executable, "-c", program], timeout=60, check=True, capture_output=True, text=True)

    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    assert int(printed.stdout) == (2**20 if hard == resource.RLIM_INFINITY else min(hard, 2**20))
