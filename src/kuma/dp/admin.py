"""Envoy's admin interface, found in the bootstrap: on a Unix socket, or on a TCP port."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kuma.core.errors import BadRequest, TooLarge
from kuma.core.model.text import parse_document
from kuma.dp.errors import JoinRefused
from kuma.dp.http import Answer, HttpError, Peer, request

log = logging.getLogger("kuma.dp.admin")

_SECONDS = 2


@dataclass(frozen=True, slots=True)
class Bootstrap:
    """What kuma-dp needs to know of the configuration Envoy starts with."""

    admin: Peer | None
    token_is_reloaded: bool
    """Whether Envoy reads the token file itself."""

    @classmethod
    def read(cls, text: bytes) -> Bootstrap:
        """
        Look into the control plane's answer.

        Raises:
            JoinRefused: the text is no bootstrap.
        """
        try:
            data = parse_document(text.decode())
            services = _at(data, "dynamicResources", "adsConfig").get("grpcServices") or []
            return cls(_admin(_at(data, "admin", "address")), any("googleGrpc" in service for service in services))
        except (BadRequest, TooLarge, UnicodeDecodeError, TypeError, ValueError, LookupError, AttributeError) as error:
            raise JoinRefused("the control plane sent a bootstrap that is not one of Envoy") from error


class Admin:
    """Commands to Envoy. A command that fails is logged: nothing better can be done than to go on."""

    def __init__(self, peer: Peer | None) -> None:
        self._peer = peer

    @property
    def on_socket(self) -> bool:
        return self._peer is not None and bool(self._peer.unix_socket)

    @property
    def host(self) -> str:
        """The address of a TCP admin interface, else empty."""
        return self._peer.host if self._peer else ""

    async def ready(self) -> Answer:
        """
        Envoy's own answer to ``/ready``.

        Raises:
            HttpError: Envoy does not answer.
        """
        if self._peer is None:
            raise HttpError("this Envoy has no admin interface")
        return await request(self._peer, "GET", "/ready", timeout=_SECONDS)

    async def fail_health_checks(self) -> None:
        """Tell everyone who asks that no new work is wanted."""
        await self._command("/healthcheck/fail")

    async def drain_inbound(self) -> None:
        """Let inbound connections end one by one, and go on living."""
        await self._command("/drain_listeners?inboundonly&graceful&skip_exit")

    async def _command(self, path: str) -> None:
        if self._peer is None:
            log.warning("Envoy has no admin interface: %s is left out", path)
            return
        try:
            answer = await request(self._peer, "POST", path, timeout=_SECONDS)
        except HttpError as error:
            log.warning("Envoy did not take %s: %s", path, error)
            return
        if answer.status != 200:
            log.warning("Envoy answered %s with %d", path, answer.status)


def _at(data: Any, *path: str) -> Mapping[str, Any]:
    for part in path:
        data = data.get(part) or {}
    if not isinstance(data, Mapping):
        raise TypeError(path)
    return data


def _admin(address: Mapping[str, Any]) -> Peer | None:
    if pipe := _at(address, "pipe").get("path"):
        return Peer(unix_socket=str(pipe))
    socket = _at(address, "socketAddress")
    if not socket:
        return None
    return Peer(host=str(socket.get("address") or "127.0.0.1"), port=int(socket["portValue"]))
