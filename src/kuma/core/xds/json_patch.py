"""RFC 6902 on the JSON form of Envoy messages, with Kuma's two liberties.

Default values are left out of that form, so a patch would often speak of what is not there: ``add`` makes the objects
on the way, ``remove`` of what is absent does nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from copy import deepcopy
from itertools import pairwise
from typing import Any, Final

from jsonpatch import JsonPatch as Patch
from jsonpatch import JsonPatchException, JsonPointer, JsonPointerException

from kuma.core.errors import MeshError

_END: Final = "-"
_DOCUMENT: Final = re.compile(r"( not found) in .*", re.DOTALL)
_KEY: Final = re.compile(r"'[^']*'")
_NO_MEMBERS: Final = ("does not support indexing", "non-container type")
_MOST_NODES: Final = 100_000
"""A document that is copied into itself doubles with every step."""


class JsonPatchFailed(MeshError):
    """A step cannot be done; the text names it and says why."""


def patched_json(document: dict[str, Any], operations: Iterable[dict[str, Any]]) -> Any:
    """
    The document after all operations; the one given is not changed.

    Raises:
        JsonPatchFailed: an operation cannot be done.
    """
    whole: Any = deepcopy(document)
    for index, operation in enumerate(operations):
        try:
            if operation["op"] == "add":
                _make_way(whole, JsonPointer(operation["path"]).parts)
            if operation["op"] == "remove" and not _exists(whole, operation["path"]):
                continue
            whole = Patch([operation]).apply(whole)
            if operation["op"] == "copy" and _is_huge(whole):
                raise ValueError(f"the result has more than {_MOST_NODES} values")
        except (JsonPatchException, JsonPointerException, TypeError, ValueError, KeyError, IndexError) as error:
            raise JsonPatchFailed(f"jsonPatches[{index}] ({_told(operation)}): {_reason(error)}") from None
    return whole


def _told(operation: dict[str, Any]) -> str:
    source = f"{operation['from']} to " if "from" in operation else ""
    return f"{operation['op']} {source}{operation['path']}"


def _reason(error: Exception) -> str:
    """What the library says, without the whole document and the words of Python."""
    text = str(error)
    if _KEY.fullmatch(text):
        return f"member {text} not found"
    if any(words in text for words in _NO_MEMBERS):
        return "a value on the way has no members"
    return _DOCUMENT.sub(r"\1", text)


def _exists(whole: Any, path: str) -> bool:
    absent = object()
    return JsonPointer(path).resolve(whole, absent) is not absent


def _is_huge(whole: Any) -> bool:
    waiting, nodes = [whole], 0
    while waiting and nodes <= _MOST_NODES:
        here = waiting.pop()
        nodes += 1
        if isinstance(here, dict):
            waiting += here.values()
        elif isinstance(here, list):
            waiting += here
    return nodes > _MOST_NODES


def _make_way(whole: Any, parts: list[str]) -> None:
    """Make the parents that a path needs."""
    here = whole
    for part, following in pairwise(parts):
        if isinstance(here, dict):
            if here.get(part) is None:
                here[part] = [] if following == _END or following.isdecimal() else {}
            here = here[part]
        elif isinstance(here, list) and part.isdecimal() and int(part) < len(here):
            here = here[int(part)]
        else:
            return
