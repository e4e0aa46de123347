"""Envoy's admin interface, found in the bootstrap: on a Unix socket, or on a TCP port."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

from kuma.core.errors import BadRequest, TooLarge
from kuma.core.model.text import parse_document, parse_json
from kuma.dp.errors import JoinRefused
from kuma.dp.http import Answer, HttpError, Peer, request

log = logging.getLogger("kuma.dp.admin")

_SECONDS: Final = 2
_STARTING: Final = (b"PRE_INITIALIZING", b"INITIALIZING")
_COUNTERS: Final = quote(r"^listener\..*\.downstream_cx_(active|total)$", safe="")
_NOT_FOR_USERS: Final = ("kuma:", "_kuma:", "system_", "probe:")
"""Names of listeners by which operators and probes look at the proxy."""


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

    async def is_starting(self) -> bool:
        """Whether Envoy never had a configuration, so that it listens nowhere yet."""
        try:
            return (await self.ready()).body.startswith(_STARTING)
        except HttpError:
            return False

    async def connections(self) -> tuple[int, int]:
        """
        How many connections are open to the listeners for users, and how many there ever were.

        Raises:
            HttpError: Envoy does not answer.
        """
        try:
            listeners = set(_listeners(parse_json(await self._read("/listeners?format=json"))))
            counted = parse_json(await self._read(f"/stats?format=json&filter={_COUNTERS}"))["stats"]
            values = {stat["name"]: int(stat["value"]) for stat in counted if "name" in stat}
        except (BadRequest, TooLarge, TypeError, ValueError, LookupError, AttributeError) as error:
            raise HttpError("Envoy's answer is not understood") from error
        is_open = sum(values.get(f"{name}.downstream_cx_active", 0) for name in listeners)
        return is_open, sum(values.get(f"{name}.downstream_cx_total", 0) for name in listeners)

    async def fail_health_checks(self) -> None:
        """Tell everyone who asks that no new work is wanted."""
        await self._command("/healthcheck/fail")

    async def drain_inbound(self) -> None:
        """Let inbound connections end one by one, and go on living."""
        await self._command("/drain_listeners?inboundonly&graceful&skip_exit")

    async def _read(self, path: str) -> bytes:
        if self._peer is None:
            raise HttpError("this Envoy has no admin interface")
        return (await request(self._peer, "GET", path, timeout=_SECONDS)).body

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


def _listeners(answer: Any) -> Iterator[str]:
    """The names under which Envoy counts for its listeners for users."""
    for status in answer.get("listener_statuses", ()):
        address = status.get("local_address", {}).get("socket_address")
        if address and not status["name"].startswith(_NOT_FOR_USERS):
            host = f"[{address['address']}]" if ":" in address["address"] else address["address"]
            yield f"listener.{host}:{address['port_value']}".replace(":", "_")


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
