"""The trickle of visits to the web front end, and what each tells about the calls behind it.

The rate is bounded whatever happens: visits begin at fixed moments, and none begins while too many are unanswered.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from kuma.demo.http import RequestFailed, request
from kuma.demo.statistics import Sample, Tally

PER_SECOND: Final = 20
_UNANSWERED: Final = 20
_SECONDS: Final = 12
"""Longer than the front end waits for the services it calls."""

VISITOR: Final = "you"
EDGES: Final = ((VISITOR, "web"), ("web", "api"), ("web", "kv"))

Edge = tuple[str, str]
Clock = Callable[[], float]


@dataclass(frozen=True, slots=True)
class Visit:
    """What a visit showed: a sample for each edge it reached, and who the API says called it."""

    samples: Mapping[Edge, Sample]
    caller: str = ""

    @property
    def complete(self) -> bool:
        """Whether every call succeeded and the API knew its caller by certificate."""
        return len(self.samples) == len(EDGES) and not self.error and self.encrypted

    @property
    def encrypted(self) -> bool:
        """Whether the API knew its caller by certificate."""
        return bool(self.caller)

    @property
    def error(self) -> str:
        """What went wrong first, if anything did."""
        return next((sample.error for sample in self.samples.values() if sample.error), "")

    @property
    def api_instance(self) -> str:
        sample = self.samples.get(("web", "api"))
        return sample.by if sample else ""


async def visit(port: int, clock: Clock) -> Visit:
    """Call the front end once; a failure is a result."""
    begun = clock()
    try:
        answer = await request(port, "GET", "/", seconds=_SECONDS)
        took = clock() - begun
        return _seen(begun, took, answer.json["calls"])
    except RequestFailed as error:
        return Visit({(VISITOR, "web"): Sample(begun, clock() - begun, error=str(error))})
    except (ValueError, LookupError, TypeError):
        return Visit({(VISITOR, "web"): Sample(begun, clock() - begun, error="the answer is not what web says")})


def _seen(begun: float, took: float, calls: Sequence[Mapping[str, Any]]) -> Visit:
    failed = next((f"{call['to']}: {call['error']}" for call in calls if call["error"]), "")
    samples = {(VISITOR, "web"): Sample(begun, took, "web", failed)}
    samples |= {("web", str(call["to"])): _sample(begun, call) for call in calls}
    return Visit(samples, next((str(call["caller"]) for call in calls if call["to"] == "api"), ""))


def _sample(at: float, call: Mapping[str, Any]) -> Sample:
    by = "" if call["error"] else str(call["answer"] if call["to"] == "api" else call["to"])
    return Sample(at, float(call["seconds"]), by, str(call["error"]))


class Traffic:
    """All visits since a moment, counted by edge."""

    def __init__(self, port: int, clock: Clock) -> None:
        self.since = clock()
        self.tallies = {edge: Tally(self.since) for edge in EDGES}
        self.encrypted: bool | None = None
        """Whether the newest answer of the API came over mutual TLS; None when it never answered."""
        self.unencrypted = 0
        """Answers of the API that did not."""
        self._port = port
        self._clock = clock
        self._unanswered = 0

    async def flow(self) -> None:
        """Visit again and again, until cancelled."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        async with asyncio.TaskGroup() as visits:
            while True:
                if self._unanswered < _UNANSWERED:
                    self._unanswered += 1
                    visits.create_task(self._visit(), name="visit")
                due = max(due + 1 / PER_SECOND, loop.time())
                await asyncio.sleep(due - loop.time())

    async def _visit(self) -> None:
        try:
            self.count(await visit(self._port, self._clock))
        finally:
            self._unanswered -= 1

    def count(self, seen: Visit) -> None:
        for edge, sample in seen.samples.items():
            if edge in self.tallies:
                self.tallies[edge].add(sample)
        if seen.api_instance:
            self.encrypted = seen.encrypted
            self.unencrypted += not seen.encrypted
