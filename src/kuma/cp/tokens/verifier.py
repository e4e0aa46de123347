"""Verifying tokens: from the text a caller sent to a frozen identity.

The signature of one and the same token is checked once and remembered (bounded, forgotten when it ends); its lifetime,
its key's presence and its revocation are checked every time. So a thousand proxies that come back at once with a shared
token cost a thousand dictionary look-ups, and a key that is removed or a token that is revoked counts at once.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final, Generic, TypeVar

from kuma.core.errors import InvalidToken
from kuma.core.identity.claims import DataplaneClaims, UserClaims, ZoneClaims
from kuma.cp.tokens import jws
from kuma.cp.tokens.keys import SigningKeys, missing_key
from kuma.cp.tokens.kinds import TokenKind
from kuma.cp.tokens.material import StaticKey, VerificationKey

MAX_REMEMBERED: Final = 10_000

Claims = TypeVar("Claims", UserClaims, DataplaneClaims, ZoneClaims)


@dataclass(frozen=True, slots=True)
class Trust:
    """What one kind of token may be verified with: keys of the store, keys of the settings, or both."""

    use_secrets: bool = True
    public_keys: tuple[StaticKey, ...] = ()


@dataclass(frozen=True, slots=True)
class Verified(Generic[Claims]):
    """A token that holds: what it says, and what revocation and rotation would name. The token itself is not in it."""

    claims: Claims
    kid: str
    lifetime: jws.Lifetime
    key_digest: bytes = field(repr=False)


class TokenVerifier:
    """
    Verifies all kinds of token.

    ``trust`` is by kind; a kind that is not named trusts the store. ``store_in_memory`` adds to a refusal that keys did
    not survive a restart.
    """

    def __init__(
        self,
        keys: SigningKeys,
        *,
        trust: Mapping[TokenKind, Trust] = MappingProxyType({}),
        store_in_memory: bool = False,
    ) -> None:
        self._keys = keys
        self._trust = {kind: trust.get(kind, Trust()) for kind in TokenKind}
        self._static = {
            kind: [(key.mesh, key.verification_key()) for key in of_kind.public_keys]
            for kind, of_kind in self._trust.items()
        }
        self._hint = (
            " (kuma-cp runs with an in-memory database: keys from before its last start are gone, and instances of the "
            "control plane do not share any; generate a new token, or use a store that lasts)"
            if store_in_memory
            else ""
        )
        self._remembered: OrderedDict[bytes, Verified[Any]] = OrderedDict()

    async def verify_user(self, token: str, *, now: datetime) -> Verified[UserClaims]:
        """Raises: InvalidToken."""
        return await self._verify(TokenKind.USER, token, "", now, UserClaims.read)

    async def verify_dataplane(self, token: str, *, mesh: str, now: datetime) -> Verified[DataplaneClaims]:
        """
        The token of a proxy; ``mesh`` is the one it asks to join, and its keys decide.

        What the claims allow is for ``kuma.core.identity.binding.check_dataplane``.

        Raises:
            InvalidToken
        """
        return await self._verify(TokenKind.DATAPLANE, token, mesh, now, DataplaneClaims.read)

    async def recheck_dataplane(self, verified: Verified[DataplaneClaims], *, mesh: str) -> None:
        """
        Whether a token that was accepted is still good, for the stream that it opened.

        Its end does not matter, as in Kuma: it says until when streams may be opened. Neither does what cannot be read;
        an accident with a secret must not disconnect a fleet.

        Raises:
            InvalidToken: it was revoked, or its key is gone or was replaced.
        """
        keys = await self._keys.key_set(TokenKind.DATAPLANE, mesh)
        if verified.lifetime.jti in keys.revoked:
            raise InvalidToken("token is revoked")
        if verified.kid in keys.unreadable:
            return
        candidates = await self._candidates(TokenKind.DATAPLANE, mesh, verified.kid)
        if all(key.digest != verified.key_digest for key in candidates):
            raise InvalidToken(f"the signing key with KID {verified.kid} was replaced; generate a new token")

    async def verify_zone(self, token: str, *, now: datetime) -> Verified[ZoneClaims]:
        """Raises: InvalidToken."""
        return await self._verify(TokenKind.ZONE, token, "", now, ZoneClaims.read)

    async def _verify(
        self,
        kind: TokenKind,
        token: str,
        mesh: str,
        now: datetime,
        read: Callable[[Mapping[str, Any]], Claims],
    ) -> Verified[Claims]:
        jws.check_size(token)
        slot = hashlib.sha256(f"{kind.name}\0{token}".encode()).digest()
        known = self._remembered.get(slot)
        kid = known.kid if known else jws.key_id(token)
        candidates = await self._candidates(kind, mesh, kid)
        if known and any(key.digest == known.key_digest for key in candidates):
            verified: Verified[Claims] = known
        else:
            verified = self._check(token, kid, candidates, read)
        try:
            verified.lifetime.check(now)
        except InvalidToken:
            self._remembered.pop(slot, None)
            raise
        self._remember(slot, verified)
        keys = await self._keys.key_set(kind, mesh)
        if keys.unreadable_revocations:
            raise InvalidToken(f"could not check if the token is revoked: {keys.unreadable_revocations}")
        if verified.lifetime.jti in keys.revoked:
            raise InvalidToken("token is revoked")
        return verified

    async def _candidates(self, kind: TokenKind, mesh: str, kid: str) -> Sequence[VerificationKey]:
        static = [key for of_mesh, key in self._static[kind] if key.kid == kid and of_mesh in ("", kind.home(mesh))]
        if not self._trust[kind].use_secrets:
            if not static:
                raise InvalidToken(f"could not parse token: no public key with KID {kid} is configured")
            return static
        keys = await self._keys.key_set(kind, mesh)
        stored = keys.verification.get(kid)
        if stored is not None:
            return (*static, stored)
        if static:
            return static
        if kid in keys.unreadable:
            raise InvalidToken(f"could not parse token: its signing key cannot be used: {keys.unreadable[kid]}")
        raise InvalidToken(f"{missing_key(kind, mesh, kid)}{self._hint}")

    def _check(
        self,
        token: str,
        kid: str,
        candidates: Sequence[VerificationKey],
        read: Callable[[Mapping[str, Any]], Claims],
    ) -> Verified[Claims]:
        refusal = InvalidToken("could not parse token: no key")
        for key in candidates:
            try:
                opened = jws.verify(token, key)
            except InvalidToken as error:
                refusal = error
            else:
                return Verified(read(opened.payload), kid, opened.lifetime, key.digest)
        raise InvalidToken(f"{refusal}{self._hint}") from refusal

    def _remember(self, slot: bytes, entry: Verified[Any]) -> None:
        self._remembered[slot] = entry
        self._remembered.move_to_end(slot)
        if len(self._remembered) > MAX_REMEMBERED:
            self._remembered.popitem(last=False)
