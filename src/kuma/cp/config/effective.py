"""The settings in force, as ``GET /config`` prints them: Kuma's names and values, secrets masked."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

from kuma.core.units import format_duration
from kuma.cp.config.fields import Section
from kuma.cp.config.table import settings, wire_name
from kuma.cp.config.tree import STANDALONE, ZONE, Config

MASK: Final = "*****"


def effective(config: Config) -> dict[str, Any]:
    """
    The tree that ``GET /config`` answers, ready for a JSON encoder.

    Durations are Go's text, ``standalone`` is called ``zone`` as in Kuma, a secret that is set is ``*****``.
    """
    tree: dict[str, Any] = {}
    for row in settings():
        at = tree
        for name in row.path[:-1]:
            at = at.setdefault(name, {})
        value = row.of(config)
        at[row.path[-1]] = MASK if row.secret and value else _plain(value)
    tree["mode"] = ZONE if config.mode == STANDALONE else config.mode
    return tree


def _plain(value: Any) -> Any:
    if isinstance(value, timedelta):
        return format_duration(value)
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Section):
        fields = type(value).model_fields.items()
        return {wire_name(name, field): text for name, field in fields if (text := getattr(value, name))}
    if isinstance(value, Mapping):
        return dict(value)
    return value
