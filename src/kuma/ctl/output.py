"""How kumactl prints: tables that scripts can parse, ages as Kuma shows them, YAML and JSON.

Plain text only; colour and progress belong to a terminal and are never in here.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import click

from kuma.ctl.client import printable

NEVER: Final = "never"
_GAP: Final = "   "
_CLOCK_SKEW_SECONDS: Final = 1


def print_table(head: Sequence[str], rows: Iterable[Sequence[str]], footer: str = "") -> None:
    """Left-aligned columns, at least three spaces between them, nothing after the last."""
    lines = [list(head), *([_cell(cell) for cell in row] for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    for line in lines:
        padded = [cell.ljust(width) for cell, width in zip(line[:-1], widths[:-1], strict=True)]
        click.echo(_GAP.join([*padded, line[-1]]))
    if footer:
        click.echo(f"\n{footer}")


def _cell(text: str) -> str:
    return printable(text).replace("\n", " ").replace("\t", " ")


def print_json(value: Any) -> None:
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def print_yaml(value: Any, *, sort_keys: bool = True) -> None:
    from kuma.core.model.text import dump_yaml

    click.echo(dump_yaml(value, sort_keys=sort_keys), nl=False)


def age(text: object, now: datetime) -> str:
    """How long ago a timestamp of the API is: ``5s``, ``3m``, ``2h``, ``9d``, ``1y`` or ``never``."""
    then = parse_time(text)
    if then is None:
        return NEVER
    seconds = (now - then).total_seconds()
    if seconds < -_CLOCK_SKEW_SECONDS:
        return NEVER
    minutes, hours = int(seconds // 60), int(seconds // 3600)
    days = hours // 24
    if seconds < 60:
        return f"{max(0, int(seconds))}s"
    if minutes < 60:
        return f"{minutes}m"
    if hours < 24:
        return f"{hours}h"
    return f"{days}d" if days < 365 else f"{days // 365}y"


def parse_time(text: object) -> datetime | None:
    """A timestamp of the API; ``None`` if there is none."""
    if not isinstance(text, str):
        return None
    try:
        then = datetime.fromisoformat(text)
    except ValueError:
        return None
    return then if then.tzinfo else then.replace(tzinfo=UTC)


def tags_text(dataplane: Mapping[str, Any]) -> str:
    """All tags of a proxy as ``k=v1,v2 k2=v``, sorted."""
    networking = mapping(dataplane.get("networking"))
    values: dict[str, set[str]] = {}
    for part in (*mappings(networking.get("inbound")), mapping(networking.get("gateway"))):
        for key, value in mapping(part.get("tags")).items():
            values.setdefault(key, set()).add(str(value))
    return " ".join(f"{key}={','.join(sorted(values[key]))}" for key in sorted(values))


def mapping(value: object) -> Mapping[str, Any]:
    """The value if it is an object, else an empty one: what a server leaves out is shown as absent."""
    return value if isinstance(value, dict) else {}


def mappings(value: object) -> list[Mapping[str, Any]]:
    """The objects in a list; none if it is no list."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
