"""Joining the mesh: ask the control plane for the configuration Envoy starts with, until it answers.

Tried again after a pause: no connection, an answer that is not final (5xx), and 404 without a text, which means that
the Dataplane is not there yet. Final: any other 4xx, whose text goes to the user, and a control plane that cannot be
verified. The token and the CA are read anew for every attempt.

What happens to the token afterwards is the control plane's choice. By default the bootstrap carries it, and this
Envoy keeps that token for as long as it lives. With ``dpServer.authn.enableReloadableTokens`` the bootstrap carries
the path of a file instead, which Envoy reads for every new stream and kuma-dp keeps up to date (see ``token_file``).
"""

from __future__ import annotations

import asyncio
import json
import logging
import ssl
from base64 import b64decode
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from kuma.core.errors import BadRequest, TooLarge
from kuma.core.model.text import parse_json
from kuma.core.units import format_duration
from kuma.dp.errors import JoinRefused, JoinTimedOut
from kuma.dp.http import Answer, HttpError, Peer, request
from kuma.dp.settings import Settings
from kuma.dp.token import ca_fingerprint, checked, read_token
from kuma.dp.trust import Trust, establish, given_ca, refusal

log = logging.getLogger("kuma.dp.join")

_ANSWER_SECONDS: Final = 10
_MAX_REASON: Final = 2000
_TRANSIENT: Final = (408, 429)
"""A server that is too busy refuses the moment, not the proxy."""
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
    token = current_token(settings)
    address = settings.control_plane
    ca = given_ca(settings.ca_cert, settings.ca_cert_file)
    trust = await establish(address, ca, ca_fingerprint(token) if token else "", skip_verify=settings.skip_verify)
    full = dict(body) | {"caCert": trust.ca}
    if token:
        full["dataplaneToken"] = token
    answer = await _post(settings, trust, json.dumps(full, ensure_ascii=False).encode())
    log.debug("the control plane was verified by %s and answered %d", trust.origin, answer.status)
    if answer.status != 200:
        raise _judged(settings, answer)
    return _read(answer)


def current_token(settings: Settings) -> str:
    """The token as it is now; empty when none was given."""
    if settings.token:
        return checked(settings.token, "--dataplane-token")
    return read_token(settings.token_path) if settings.token_path else ""


async def _post(settings: Settings, trust: Trust, body: bytes) -> Answer:
    address = settings.control_plane
    headers = {"accept": "application/json", "content-type": "application/json"}
    peer = Peer(address.host, address.port, trust.tls)
    try:
        return await request(peer, "POST", f"{address.path}/bootstrap", body, headers, _ANSWER_SECONDS)
    except ssl.SSLCertVerificationError as error:
        raise refusal(address, trust, error) from error


def _judged(settings: Settings, answer: Answer) -> Exception:
    """A refusal for good, or for now."""
    address = settings.control_plane
    text = "".join(c if c.isprintable() else " " for c in answer.body.decode(errors="replace")).strip()[:_MAX_REASON]
    if answer.status == 404 and not text:
        return _NotYet(
            f"{address} knows no such Dataplane yet: apply it there, or give its definition by --dataplane-file"
        )
    if answer.status == 404 and text == _WRONG_PORT:
        return _NotYet(f"{address} is not a data plane server; its port is 5678 unless configured otherwise")
    if 400 <= answer.status < 500 and answer.status not in _TRANSIENT:
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
