"""The configuration file as a source of settings: YAML or JSON, keys matched without regard to case.

All faults are collected before giving up, so that a person corrects a file once. A key that nobody knows is a fault: a
control plane that silently ignored ``tlsCaFlie`` would be open.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import islice
from pathlib import Path
from typing import Any, Final

from kuma.core.errors import BadRequest, ConfigInvalid, TooLarge
from kuma.core.model.text import Limits, parse_document
from kuma.cp.config.table import Group, Setting, root, settings
from kuma.cp.config.values import Unreadable, from_file

MAX_FILE_BYTES: Final = 1_048_576
_MOST_FAULTS: Final = 20  # a file of something else has thousands; nobody reads them
_LIMITS: Final = Limits(size=MAX_FILE_BYTES)


@dataclass(frozen=True, slots=True)
class FileFault:
    """One thing wrong in the file."""

    key: str
    reason: str

    def __str__(self) -> str:
        return f"{self.key}: {self.reason}" if self.key else self.reason


def read_file(path: Path) -> dict[Setting, Any]:
    """
    Read the settings that a YAML or JSON file gives.

    Raises:
        ConfigInvalid: the file cannot be read, is not YAML, or holds unknown keys or wrong values; all are listed, up
            to 20.
    """
    try:
        with path.open("rb") as stream:
            content = stream.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ConfigInvalid(
            f"unable to access configuration file '{path}', please check if the file exists and has the correct "
            f"permissions"
        ) from error
    failed = f"parsing configuration from file '{path}' failed"
    if len(content) > MAX_FILE_BYTES:
        raise ConfigInvalid(f"{failed}: the file is larger than {MAX_FILE_BYTES} bytes")
    try:
        document = parse_document(content.decode("utf-8-sig"), _LIMITS)
    except UnicodeDecodeError as error:
        raise ConfigInvalid(f"{failed}: not UTF-8 text: wrong byte at offset {error.start}") from error
    except (BadRequest, TooLarge) as error:
        raise ConfigInvalid(f"{failed}: {error}") from error
    values: dict[Setting, Any] = {}
    faults = list(islice(_read_group(root(), document, values), _MOST_FAULTS))
    if faults:
        raise ConfigInvalid(f"{failed}: {'; '.join(map(str, faults))}")
    return values


def _read_group(group: Group, document: Any, values: dict[Setting, Any]) -> Iterator[FileFault]:
    if document is None:
        return
    if not isinstance(document, Mapping):
        yield FileFault(group.key, "expected an object with settings")
        return
    seen: dict[str, str] = {}
    for name, value in document.items():
        lowered = str(name).lower()
        child = group.children.get(lowered)
        if child is None:
            yield FileFault(_join(group, name), f"unknown key{_suggestion(group, lowered)}")
        elif lowered in seen:
            yield FileFault(_join(group, name), f"also given as {seen[lowered]}, and case does not matter")
        elif isinstance(child, Group):
            yield from _read_group(child, value, values)
        elif value is not None:
            try:
                values[child] = from_file(child, value)
            except Unreadable as error:
                yield FileFault(f"{child.key}{error.where}", str(error))
        seen.setdefault(lowered, str(name))


def _join(group: Group, name: object) -> str:
    return ".".join((*group.path, str(name)))


def _suggestion(group: Group, lowered: str) -> str:
    """Name the nearest key: a sibling, or else a setting elsewhere that has this name."""
    near = get_close_matches(lowered, group.children, n=1)
    if near:
        sibling = group.children[near[0]]
        return f"; did you mean {sibling.key}?"
    elsewhere = [row.key for row in settings() if row.path[-1].lower() == lowered]
    if elsewhere:
        return f"; did you mean {elsewhere[0]}?"
    if group.path:
        known = ", ".join(child.path[-1] for child in group.children.values())
        return f"; known in {group.key} are {known}"
    return "; remove it or check its spelling"
