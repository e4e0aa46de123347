"""A steady load that remembers every failure and when it was."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

from tests.e2e.harness.waiting import wait_until

_AT_ONCE: Final = 16


@dataclass(frozen=True, slots=True)
class Failure:
    """One call that failed, seconds after the load began."""

    after: float
    reason: str


class Load:
    """
    Calls ``call`` a number of times each second until the ``with`` block ends; it returns who answered.

    A slow call does not slow the others down: up to sixteen run at once.
    """

    def __init__(self, call: Callable[[], str], *, per_second: float = 20) -> None:
        self._call = call
        self._pause = 1 / per_second
        self._began = time.monotonic()
        self._marks: list[tuple[float, str]] = []
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._pacer = threading.Thread(target=self._pace, daemon=True)
        self.failures: list[Failure] = []
        self.answers: Counter[str] = Counter()

    def __enter__(self) -> Self:
        self._began = time.monotonic()
        self._pacer.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._stop.set()
        self._pacer.join()
        if error is not None:
            error.add_note(self.story())

    def mark(self, what: str) -> None:
        """Remember a moment, so that a failure can be told to be before or after it."""
        self._marks.append((time.monotonic() - self._began, what))

    def count(self) -> int:
        """How many calls have ended, well or badly."""
        with self._lock:
            return self.answers.total() + len(self.failures)

    def answered_by(self, name: str) -> int:
        with self._lock:
            return self.answers[name]

    def run_for(self, calls: int, *, seconds: float = 30) -> None:
        """Wait until so many further calls have ended."""
        goal = self.count() + calls
        wait_until(lambda: self.count() >= goal, f"{calls} more calls", seconds=seconds, explain=self.story)

    def since(self) -> dict[str, int]:
        """Who has answered so far; subtract to see who answered in between."""
        with self._lock:
            return dict(self.answers)

    def story(self) -> str:
        """What happened, in order."""
        with self._lock:
            events = [(at, f"— {what}") for at, what in self._marks]
            events += [(failure.after, failure.reason) for failure in self.failures]
        lines = [f"{at:8.3f} s  {what}" for at, what in sorted(events)]
        return "\n".join((f"{len(self.failures)} of {self.count()} calls failed; {dict(self.answers)}", *lines[:80]))

    def assert_no_failure(self) -> None:
        assert not self.failures, self.story()
        assert self.answers, "no call was made"

    def _pace(self) -> None:
        due = self._began
        with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="load") as pool:
            while not self._stop.is_set():
                pool.submit(self._once)
                due += self._pause
                self._stop.wait(max(0.0, due - time.monotonic()))

    def _once(self) -> None:
        began = time.monotonic() - self._began
        try:
            name = self._call()
        except Exception as error:  # noqa: BLE001 # whatever it is, it is a failed call
            with self._lock:
                self.failures.append(Failure(began, f"{type(error).__name__}: {error}"))
        else:
            with self._lock:
                self.answers[name] += 1
