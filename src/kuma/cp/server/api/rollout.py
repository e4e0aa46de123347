"""``GET /_rollout/{revision}`` (ours): whether changes have reached the proxies.

``?since=R`` asks for all changes from R on, not only for that of the revision; ``?wait=5s`` keeps the question open.
"""

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
        first = call.first("since")
        since = revision_of(first, "since") if first else revision
        if since > revision:
            raise BadRequest(f"bad request: since: {since} is later than revision {revision}")
        progress = await self._backends.rollouts.progress(revision, min(max(wait, 0.0), LONGEST_WAIT), since=since)
        return json_reply(_shown(progress))


def _shown(progress: Progress) -> dict[str, Any]:
    named = {"pending": progress.pending, "refused": progress.refused, "earlier": progress.earlier}
    return {
        "revision": progress.revision,
        "total": progress.total,
        "done": progress.done,
        "settled": progress.settled,
        "notConnected": progress.absent,
        "counts": {name: len(proxies) for name, proxies in named.items()},
        **{name: [_proxy(one) for one in proxies[:_MOST_NAMED]] for name, proxies in named.items()},
    }


def _proxy(one: Unfinished) -> dict[str, str]:
    shown = {"mesh": one.mesh, "name": one.dataplane}
    return {**shown, "reason": one.reason} if one.reason else shown
