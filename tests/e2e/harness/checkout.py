"""A newcomer's checkout: the files that git has of this tree, beside nothing else, and `make demo` in it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from tests.e2e.harness.processes import ROOT, Program

# What this machine says of pip and of proxies counts; our own sources, settings and an outer make do not.
_DROPPED: Final = ("PYTHONPATH", "VIRTUAL_ENV", "KUMA_", "MAKE", "MFLAGS")


class NoCheckout(Exception):
    """These sources are no checkout of git, so nothing tells which files belong to one."""


def copy(target: Path) -> None:
    """
    Copy the files of this tree that git has or would add, as they are now.

    Raises:
        NoCheckout: git does not know this tree.
    """
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise NoCheckout(done.stderr.strip())
    for name in filter(None, done.stdout.split("\0")):
        if (ROOT / name).exists():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)


def demo(checkout: Path, home: Path, temporary: Path) -> Program:
    """``make demo`` for five seconds of traffic, installation included, by a user with an empty home."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(_DROPPED)}
    env |= {"HOME": str(home), "TMPDIR": str(temporary), "PYTHON": sys.executable}
    command = ["make", "--no-print-directory", "-C", str(checkout), "demo", "ARGS=--duration 5s --plain"]
    return Program(command, log=home / "make.log", env=env)
