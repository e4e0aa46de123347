"""What changed, as a unified difference of YAML: one part for each resource, as ``git diff`` would show it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from difflib import unified_diff
from typing import Any, Final

import click

from kuma.core.model.text import dump_yaml
from kuma.ctl.client import printable
from kuma.ctl.kinds import text_of
from kuma.ctl.output import mappings

_ABSENT: Final = "(absent)"
_ENVELOPE: Final = ("type", "mesh", "name", "labels")


def print_differences(changes: object, before: str, after: str) -> Sequence[Mapping[str, Any]]:
    """
    Print the changes of an answer; ``before`` and ``after`` say what the two sides are. Returns the changes.

    A change may name another revision for what is after it.
    """
    found = mappings(changes)
    for change in found:
        for line in _difference(change, before, after):
            click.echo(printable(line))
    return found


def title(named: Mapping[str, Any]) -> str:
    """How a resource is called in a line of text: ``MeshTimeout default/slow``."""
    mesh = text_of(named, "mesh")
    return printable(f"{text_of(named, 'type')} {f'{mesh}/' if mesh else ''}{text_of(named, 'name')}")


def titles(named: Iterable[Mapping[str, Any]], most: int = 10) -> str:
    """The names of some resources; of many the first."""
    names = [title(one) for one in named]
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")


def _difference(change: Mapping[str, Any], before: str, after: str) -> Iterator[str]:
    old, new = _lines(change.get("before")), _lines(change.get("after"))
    name = title(change)
    if change.get("asOf"):
        after = f"revision {change['asOf']}"
    old_name, new_name = f"{name} {before if old else _ABSENT}", f"{name} {after if new else _ABSENT}"
    return unified_diff(old, new, old_name, new_name, lineterm="")


def _lines(document: object) -> list[str]:
    if not isinstance(document, dict):
        return []
    ordered = {field: document[field] for field in _ENVELOPE if field in document}
    return dump_yaml(ordered | document, sort_keys=False).splitlines()
