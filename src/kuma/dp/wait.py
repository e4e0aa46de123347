"""``kuma-dp wait``: block until the proxy is ready, so that an application can start after it."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from urllib.parse import urlsplit

from kuma.core.errors import ConfigInvalid, MeshError
from kuma.core.units import format_duration
from kuma.dp.http import HttpError, Peer, request

_LOOPBACK = frozenset(("localhost", "127.0.0.1", "::1"))


class NotReady(MeshError):
    """The proxy did not become ready in time."""


def target(url: str, unix_socket: str) -> tuple[Peer, str]:
    """
    Whom to ask, and for what path.

    Raises:
        ConfigInvalid: not an address on this machine.
    """
    try:
        parts = urlsplit(url)
        port = parts.port or 80
    except ValueError:
        raise ConfigInvalid(f"--url: {url!r} is not of the form http://localhost:<port>/ready") from None
    path = parts.path or "/ready"
    if unix_socket:
        return Peer(unix_socket=unix_socket), path
    if parts.scheme != "http" or not parts.hostname:
        raise ConfigInvalid(f"--url: {url!r} is not of the form http://localhost:<port>/ready")
    if parts.hostname not in _LOOPBACK:
        raise ConfigInvalid(f"--url: {parts.hostname!r} is not this machine; only loopback addresses are asked")
    return Peer(parts.hostname, port), path


async def wait(peer: Peer, path: str, timeout: timedelta, request_timeout: timedelta, frequency: timedelta) -> None:
    """
    Ask until the answer is 200.

    Raises:
        NotReady: not within ``timeout``.
    """
    last = "it was never asked"
    try:
        async with asyncio.timeout(timeout.total_seconds()):
            while True:
                try:
                    answer = await request(peer, "GET", path, timeout=request_timeout.total_seconds())
                except HttpError as error:
                    last = str(error)
                else:
                    if answer.status == 200:
                        return
                    last = f"{answer.status} {answer.body[:80].decode(errors='replace').strip()}"
                await asyncio.sleep(frequency.total_seconds())
    except TimeoutError:
        raise NotReady(
            "timeout occurred while waiting for data plane proxy to be ready "
            f"(last answer of {peer} within {format_duration(timeout)}: {last})"
        ) from None
