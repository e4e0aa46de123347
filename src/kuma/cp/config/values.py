"""Turn what a person wrote, in a file or in a variable, into the value of a setting. The rules are Go's, as Kuma reads.

A null in the file means "not set"; a text setting takes a number or a truth value as its text (YAML writes ``password:
12345`` without quotes); a duration takes a bare number as nanoseconds, in the file only; a variable that is set but
empty is an empty list or an empty text, and an error everywhere else.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

from kuma.core.units import parse_duration
from kuma.cp.config.fields import Section
from kuma.cp.config.table import Kind, Setting, wire_name

_TRUE: Final = frozenset({"1", "t", "T", "TRUE", "true", "True"})
_FALSE: Final = frozenset({"0", "f", "F", "FALSE", "false", "False"})
_OCTAL: Final = re.compile(r"([+-]?)0([0-7_]+)")
_INT64: Final = range(-(2**63), 2**63)
_LONGEST_SHOWN: Final = 64


class Unreadable(Exception):
    """A value cannot be read; ``where`` is the rest of the path below the setting, the text says what is wrong."""

    def __init__(self, reason: str, where: str = "") -> None:
        super().__init__(reason)
        self.where = where


def from_file(row: Setting, value: Any) -> Any:
    """
    Read the value of a setting as YAML or JSON gave it; it is not None.

    Raises:
        Unreadable: the value is of another kind.
    """
    match row.kind:
        case Kind.TEXTS:
            return tuple(_text(row, item) for item in _items(row, value))
        case Kind.WHOLES:
            return tuple(_whole(row, item) for item in _items(row, value))
        case Kind.TEXT_MAP:
            if not isinstance(value, Mapping):
                raise _unreadable(row, value)
            return {_text(row, name): _text(row, item) for name, item in value.items()}
        case Kind.RECORDS:
            return tuple(_record(row, item, f"[{at}]") for at, item in enumerate(_items(row, value)))
        case Kind.FLAG:
            if not isinstance(value, bool):
                raise _unreadable(row, value)
            return value
        case Kind.WHOLE:
            return _whole(row, value)
        case Kind.DURATION:
            return _duration(row, value)
        case Kind.TEXT:
            return _text(row, value)


def from_variable(row: Setting, text: str) -> Any:
    """
    Read the value of a setting from the text of its variable.

    Raises:
        Unreadable: the text is not of the setting's kind.
    """
    match row.kind:
        case Kind.TEXTS:
            return tuple(text.split(",")) if text.strip() else ()
        case Kind.WHOLES:
            return tuple(_whole_text(row, item) for item in text.split(",")) if text.strip() else ()
        case Kind.TEXT_MAP:
            pairs = [pair.partition(":") for pair in text.split(",")] if text.strip() else []
            if not all(joint for _, joint, _ in pairs):
                raise Unreadable(f"{_shown(row, text)} is not a list of name:value pairs")
            return {name: item for name, _, item in pairs}
        case Kind.FLAG if text in _TRUE or text in _FALSE:
            return text in _TRUE
        case Kind.WHOLE:
            return _whole_text(row, text)
        case Kind.DURATION:
            return _go_duration(row, text)
        case Kind.TEXT:
            return text
        case _:
            raise _unreadable(row, text)


def _items(row: Setting, value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise _unreadable(row, value)
    return value


def _text(row: Setting, value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    raise _unreadable(row, value)


def _whole(row: Setting, value: Any) -> int:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or value not in _INT64:
        raise _unreadable(row, value)
    return value


def _whole_text(row: Setting, text: str) -> int:
    """Go's ``ParseInt`` with base 0: ``10``, ``0x1f``, ``0o17``, ``017``, ``1_000``."""
    if len(text) > _LONGEST_SHOWN or text != text.strip() or not text.isascii():
        raise _unreadable(row, text)
    octal = _OCTAL.fullmatch(text)
    try:
        value = int(f"{octal[1]}0o{octal[2]}" if octal else text, 0)
    except ValueError:
        raise _unreadable(row, text) from None
    if value not in _INT64:
        raise _unreadable(row, text)
    return value


def _duration(row: Setting, value: Any) -> timedelta:
    if isinstance(value, str):
        return _go_duration(row, value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not -(2**63) <= value < 2**63:
        raise _unreadable(row, value)
    return timedelta(microseconds=int(value) / 1000)


def _go_duration(row: Setting, text: str) -> timedelta:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise Unreadable(f"{_shown(row, text)} is not {row.kind.value} ({error})") from None


def _record(row: Setting, value: Any, where: str) -> Section:
    if not isinstance(value, Mapping) or row.record is None:
        raise Unreadable(f"{_shown(row, value)} is not an object", where)
    names = {wire_name(name, field).lower(): name for name, field in row.record.model_fields.items()}
    texts: dict[str, str] = {}
    for name, item in value.items():
        known = names.get(str(name).lower())
        if known is None:
            wanted = ", ".join(wire_name(n, f) for n, f in row.record.model_fields.items())
            raise Unreadable(f"unknown key; known here are {wanted}", f"{where}.{name}")
        if item is not None:
            texts[known] = _text(row, item)
    return row.record(**texts)


def _unreadable(row: Setting, value: Any) -> Unreadable:
    return Unreadable(f"{_shown(row, value)} is not {row.kind.value}")


def _shown(row: Setting, value: Any) -> str:
    if row.secret:
        return "the value"
    if value == "":
        return "an empty text"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return "an object"
    if isinstance(value, list):
        return "a list"
    text = repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…"
