"""From a request to its ``User``.

A direct local caller is the administrator whatever else it sends; then a bearer token decides; a caller with neither is
anonymous. Only a credential that was given and is wrong is an error.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from kuma.core.errors import InvalidToken, Unauthenticated
from kuma.core.identity.claims import UserClaims
from kuma.cp.access.localhost import RequestFacts, localhost_user
from kuma.cp.access.user import ADMIN, ANONYMOUS, User

_BEARER = "Bearer "


async def identify(
    facts: RequestFacts,
    *,
    localhost_is_admin: bool,
    verify_user: Callable[[str], Awaitable[UserClaims]] | None,
    client_certificate_is_admin: bool = False,
) -> User:
    """
    Who makes this request.

    ``verify_user`` is None where user tokens are not in use. ``client_certificate_is_admin`` says that the connection
    showed a verified certificate and that such callers are administrators here.

    Raises:
        Unauthenticated: a token was given and is refused. The cause carries the reason, for the log only.
    """
    if localhost_is_admin and localhost_user(facts):
        return ADMIN
    if client_certificate_is_admin:
        return ADMIN
    values = facts.values("authorization")
    if verify_user is None or not any(value.startswith(_BEARER) for value in values):
        return ANONYMOUS
    if len(values) > 1:
        raise Unauthenticated("Unauthenticated") from InvalidToken("several Authorization headers")
    try:
        claims = await verify_user(values[0].removeprefix(_BEARER))
    except InvalidToken as error:
        raise Unauthenticated("Unauthenticated") from error
    return User.authenticated(claims.name, claims.groups)
