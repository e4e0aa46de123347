"""Who wants to hear of committed changes, and what they have not yet heard.

All of it lives in one asyncio loop. A store publishes in revision order; a subscriber takes everything that waits for
it at once. No change is dropped. When more than ``TOLD_SINGLY`` changes wait, successive updates of one record are
told as one update, from the first's ``before`` to the last's ``after``: so what waits for a subscriber that has
stopped reading is bounded by the number of records, not by time.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Final

from kuma.core.model.resource import Key
from kuma.cp.store.port import Change, Operation

TOLD_SINGLY: Final = 10_000


class Subscription:
    """The changes one subscriber has yet to hear; iterate it to receive them. Ends when the store closes."""

    def __init__(self) -> None:
        self._waiting: list[Change] = []
        self._news = asyncio.Event()
        self._after = 0
        self._ended = False
        self._merge_at = TOLD_SINGLY

    def __aiter__(self) -> AsyncIterator[tuple[Change, ...]]:
        return self

    async def __anext__(self) -> tuple[Change, ...]:
        while not self._waiting:
            if self._ended:
                raise StopAsyncIteration
            self._news.clear()
            await self._news.wait()
        changes, self._waiting = tuple(self._waiting), []
        self._merge_at = TOLD_SINGLY
        return changes

    def start_after(self, revision: int) -> None:
        """Forget what was committed up to ``revision``, also if it is published only later."""
        self._after = revision
        self._waiting = self._new(self._waiting)

    def add(self, changes: Iterable[Change]) -> None:
        """Queue changes, in revision order."""
        self._waiting += self._new(changes)
        if len(self._waiting) > self._merge_at:
            self._waiting = merged(self._waiting)
            self._merge_at = max(TOLD_SINGLY, 2 * len(self._waiting))
        if self._waiting:
            self._news.set()

    def end(self) -> None:
        """No more will come; what waits is still delivered."""
        self._ended = True
        self._news.set()

    def _new(self, changes: Iterable[Change]) -> list[Change]:
        return [change for change in changes if change.revision > self._after]


class Subscribers:
    """All subscriptions of one store."""

    def __init__(self) -> None:
        self._open: set[Subscription] = set()

    def publish(self, changes: tuple[Change, ...]) -> None:
        """Tell everyone."""
        for subscription in self._open:
            subscription.add(changes)

    def end(self) -> None:
        """The store closes."""
        for subscription in self._open:
            subscription.end()

    @asynccontextmanager
    async def subscribe(self, current: Callable[[], Awaitable[int]]) -> AsyncIterator[Subscription]:
        """
        A subscription to what is committed from here on; ``current`` reads the newest committed revision.

        Listening starts before that revision is read and what is not newer is then left out: a change committed in
        between is neither lost nor, if it was committed before, delivered.
        """
        subscription = Subscription()
        self._open.add(subscription)
        try:
            subscription.start_after(await current())
            yield subscription
        finally:
            self._open.discard(subscription)


def merged(changes: Iterable[Change]) -> list[Change]:
    """The changes with each run of updates of one record made one update, which keeps the last one's revision."""
    runs: dict[Key, Change] = {}
    result: dict[int, Change] = {}
    for change in changes:
        earlier = runs.pop(change.key, None)
        if change.operation is Operation.UPDATE:
            if earlier is not None:
                del result[earlier.revision]
                change = replace(change, before=earlier.before)  # noqa: PLW2901 the merged one takes its place
            runs[change.key] = change
        result[change.revision] = change
    return list(result.values())
