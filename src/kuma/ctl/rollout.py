"""Waiting until a change has reached every proxy, and saying which proxy does not have it and why."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

import click

from kuma.core.errors import NotFound
from kuma.ctl.client import Client, api_path, printable
from kuma.ctl.errors import CommandFailed

_LONGEST_CALL: Final = 5.0
"""Seconds that the control plane keeps one question open."""
_MOST_SHOWN: Final = 20


def wait_for_proxies(client: Client, revision: int, seconds: float) -> None:
    """
    Wait until all connected proxies have accepted a store revision.

    Raises:
        CommandFailed: a proxy refused it, or did not answer in time; the text names proxies and reasons.
    """
    if not revision:
        raise CommandFailed("--wait: this control plane does not tell revisions, so there is nothing to wait for")
    deadline = time.monotonic() + seconds
    while True:
        left = max(0.0, deadline - time.monotonic())
        state = _ask(client, revision, min(left, _LONGEST_CALL))
        if state.get("settled") or left <= 0:
            break
    done, total = state.get("done", 0), state.get("total", 0)
    refused, pending = _proxies(state, "refused"), _proxies(state, "pending")
    if not refused and not pending:
        click.echo(f"{done} of {total} proxies have the change")
        return
    for mesh, name, reason in [*refused, *pending][:_MOST_SHOWN]:
        click.echo(f"{mesh}/{name}: {reason or f'no answer within {seconds:g}s'}", err=True)
    what = "refused by" if refused else "not confirmed by"
    count = len(refused) or len(pending)
    raise CommandFailed(
        f"{done} of {total} proxies have the change; it was {what} {count}, which keep what they had; "
        'see "kumactl inspect dataplanes" and the control plane\'s log'
    )


def _ask(client: Client, revision: int, wait: float) -> Mapping[str, Any]:
    try:
        return client.get(api_path("_rollout", str(revision)), [("wait", f"{wait:.3f}s")]).object()
    except NotFound:
        raise CommandFailed("--wait: this control plane cannot tell whether a change reached the proxies") from None


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
