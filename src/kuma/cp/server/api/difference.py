"""The difference of two JSON values as a JSON patch, in the form Kuma's clients know (its OpenAPI ``JsonPatchItem``).

Only ``test``, ``remove`` and ``add`` occur and each carries a value: what was there is tested and removed before what
is new is added. So a reader sees both, and a patch applied to something else fails instead of spoiling it. Lists of
different length are replaced as a whole; nothing in them is moved.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def difference(before: Any, after: Any, path: str = "") -> Iterator[dict[str, Any]]:
    """The steps from ``before`` to ``after``, keys in alphabetical order; equal values take none."""
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for key in sorted(before.keys() | after.keys()):
            place = f"{path}/{key.replace('~', '~0').replace('/', '~1')}"
            if key not in after:
                yield from _removed(before[key], place)
            elif key not in before:
                yield _step("add", place, after[key])
            else:
                yield from difference(before[key], after[key], place)
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for index, (old, new) in enumerate(zip(before, after, strict=True)):
            yield from difference(old, new, f"{path}/{index}")
    elif not _same(before, after):
        yield from _removed(before, path)
        yield _step("add", path, after)


def _removed(value: Any, path: str) -> Iterator[dict[str, Any]]:
    yield _step("test", path, value)
    yield _step("remove", path, value)


def _step(op: str, path: str, value: Any) -> dict[str, Any]:
    return {"op": op, "path": path, "value": value}


def _same(before: Any, after: Any) -> bool:
    # In Python True is 1; in JSON it is not.
    return bool(before == after) and isinstance(before, bool) == isinstance(after, bool)
