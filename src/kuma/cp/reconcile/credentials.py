"""Streams of proxies end when the token that opened them is worth nothing any more.

Whoever serves a stream holds its token here meanwhile. When the store tells of a change to a list of revoked tokens or
to a signing key, the tokens of that mesh are looked at again, and the streams of those that were revoked or whose key
is gone are ended within a turn of the loop; nothing polls. A stream that begins is looked at once as well, so that a
change between the check of its token and its beginning is not lost.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import structlog

from kuma.core.errors import InvalidToken, MeshError
from kuma.core.identity.claims import DataplaneClaims
from kuma.core.model.resource import Key
from kuma.cp.store.port import Change
from kuma.cp.tokens.kinds import TokenKind
from kuma.cp.tokens.verifier import TokenVerifier, Verified

_RETRY_SECONDS: Final = 1.0

Credential = Verified[DataplaneClaims]

log = structlog.get_logger("registration")


@dataclass(frozen=True, slots=True, eq=False)
class _Held:
    """One stream: whose it is, what opened it, and what ends it."""

    dataplane: Key
    credential: Credential
    end: Callable[[], None]


class Credentials:
    """See the module. ``observe`` takes every committed change, after the verifier's keys took it."""

    def __init__(self, verifier: TokenVerifier) -> None:
        self._verifier = verifier
        self._held: dict[_Held, None] = {}
        self._suspects: dict[_Held, None] = {}
        self._news = asyncio.Event()

    def __len__(self) -> int:
        return len(self._held)

    @contextmanager
    def held(self, dataplane: Key, credential: Credential | None, end: Callable[[], None]) -> Iterator[None]:
        """While a stream lives. ``end`` must only ask it to end. Without a credential there is nothing to watch."""
        if credential is None:
            yield
            return
        held = _Held(dataplane, credential, end)
        self._held[held] = None
        self._suspect([held])
        try:
            yield
        finally:
            del self._held[held]

    def observe(self, changes: Iterable[Change]) -> None:
        """Look again at the tokens that these changes may concern."""
        secrets = [change.key for change in changes if change.key.kind in {"Secret", "GlobalSecret"}]
        if secrets:
            meshes = {held.dataplane.mesh for held in self._held}
            touched = {mesh for mesh in meshes if any(TokenKind.DATAPLANE.concerns(key, mesh) for key in secrets)}
            self._suspect(held for held in self._held if held.dataplane.mesh in touched)

    async def run(self) -> None:
        """Judge suspects until cancelled."""
        while True:
            await self._news.wait()
            self._news.clear()
            suspects, self._suspects = self._suspects, {}
            try:
                for held in suspects:
                    await self._judge(held)
            except MeshError as error:
                log.warning("tokens of connected proxies are checked later", reason=str(error))
                await asyncio.sleep(_RETRY_SECONDS)
                self._suspect(suspects)

    async def _judge(self, held: _Held) -> None:
        if held not in self._held:
            return
        try:
            await self._verifier.recheck_dataplane(held.credential, mesh=held.dataplane.mesh)
        except InvalidToken as error:
            log.warning(
                "the token of a connected proxy is worth nothing any more; its stream ends",
                mesh=held.dataplane.mesh,
                dataplane=held.dataplane.name,
                reason=str(error),
            )
            held.end()

    def _suspect(self, held: Iterable[_Held]) -> None:
        self._suspects.update(dict.fromkeys(held))
        if self._suspects:
            self._news.set()
