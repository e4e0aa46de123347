"""Waiting for what should become true, with a deadline, instead of sleeping and hoping."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class NotInTime(AssertionError):
    """What was waited for did not happen."""


def wait_until(
    condition: Callable[[], T], what: str, *, seconds: float = 20, pause: float = 0.05, explain: Callable[[], str] = str
) -> T:
    """
    Ask again and again until the answer is true; the answer.

    A condition that raises ``AssertionError``, ``OSError`` or ``LookupError`` is not true yet; its text is told at
    the deadline, together with what ``explain`` gives.

    Raises:
        NotInTime: it never was.
    """
    deadline = time.monotonic() + seconds
    last: object = None
    while True:
        try:
            answer = condition()
        except (AssertionError, OSError, LookupError) as error:
            last = f"{type(error).__name__}: {error}"
        else:
            if answer:
                return answer
            last = answer
        if time.monotonic() >= deadline:
            raise NotInTime(f"not within {seconds:g} s: {what}; last: {last!r}\n{explain()}")
        time.sleep(pause)


def stays(condition: Callable[[], object], what: str, *, seconds: float, pause: float = 0.1) -> None:
    """Assert that something is true now and remains so for a while."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert condition(), f"no longer: {what}"
        time.sleep(pause)
