"""Removes Dataplanes whose proxy has been away for long (``runtime.universal.dataplaneCleanupAge``)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

import structlog

from kuma.core.errors import MeshError
from kuma.core.model.resource import Key
from kuma.cp.store.port import CONTROL_PLANE, Delete, Record, Store

_LOOKS_PER_AGE: Final = 10
_OFTENEST: Final = timedelta(seconds=1)
_RAREST: Final = timedelta(hours=1)

log = structlog.get_logger("cleanup")


class Cleanup:
    """
    Looks ten times per age, so that a Dataplane goes at most a tenth of the age too late.

    ``connected`` tells of proxies that are back, before the store does.
    """

    def __init__(
        self, store: Store, connected: Callable[[Key], bool], clock: Callable[[], datetime], age: timedelta
    ) -> None:
        self._store = store
        self._connected = connected
        self._clock = clock
        self._age = age

    async def run(self) -> None:
        """Look until cancelled; an age of 0 keeps everything."""
        if not self._age:
            return
        pause = min(max(self._age / _LOOKS_PER_AGE, _OFTENEST), _RAREST)
        while True:
            try:
                await self.look()
            except MeshError as error:
                log.warning("old dataplanes are removed later", reason=str(error))
            await asyncio.sleep(pause.total_seconds())

    async def look(self) -> None:
        """Remove what is too old now."""
        oldest = self._clock() - self._age
        left = [
            Key("Dataplane", record.key.mesh, record.key.name)
            for record in await self._store.list("DataplaneInsight")
            if _left_before(record, oldest)
        ]
        gone = [key for key in left if not self._connected(key)]
        if gone:
            await self._store.write(
                [Delete(key, missing_ok=True) for key in gone], author=CONTROL_PLANE, now=self._clock()
            )
        for key in gone:
            log.info("removed a dataplane that was offline for long", mesh=key.mesh, dataplane=key.name)


def _left_before(record: Record, moment: datetime) -> bool:
    """Whether every stream of a proxy ended before a moment."""
    subscriptions = json.loads(record.spec).get("subscriptions", ())
    ends = [one.get("disconnectTime") for one in subscriptions]
    return bool(ends) and all(end is not None and datetime.fromisoformat(end) < moment for end in ends)
