"""Every setting as one row: where it is in the file, what its variable is called, what kind of value it takes.

The rows are read off the declarations in ``sections``, so that a setting is declared once.
"""

from __future__ import annotations

import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from functools import cache
from typing import Any, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from kuma.cp.config.fields import Section
from kuma.cp.config.tree import Config


class Kind(Enum):
    """What kind of value a setting takes; the value names it in messages."""

    TEXT = "a string"
    FLAG = "true or false"
    WHOLE = "a whole number"
    DURATION = "a duration such as 10s or 1h30m"
    TEXTS = "a list of strings"
    WHOLES = "a list of whole numbers"
    TEXT_MAP = "a map of strings"
    RECORDS = "a list of objects"


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting. ``attributes`` leads to it in ``Config``, ``path`` in the file, ``env`` in the environment."""

    attributes: tuple[str, ...]
    path: tuple[str, ...]
    env: str | None
    kind: Kind
    record: type[Section] | None
    secret: bool
    inert: str | None
    deprecated: str | None

    @property
    def key(self) -> str:
        """The name that a person reads: ``store.postgres.host``."""
        return ".".join(self.path)

    def of(self, config: Config) -> Any:
        """The value of this setting in ``config``."""
        value: Any = config
        for name in self.attributes:
            value = getattr(value, name)
        return value


@dataclass(frozen=True, slots=True)
class Group:
    """One section: its children by lower-cased name in the file, because the file is read without regard to case."""

    path: tuple[str, ...]
    children: Mapping[str, Group | Setting]

    @property
    def key(self) -> str:
        """The name that a person reads; empty for the whole file."""
        return ".".join(self.path)


@cache
def root() -> Group:
    """The tree of all sections and settings."""
    return _group(Config, (), (), "KUMA_", None)


@cache
def settings() -> tuple[Setting, ...]:
    """All settings, in the order of ``GET /config``."""
    return tuple(_flat(root()))


@cache
def by_env() -> Mapping[str, Setting]:
    """The settings that a variable can set, by its name."""
    return types.MappingProxyType({row.env: row for row in settings() if row.env is not None})


def wire_name(name: str, field: FieldInfo) -> str:
    """The name of a field in the file and in ``GET /config``."""
    return field.alias or name


def _flat(group: Group) -> Iterator[Setting]:
    for child in group.children.values():
        if isinstance(child, Group):
            yield from _flat(child)
        else:
            yield child


def _group(
    model: type[BaseModel], attributes: tuple[str, ...], path: tuple[str, ...], prefix: str, inert: str | None
) -> Group:
    children: dict[str, Group | Setting] = {}
    for name, field in model.model_fields.items():
        wire = wire_name(name, field)
        facts: dict[str, Any] = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
        why_inert = facts.get("inert", inert)
        annotation = field.annotation
        here, there = (*attributes, name), (*path, wire)
        if isinstance(annotation, type) and issubclass(annotation, Section):
            nested = _env_name(prefix, facts.get("env", f"{name.upper()}_"))
            children[wire.lower()] = _group(annotation, here, there, nested, why_inert)
        else:
            kind, record = _kind(annotation)
            env = None if facts.get("file_only") else _env_name(prefix, facts.get("env", name.upper()))
            children[wire.lower()] = Setting(
                here, there, env, kind, record, bool(facts.get("secret")), why_inert, facts.get("deprecated")
            )
    return Group(path, types.MappingProxyType(children))


def _env_name(prefix: str, name: str) -> str:
    return name if name.startswith("KUMA_") else prefix + name


def _kind(annotation: Any) -> tuple[Kind, type[Section] | None]:
    simple = {str: Kind.TEXT, bool: Kind.FLAG, int: Kind.WHOLE, timedelta: Kind.DURATION}
    if annotation in simple:
        return simple[annotation], None
    if get_origin(annotation) is tuple:
        item = get_args(annotation)[0]
        if item is str:
            return Kind.TEXTS, None
        return (Kind.WHOLES, None) if item is int else (Kind.RECORDS, item)
    return Kind.TEXT_MAP, None
