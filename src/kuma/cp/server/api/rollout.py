"""``GET /_rollout/{revision}`` (ours): whether a change has reached the proxies."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from starlette.responses import Response

from kuma.core.errors import BadRequest
from kuma.core.units import parse_duration
from kuma.cp.reconcile.rollout import Progress, Unfinished
from kuma.cp.server.api.call import Call, json_reply
from kuma.cp.server.api.ports import Backends
from kuma.cp.server.api.revisions import revision_of
from kuma.cp.server.api.routing import Route

LONGEST_WAIT: Final = 5.0
"""Seconds; a client that wants to wait longer asks again."""
_MOST_NAMED: Final = 100


class RolloutRoutes:
    """See the module."""

    def __init__(self, backends: Backends) -> None:
        self._backends = backends

    def routes(self) -> Iterator[Route]:
        yield Route("GET", "/_rollout/{revision}", self._progress, "Could not retrieve the rollout")

    async def _progress(self, call: Call) -> Response:
        revision = revision_of(call.parameters["revision"])
        try:
            wait = parse_duration(call.first("wait") or "0s").total_seconds()
        except ValueError as error:
            raise BadRequest(f"bad request: wait: {error}") from None
        progress = await self._backends.rollouts.progress(revision, min(max(wait, 0.0), LONGEST_WAIT))
        return json_reply(_shown(progress))


def _shown(progress: Progress) -> dict[str, Any]:
    return {
        "revision": progress.revision,
        "total": progress.total,
        "done": progress.done,
        "settled": progress.settled,
        "pending": [_proxy(one) for one in progress.pending[:_MOST_NAMED]],
        "refused": [_proxy(one) for one in progress.refused[:_MOST_NAMED]],
    }


def _proxy(one: Unfinished) -> dict[str, str]:
    shown = {"mesh": one.mesh, "name": one.dataplane}
    return {**shown, "reason": one.reason} if one.reason else shown
