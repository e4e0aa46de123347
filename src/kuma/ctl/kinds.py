"""Resource kinds as words on the command line, all from the one registry."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from kuma.core.model.kinds import KINDS, Kind, Scope
from kuma.ctl.client import api_path


def words(kind: Kind) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """All words for one object and for the list: a kind with a second plural has a second pair."""
    one, many = kind.words
    if not kind.alternative_path:
        return (one,), (many,)
    ending = many.removeprefix(one)
    return (one, kind.alternative_path.removesuffix(ending)), (many, kind.alternative_path)


ON_COMMAND_LINE: Final = tuple(kind for kind in KINDS if kind.on_command_line)
ONE: Final[Mapping[str, Kind]] = {word: kind for kind in KINDS for word in words(kind)[0]}
MANY: Final[Mapping[str, Kind]] = {word: kind for kind in ON_COMMAND_LINE for word in words(kind)[1]}


def kind_called(word: str) -> Kind | None:
    """The kind that a word means, however it is written: as in lists, as in documents, one or many."""
    lower = word.lower()
    by_name = next((kind for kind in KINDS if kind.name.lower() == lower), None)
    return by_name or ONE.get(lower) or MANY.get(lower)


def collection_path(kind: Kind, mesh: str) -> str:
    return api_path("meshes", mesh, kind.path) if kind.scope is Scope.MESH else api_path(kind.path)


def item_path(kind: Kind, mesh: str, name: str) -> str:
    return f"{collection_path(kind, mesh)}{api_path(name)}"


def text_of(value: Mapping[str, Any], key: str) -> str:
    """A field as text; empty if it is absent."""
    found = value.get(key)
    return found if isinstance(found, str) else ""
