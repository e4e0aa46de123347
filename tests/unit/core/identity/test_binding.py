"""Whether a valid token allows this proxy: every rule and its words."""

import pytest

from kuma.core.errors import InvalidToken
from kuma.core.identity.binding import DataplaneFacts, check_dataplane, check_zone_proxy
from kuma.core.identity.claims import DataplaneClaims, ZoneClaims

PROXY = DataplaneFacts(
    "dp-1",
    "default",
    ({"kuma.io/service": "web", "team": "a"}, {"kuma.io/service": "web-api"}),
    {"kuma.io/workload": "orders"},
)


@pytest.mark.parametrize(
    "claims",
    [
        DataplaneClaims(),
        DataplaneClaims(name="dp-1", mesh="default"),
        DataplaneClaims(tags={"kuma.io/service": ("web", "web-api", "other")}),
        DataplaneClaims(tags={"team": ("a",)}),
        DataplaneClaims(workload="orders"),
        DataplaneClaims(type="ingress"),
    ],
    ids=repr,
)
def test_a_token_that_fits_is_accepted(claims):
    """Empty claims mean any; the type is not compared, as in Kuma."""
    check_dataplane(claims, PROXY)


@pytest.mark.parametrize(
    "claims, reason",
    [
        (DataplaneClaims(name="dp-2"), "proxy name from requestor: dp-1 is different than in token: dp-2"),
        (DataplaneClaims(mesh="demo"), "proxy mesh from requestor: default is different than in token: demo"),
        (DataplaneClaims(tags={"zone": ("e",)}), 'dataplane has no tag "zone" required by the token'),
        (
            DataplaneClaims(tags={"kuma.io/service": ("web",)}),
            (
                'dataplane contains tag "kuma.io/service" with value "web-api" which is not allowed with this token. '
                'Allowed values in token are ["web"]'
            ),
        ),
        (
            DataplaneClaims(tags={"team": ("c", "b")}),
            (
                'dataplane contains tag "team" with value "a" which is not allowed with this token. '
                'Allowed values in token are ["b" "c"]'
            ),
        ),
        (
            DataplaneClaims(tags={"team": ()}),
            (
                'dataplane contains tag "team" with value "a" which is not allowed with this token. '
                "Allowed values in token are []"
            ),
        ),
        (
            DataplaneClaims(workload="billing"),
            "proxy workload from requestor: orders is different than in token: billing",
        ),
    ],
)
def test_a_token_bound_to_something_else_is_refused_with_the_reason(claims, reason):
    """The words are those an operator finds in Kuma's documentation and logs."""
    with pytest.raises(InvalidToken) as caught:
        check_dataplane(claims, PROXY)
    assert str(caught.value) == reason


def test_an_unbound_token_cannot_claim_a_workload_identity():
    """Where the label becomes the proxy's identity, the token has to name it."""
    proxy = DataplaneFacts("dp", "m", (), {"kuma.io/workload": "orders"}, identity_from_workload=True)
    with pytest.raises(InvalidToken, match="generate a token with --workload orders"):
        check_dataplane(DataplaneClaims(), proxy)
    check_dataplane(DataplaneClaims(workload="orders"), proxy)
    with pytest.raises(InvalidToken, match=r'no label "kuma\.io/workload"'):
        check_dataplane(DataplaneClaims(workload="orders"), DataplaneFacts("dp", "m"))


@pytest.mark.parametrize(
    "claims, reason",
    [
        (ZoneClaims("default", ("ingress", "egress")), None),
        (ZoneClaims("", ("egress",)), None),
        (ZoneClaims("default", ("ingress",)), r"egress is out of token's scope: \[ingress\]"),
        (ZoneClaims("default"), r"egress is out of token's scope: \[\]"),
        (ZoneClaims("east", ("egress",)), "zone from requestor: default is different than in token: east"),
    ],
)
def test_a_zone_token_is_for_its_zone_and_scope(claims, reason):
    """An empty zone means any, an empty scope means none."""
    if reason is None:
        check_zone_proxy(claims, scope="egress", zone="default")
        return
    with pytest.raises(InvalidToken, match=reason):
        check_zone_proxy(claims, scope="egress", zone="default")
