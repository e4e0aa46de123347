"""What is left of a list of documents that fails when everything is taken out that the failure does not need."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from typing import Any

from tests.policies.writer import Document

_Place = tuple[int, tuple[Any, ...]]
_HEAD = ("type", "mesh", "name", "labels")


def smallest(
    documents: Sequence[Document], fails: Callable[[Sequence[Document]], bool], enough: Callable[[], bool]
) -> Sequence[Document]:
    """
    The documents without all that can be taken out, one piece after the other, so that they still fail.

    ``enough`` tells when to stop looking.
    """
    at, smaller = 0, False
    while not enough():
        places = _places_of(documents)
        if at >= len(places):
            if not smaller:
                break
            at, smaller = 0, False
            continue
        candidate = _without(documents, *places[at])
        if fails(candidate):
            documents, smaller = candidate, True
        else:
            at += 1
    return documents


def _places_of(documents: Sequence[Document]) -> list[_Place]:
    """Whole documents first, the last ones before those that they may need; then pieces, the large ones first."""
    pieces = [(index, path) for index, one in enumerate(documents) for path in _below(one) if path[0] not in _HEAD]
    return [
        *((index, ()) for index in reversed(range(len(documents)))),
        *sorted(pieces, key=lambda place: len(place[1])),
    ]


def _without(documents: Sequence[Document], index: int, path: tuple[Any, ...]) -> Sequence[Document]:
    if not path:
        return [*documents[:index], *documents[index + 1 :]]
    changed = deepcopy(documents[index])
    owner: Any = changed
    for key in path[:-1]:
        owner = owner[key]
    del owner[path[-1]]
    return [*documents[:index], changed, *documents[index + 1 :]]


def _below(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    items: Any = ()
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list):
        items = enumerate(value)
    for key, item in items:
        yield (*path, key)
        yield from _below(item, (*path, key))
