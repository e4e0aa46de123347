"""The commands a newcomer is given can be copied."""

from __future__ import annotations

import shlex
from pathlib import Path

from kuma.demo.advice import advice
from kuma.demo.lines import Look, painted

KUMACTL = ("kumactl", "--config-file", "/my demo/kumactl.yaml")


def test_every_command_is_whole():
    """Each names the configuration of this demo, and survives a directory with a space."""
    directory = Path("/my demo")

    lines = advice(["kumactl"], directory / "kumactl.yaml", directory, "http://127.0.0.1:20007/", 4711)

    texts = [painted(one, Look()) for one in lines]
    commands = [shlex.split(text) for text in texts[1:] if not text.startswith("  #")]
    assert "http://127.0.0.1:20007/" in texts[0]
    assert ["kumactl", "--config-file", "/my demo/kumactl.yaml", "inspect", "dataplanes"] in commands
    assert [
        "kumactl",
        "--config-file",
        "/my demo/kumactl.yaml",
        "apply",
        "-f",
        "/my demo/deny.yaml",
    ] in commands
    assert commands[-1] == ["kill", "4711"]
