"""What the documentation points to is there, and what it says of kinds is true."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from kuma.core.model.kinds import KINDS

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
_LINK = re.compile(r"\[[^\]]+\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
_FENCE = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)


def _prose(page: Path) -> str:
    return _FENCE.sub("", page.read_text())


def _anchors(page: Path) -> set[str]:
    """As GitHub makes them: lower case, without punctuation, dashes for spaces."""
    headings = _HEADING.findall(_prose(page))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])
def test_every_link_within_the_project_has_a_target(page: Path):
    """Whoever follows a link at night finds a page and the heading on it."""
    broken = []
    for link in _LINK.findall(_prose(page)):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in _anchors(target)):
            broken.append(link)

    assert broken == []


def test_every_decision_tells_context_choice_price_and_undo():
    """A decision can be judged again by those who come later."""
    pages = sorted((ROOT / "docs" / "adr").glob("*.md"))

    assert pages
    for page in pages:
        parts = re.findall(r"^\*\*(\w+)\.\*\*", page.read_text(), re.MULTILINE)
        assert parts == ["Context", "Choice", "Price", "Undo"], page.name


def test_decisions_that_the_code_names_exist():
    """A comment never points to a page that is not there."""
    named = {
        match
        for source in (ROOT / "src" / "kuma").rglob("*.py")
        if "envoy_api" not in source.parts
        for match in re.findall(r"docs/adr/[\w/.-]+\.md", source.read_text())
    }

    assert [path for path in sorted(named) if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("page", ["README.md", "docs/known-limits.md"])
def test_pages_that_say_what_is_built_name_every_kind(page):
    """A kind that was added is not still said to be missing."""
    text = (ROOT / page).read_text()

    assert [kind.name for kind in KINDS if not re.search(rf"\b{kind.name}\b", text)] == []
