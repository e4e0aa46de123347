"""What the change log keeps of a token that was issued: whom it is for, what it grants and how to revoke it.

It is read from the token itself, so that the two cannot differ. The token is not in it, nor any part of its signature.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from kuma.core.model.resource import Key
from kuma.cp.store.port import Note
from kuma.cp.tokens.kinds import TokenKind

ENTRY_KINDS: Final[Mapping[TokenKind, str]] = {
    TokenKind.DATAPLANE: "DataplaneToken",
    TokenKind.ZONE: "ZoneToken",
    TokenKind.USER: "UserToken",
}
"""What the log calls the issue of a token of each kind; no resource is of such a kind."""

_GRANTS: Final = ("Groups", "Tags", "Type", "Workload", "Scope")


def issuance(kind: TokenKind, token: str) -> Note:
    """The entry about a token that this control plane has just signed."""
    claims = _claims(token)
    expires = datetime.fromtimestamp(claims["exp"], UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    told: dict[str, Any] = {"jti": claims["jti"], "expires": expires}
    told |= {claim.lower(): claims[claim] for claim in _GRANTS if claims.get(claim)}
    name = claims["Zone"] if kind is TokenKind.ZONE else claims["Name"]
    text = json.dumps(told, ensure_ascii=False, separators=(",", ":")).encode()
    return Note(Key(ENTRY_KINDS[kind], claims.get("Mesh", ""), name), text)


def _claims(token: str) -> Mapping[str, Any]:
    body = token.split(".")[1]
    claims: Mapping[str, Any] = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    return claims
