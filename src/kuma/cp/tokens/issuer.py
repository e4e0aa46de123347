"""Issuing tokens, signed with the newest key of their kind.

The issuer does not ask who may have a token; ``kuma.cp.access`` does, before.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Final

from kuma.core.errors import BadRequest
from kuma.core.identity.claims import DataplaneClaims, UserClaims, ZoneClaims, registered
from kuma.cp.tokens import jws
from kuma.cp.tokens.keys import SigningKeys
from kuma.cp.tokens.kinds import TokenKind

DEFAULT_VALIDITY: Final = timedelta(days=365 * 10)
"""Of dataplane, zone and the first admin token, where none is asked for."""


class TokenIssuer:
    """
    Issues all kinds of token. ``new_id`` gives the id by which a token can be revoked, a random UUID.

    Every method raises ``SigningKeyNotFound`` if the key is absent, and ``BadRequest`` if ``enabled`` is False for
    the kind or the token would be too long to be accepted.
    """

    def __init__(
        self,
        keys: SigningKeys,
        *,
        new_id: Callable[[], str],
        enabled: Mapping[TokenKind, bool] = MappingProxyType({}),
    ) -> None:
        self._keys = keys
        self._new_id = new_id
        self._enabled = {kind: enabled.get(kind, True) for kind in TokenKind}

    async def issue_user_token(self, claims: UserClaims, *, valid_for: timedelta, now: datetime) -> str:
        return await self._issue(TokenKind.USER, "", claims, valid_for, now)

    async def issue_dataplane_token(
        self, claims: DataplaneClaims, *, now: datetime, valid_for: timedelta = DEFAULT_VALIDITY
    ) -> str:
        """``claims.mesh`` decides whose key signs, and has to be set."""
        return await self._issue(TokenKind.DATAPLANE, claims.mesh, claims, valid_for, now)

    async def issue_zone_token(
        self, claims: ZoneClaims, *, now: datetime, valid_for: timedelta = DEFAULT_VALIDITY
    ) -> str:
        return await self._issue(TokenKind.ZONE, "", claims, valid_for, now)

    async def _issue(
        self,
        kind: TokenKind,
        mesh: str,
        claims: UserClaims | DataplaneClaims | ZoneClaims,
        valid_for: timedelta,
        now: datetime,
    ) -> str:
        if not self._enabled[kind]:
            raise BadRequest("issuing tokens using the control plane is disabled.")
        key = await self._keys.latest(kind, mesh)
        token = jws.sign(claims.payload() | registered(now=now, valid_for=valid_for, jti=self._new_id()), key)
        if len(token) > jws.MAX_TOKEN_BYTES:
            raise BadRequest(
                f"the token would have {len(token)} bytes, and no more than {jws.MAX_TOKEN_BYTES} are accepted: "
                "ask for fewer or shorter names, tags or groups"
            )
        return token
