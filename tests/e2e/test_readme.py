"""The README's walk-through, executed (tests/e2e/harness/walkthrough.py says how).

A network namespace with nothing in it makes the default ports free. Where the system allows no namespace, the test
needs those ports to be free, and skips with the reason where they are not.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.e2e.harness.processes import ROOT
from tests.e2e.harness.walkthrough import Shell, alone, blocks, missing, walk

README: Final = ROOT / "README.md"
DEFAULT_PORTS: Final = (5678, 5680, 5681, 5682, 7001, 7002, 8001, 8002, 9002)


def _taken() -> list[int]:
    taken = []
    for port in DEFAULT_PORTS:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("0.0.0.0", port))
            except OSError:
                taken.append(port)
    return taken


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    """A shell for the walk-through, alone on its network where that can be had."""
    prefix = alone()
    if not prefix and (taken := _taken()):
        pytest.skip(f"no network namespace can be made here, and the default ports {taken} are taken")
    shell = Shell(tmp_path, prefix)
    try:
        yield shell
    finally:
        shell.close()


@pytest.mark.timeout(240)
def test_walk_through_of_the_readme(shell: Shell):
    """Every command of the README's ten minutes works, and shows what the README says it shows."""
    walk(shell, README)


def test_every_command_between_the_headings_is_part_of_the_walk_through():
    """A command that nobody executes cannot slip into the README's ten minutes."""
    text = README.read_text()
    start, end = text.index("\n## Ten minutes by hand\n"), text.index("\n## Ports\n")

    inside = blocks(text[start:end])

    assert len(inside) > 20
    assert [block.text for block in inside if block.language == "sh" and "walkthrough" not in block.marks] == []
    assert [block.text for block in inside if block.language != "sh" and "expect" not in block.marks] == []


def test_an_expectation_that_is_not_met_is_named():
    """The walk-through cannot pass by not looking."""
    output = "NAME      mTLS\ndefault   off    3s\n"

    assert missing("NAME mTLS\ndefault   off   …", output) == ""
    assert missing("default   off\nNAME   mTLS", output) == "NAME   mTLS"
    assert missing("default   builtin/ca-1", output) == "default   builtin/ca-1"
