"""Joining the mesh: ask the control plane for the configuration Envoy starts with, until it answers.

Tried again after a pause: no connection, an answer that is not final (5xx), and 404 without a text, which means that
the Dataplane is not there yet. Final: any other 4xx, whose text goes to the user, and a control plane that cannot be
verified.

What happens to the token afterwards is the control plane's choice. By default the bootstrap carries it, and this
Envoy keeps that token for as long as it lives. With ``dpServer.authn.enableReloadableTokens`` the bootstrap carries
the path of a file instead, which Envoy reads for every new stream and kuma-dp keeps up to date (see ``token_file``).
"""

from __future__ import annotations

import asyncio
import json
import logging
from base64 import b64decode
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from kuma.core.errors import BadRequest, TooLarge
from kuma.core.model.text import parse_json
from kuma.core.units import format_duration
from kuma.dp.control_plane import TRANSIENT, ControlPlane, shown
from kuma.dp.errors import JoinRefused, JoinTimedOut
from kuma.dp.http import Answer, HttpError
from kuma.dp.settings import Settings

log = logging.getLogger("kuma.dp.join")

_HEADERS: Final = {"accept": "application/json", "content-type": "application/json"}
_WRONG_PORT: Final = "404: Page Not Found"


@dataclass(frozen=True, slots=True)
class Joined:
    """The control plane's answer: the text of Envoy's bootstrap, and the proxy's address in the mesh."""

    bootstrap: bytes
    address: str


class _NotYet(Exception):
    """An attempt failed, and a later one may not. Never leaves this module."""


async def join(
    settings: Settings,
    body: Mapping[str, Any],
    pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> Joined:
    """
    Ask until answered. ``body`` is the request without token and CA.

    Raises:
        ControlPlaneUnverified, JoinRefused, ConfigInvalid: trying again would not help.
        JoinTimedOut: not joined within the time the settings give.
    """
    clock = asyncio.get_running_loop().time
    end = clock() + settings.retry_max_duration.total_seconds()
    backoff = settings.retry_backoff.total_seconds()
    while True:
        try:
            return await _attempt(settings, body)
        except (_NotYet, HttpError) as error:
            if clock() + backoff > end:
                raise JoinTimedOut(
                    f"could not join {settings.control_plane} within {format_duration(settings.retry_max_duration)} "
                    f"(KUMA_CONTROL_PLANE_RETRY_MAX_DURATION): {error}"
                ) from error
            log.info("cannot join yet, next try in %s: %s", format_duration(settings.retry_backoff), error)
        await pause(backoff)


async def _attempt(settings: Settings, body: Mapping[str, Any]) -> Joined:
    control_plane = await ControlPlane.reach(settings)
    full = dict(body) | {"caCert": control_plane.trust.ca}
    if control_plane.token:
        full["dataplaneToken"] = control_plane.token
    answer = await control_plane.post("/bootstrap", json.dumps(full, ensure_ascii=False).encode(), _HEADERS)
    log.debug("the control plane was verified by %s and answered %d", control_plane.trust.origin, answer.status)
    if answer.status != 200:
        raise _judged(settings, answer)
    return _read(answer)


def _judged(settings: Settings, answer: Answer) -> Exception:
    """A refusal for good, or for now."""
    address = settings.control_plane
    text = shown(answer)
    if answer.status == 404 and not text:
        return _NotYet(
            f"{address} knows no such Dataplane yet: apply it there, or give its definition by --dataplane-file"
        )
    if answer.status == 404 and text == _WRONG_PORT:
        return _NotYet(f"{address} is not a data plane server; its port is 5678 unless configured otherwise")
    if 400 <= answer.status < 500 and answer.status not in TRANSIENT:
        return JoinRefused(
            f"the control plane at {address} refuses this proxy ({answer.status}): {text or 'no reason'}"
        )
    return _NotYet(f"{address} answered {answer.status}{': ' + text if text else ''}")


def _read(answer: Answer) -> Joined:
    if answer.content_type.startswith("text/x-yaml"):
        return Joined(answer.body, "")
    try:
        data = parse_json(answer.body)
        networking = data.get("kumaSidecarConfiguration", {}).get("networking", {})
        return Joined(b64decode(data["bootstrap"], validate=True), str(networking.get("address") or ""))
    except (BadRequest, TooLarge, ValueError, KeyError, TypeError, AttributeError) as error:
        raise _NotYet("the answer is not that of a control plane (no bootstrap in it)") from error
