"""Counting calls between services: how many, how many failed, how long they took.

Pure: the time is given by the caller.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

WINDOW_SECONDS: Final = 10.0
_KEPT: Final = 20_000
"""Samples kept at most, whatever the rate; the figures then speak of the newest."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One call; ``by`` is who answered, ``error`` is empty when it succeeded."""

    at: float
    seconds: float
    by: str = ""
    error: str = ""


@dataclass(frozen=True, slots=True)
class Figures:
    """What a row of the table shows. Latencies are those of successful calls, in seconds; None when there was none."""

    per_second: float
    errors_per_second: float
    p50: float | None
    p99: float | None
    total: int
    total_errors: int
    shares: Mapping[str, float] = field(default_factory=dict)
    last_error: Sample | None = None


def percentile(ordered: Sequence[float], percent: float) -> float | None:
    """The smallest value that at least so many percent of the values do not exceed; None of nothing."""
    if not ordered:
        return None
    return ordered[max(1, math.ceil(percent / 100 * len(ordered))) - 1]


class Tally:
    """The calls of one service to another since a moment; remembers the newest in full."""

    def __init__(self, since: float) -> None:
        self._since = since
        self._samples: deque[Sample] = deque(maxlen=_KEPT)
        self._total = 0
        self._errors = 0
        self._last_error: Sample | None = None

    def add(self, sample: Sample) -> None:
        self._samples.append(sample)
        self._total += 1
        if sample.error:
            self._errors += 1
            self._last_error = sample

    def recent(self, now: float) -> Figures:
        """Figures of the last seconds."""
        begin = max(now - WINDOW_SECONDS, self._since)
        newest: list[Sample] = []
        for sample in reversed(self._samples):
            if sample.at < begin:
                break
            newest.append(sample)
        return self._figures(newest, len(newest), sum(1 for sample in newest if sample.error), now - begin)

    def all(self, now: float) -> Figures:
        """Figures since the beginning; the latencies are those of the newest that are kept."""
        return self._figures(list(self._samples), self._total, self._errors, now - self._since)

    def _figures(self, samples: Sequence[Sample], calls: int, errors: int, seconds: float) -> Figures:
        span = max(seconds, 0.001)
        latencies = sorted(sample.seconds for sample in samples if not sample.error)
        answered = Counter(sample.by for sample in samples if sample.by)
        shares = {by: count / answered.total() for by, count in sorted(answered.items())}
        return Figures(
            per_second=calls / span,
            errors_per_second=errors / span,
            p50=percentile(latencies, 50),
            p99=percentile(latencies, 99),
            total=self._total,
            total_errors=self._errors,
            shares=shares,
            last_error=self._last_error,
        )
