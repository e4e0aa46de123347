"""Work on large documents, done where it holds up nobody: in a thread, while the event loop serves others.

A document at the limit of size takes seconds to check; one of everyday size takes less than it costs to start a thread.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

LARGE_TEXT: Final = 128 * 1024
"""Bytes of stored text from which a resource is large."""

_MANY_VALUES: Final = 5_000


def is_large(document: Mapping[str, Any]) -> bool:
    """Whether a document holds so many values that checking them takes longer than the event loop may stand still."""
    left = _MANY_VALUES
    unseen: list[Any] = [document]
    while unseen:
        value = unseen.pop()
        if isinstance(value, dict | list):
            left -= len(value)
            if left < 0:
                return True
            unseen.extend(value.values() if isinstance(value, dict) else value)
    return False


async def aside(large: bool, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:  # noqa: FBT001 - says where
    """The result of ``work``, computed in a thread where it is about something large."""
    return await asyncio.to_thread(work, *args, **kwargs) if large else work(*args, **kwargs)
