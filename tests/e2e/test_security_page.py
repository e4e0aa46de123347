"""The walk-through of docs/security.md, executed: tokens, revocation, rotation, keys made elsewhere."""

from __future__ import annotations

import shutil

import pytest

from tests.e2e.harness.processes import ROOT
from tests.e2e.harness.walkthrough import Shell, blocks, walk

PAGE = ROOT / "docs" / "security.md"


@pytest.fixture
def tools() -> None:
    """What the page uses beside our own programs."""
    for program in ("jq", "openssl"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed (see packages.txt)")


@pytest.mark.usefixtures("tools")
@pytest.mark.timeout(240)
def test_walk_through_of_the_page_on_security(shell: Shell):
    """Every command works, and shows what the page says it shows."""
    walk(shell, PAGE)


def test_what_the_page_shows_is_executed():
    """What is only to be read has its own test, or is no command of one's own to type."""
    read_only = [block.text for block in blocks(PAGE.read_text()) if block.language == "sh" and not block.marks]

    assert all("KUMA_ACCESS_STATIC" in text for text in read_only)
