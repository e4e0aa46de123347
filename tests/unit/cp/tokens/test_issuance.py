import base64
import json

import pytest

from kuma.core.identity.claims import DataplaneClaims, UserClaims, ZoneClaims
from kuma.core.model.resource import Key
from kuma.cp.tokens.issuance import issuance
from kuma.cp.tokens.kinds import TokenKind

TIMES = {"jti": "id-1", "iat": 1_800_000_000, "nbf": 1_800_000_000, "exp": 1_800_003_600}


def signed(claims):
    """A token with a signature that is easy to find."""
    parts = (b'{"alg":"RS256"}', json.dumps(claims.payload() | TIMES).encode(), b"the signature of the token")
    return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts)


@pytest.mark.parametrize(
    "kind, claims, key, grants",
    [
        (TokenKind.USER, UserClaims("jöhn", ("a", "b")), Key("UserToken", "", "jöhn"), {"groups": ["a", "b"]}),
        (TokenKind.USER, UserClaims("john"), Key("UserToken", "", "john"), {}),
        (TokenKind.ZONE, ZoneClaims("z", ("egress",)), Key("ZoneToken", "", "z"), {"scope": ["egress"]}),
        (
            TokenKind.DATAPLANE,
            DataplaneClaims("web-1", "demo", {"kuma.io/service": ("web",)}, "ingress", "shop", "sha256:ab"),
            Key("DataplaneToken", "demo", "web-1"),
            {"tags": {"kuma.io/service": ["web"]}, "type": "ingress", "workload": "shop"},
        ),
        (TokenKind.DATAPLANE, DataplaneClaims(mesh="demo"), Key("DataplaneToken", "demo", ""), {}),
    ],
)
def test_an_entry_tells_whom_a_token_is_for_and_how_to_revoke_it(kind, claims, key, grants):
    """And nothing by which anybody could use it."""
    token = signed(claims)

    note = issuance(kind, token)

    assert note.key == key
    assert json.loads(note.text) == {"jti": "id-1", "expires": "2027-01-15T09:00:00Z", **grants}
    assert not any(part.encode() in note.text for part in token.split("."))
