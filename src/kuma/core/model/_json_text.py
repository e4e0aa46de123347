"""JSON text to data, and the limits and checks that the YAML reader shares (see ``text``)."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final, NoReturn

from kuma.core.errors import BadRequest, TooLarge


@dataclass(frozen=True, slots=True)
class Limits:
    """
    How much a text may ask for.

    ``nodes`` counts values, also those that aliases repeat; sixteen characters of text count as one more.
    """

    size: int = 5 * 1024 * 1024
    depth: int = 100
    nodes: int = 1_000_000


class TooDeep(BadRequest):
    """Nested deeper than the limit, if the text is JSON at all."""


# A string without end is taken to the end of the text: looking for another start in it would take quadratic time.
_BRACKETS: Final = re.compile(r'"(?:[^"\\]++|\\.)*+"?|[\[{]|[\]}]', re.DOTALL)
_SMALLEST_INTEGER, _LARGEST_INTEGER = -(2**63), 2**64 - 1
_LONGEST_NUMBER: Final = 400


def check_size(size: int, limits: Limits) -> None:
    if size > limits.size:
        raise TooLarge(f"the input has {size} bytes, the limit is {limits.size} bytes")


def checked_bytes(text: str, limits: Limits) -> bytes:
    check_size(len(text), limits)
    try:
        data = text.encode()
    except UnicodeEncodeError as error:
        raise BadRequest(f"{place(text, error.start)}: half of a surrogate pair, not a character") from None
    check_size(len(data), limits)
    nul = text.find("\0")
    if nul >= 0:
        raise BadRequest(f"{place(text, nul)}: NUL character")
    return data


def place(text: str, offset: int) -> str:
    line_start = text.rfind("\n", 0, offset) + 1
    return f"line {text.count(chr(10), 0, offset) + 1}, column {offset - line_start + 1}"


def read_json(text: str, limits: Limits) -> Any:
    if text.count("{") + text.count("[") > limits.depth:
        _check_json_depth(text, limits.depth)
    value = _JSON.decode(text)
    if "\\u" in text:
        _check_characters(value)
    return value


def _check_json_depth(text: str, limit: int) -> None:
    depth = 0
    for match in _BRACKETS.finditer(text):
        bracket = text[match.start()]
        if bracket in "[{":
            depth += 1
            if depth > limit:
                raise TooDeep(f"{place(text, match.start())}: {too_deep(limit)}")
        elif bracket != '"':
            depth -= 1


def too_deep(limit: int) -> str:
    return f"nested deeper than {limit} levels"


def _check_characters(value: Any) -> None:
    """JSON escapes can smuggle in what UTF-8 cannot hold."""
    todo = [value]
    while todo:
        item = todo.pop()
        if isinstance(item, dict):
            todo.extend(item)
            todo.extend(item.values())
        elif isinstance(item, list):
            todo.extend(item)
        elif isinstance(item, str):
            if "\0" in item:
                raise BadRequest(f"NUL character in {shown(item)}")
            if not _is_unicode(item):
                raise BadRequest(f"half of a surrogate pair, not a character, in {shown(item)}")


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def shown(text: str) -> str:
    """A user's text in an error message: short, and with nothing a terminal would act on."""
    return json.dumps(text if len(text) <= 64 else f"{text[:64]}…", ensure_ascii=not _is_unicode(text))


def _unique_pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise BadRequest(f"the key {shown(_repeated(pairs))} is given twice in one object")
    return result


def _repeated(pairs: list[tuple[str, Any]]) -> str:
    names = sorted(name for name, _ in pairs)
    return next(a for a, b in pairwise(names) if a == b)


def integer(text: str, base: int = 10) -> int:
    value = int(text, base) if len(text) <= _LONGEST_NUMBER else _LARGEST_INTEGER + 1
    if not _SMALLEST_INTEGER <= value <= _LARGEST_INTEGER:
        raise BadRequest(f"the number {shown(text)[1:-1]} does not fit in 64 bits; write text in quotes")
    return value


def finite_float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise BadRequest(f"the number {shown(text)[1:-1]} is too large")
    return value


def _no_constant(text: str) -> NoReturn:
    raise BadRequest(f"{text} is not a JSON number")


_JSON: Final = json.JSONDecoder(
    object_pairs_hook=_unique_pairs, parse_int=integer, parse_float=finite_float, parse_constant=_no_constant
)
