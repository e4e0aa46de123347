"""Waiting until a change has reached every proxy, and saying which proxy does not have it and why."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

import click

from kuma.core.errors import NotFound
from kuma.ctl.client import Client, api_path, printable
from kuma.ctl.errors import CommandFailed, Unreachable

_LONGEST_CALL: Final = 5.0
"""Seconds that the control plane keeps one question open."""
_PAUSE: Final = 0.5
"""Seconds until a control plane that does not answer is asked again."""
_MOST_SHOWN: Final = 20


def wait_for_proxies(client: Client, revision: int, seconds: float, *, since: int = 0) -> None:
    """
    Wait until all connected proxies have accepted a store revision, and where ``since`` is given all from that on.

    What proxies lack of earlier changes is told as a warning.

    Raises:
        CommandFailed: a proxy refused it, or did not answer in time; the text names proxies and reasons.
    """
    if not revision:
        raise CommandFailed("--wait: this control plane does not tell revisions, so there is nothing to wait for")
    state = _settled(client, revision, since or revision, seconds)
    done, total = state.get("done", 0), state.get("total", 0)
    refused, pending = _proxies(state, "refused"), _proxies(state, "pending")
    for mesh, name, reason in _proxies(state, "earlier")[:_MOST_SHOWN]:
        click.echo(f"Warning: {mesh}/{name} refuses an earlier change: {reason}", err=True)
    if not refused and not pending:
        click.echo(f"{done} of {total} proxies have the change{_absent(state)}")
        return
    for mesh, name, reason in [*refused, *pending][:_MOST_SHOWN]:
        click.echo(f"{mesh}/{name}: {reason or f'no answer within {seconds:g}s'}", err=True)
    what = "refused" if refused else "pending"
    by = "refused by" if refused else "not confirmed by"
    raise CommandFailed(
        f"{done} of {total} proxies have the change; it was {by} {_count(state, what)}, which keep what they had; "
        'see "kumactl inspect dataplanes" and the control plane\'s log'
    )


def _settled(client: Client, revision: int, since: int, seconds: float) -> Mapping[str, Any]:
    """What the control plane says when waiting longer is of no use, or no time is left."""
    deadline = time.monotonic() + seconds
    longest = min(_LONGEST_CALL, client.timeout / 2) if client.timeout else _LONGEST_CALL
    told = False
    while True:
        left = max(0.0, deadline - time.monotonic())
        try:
            state = _ask(client, revision, since, min(left, longest))
        except Unreachable as error:
            if left <= 0:
                raise
            if not told:
                click.echo(f"Warning: {error}; asking again", err=True)
                told = True
            time.sleep(min(_PAUSE, left))
            continue
        if state.get("settled") or left <= 0:
            return state


def _ask(client: Client, revision: int, since: int, wait: float) -> Mapping[str, Any]:
    query = [("wait", f"{wait:.3f}s"), *([("since", str(since))] if since != revision else [])]
    try:
        return client.get(api_path("_rollout", str(revision)), query).object()
    except NotFound:
        raise CommandFailed("--wait: this control plane cannot tell whether a change reached the proxies") from None


def _absent(state: Mapping[str, Any]) -> str:
    absent = state.get("notConnected")
    if not isinstance(absent, int) or absent <= 0:
        return ""
    return f"; {absent} {'is' if absent == 1 else 'are'} not connected"


def _count(state: Mapping[str, Any], which: str) -> int:
    """How many proxies there are of a sort; the list names only some of many."""
    counts = state.get("counts")
    count = counts.get(which) if isinstance(counts, dict) else None
    return count if isinstance(count, int) else len(_proxies(state, which))


def _proxies(state: Mapping[str, Any], which: str) -> Sequence[tuple[str, str, str]]:
    found = state.get(which)
    return [
        (
            printable(str(one.get("mesh", ""))),
            printable(str(one.get("name", ""))),
            printable(str(one.get("reason", ""))),
        )
        for one in (found if isinstance(found, list) else [])
        if isinstance(one, dict)
    ]
