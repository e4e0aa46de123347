"""What tokens say."""

import contextlib
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kuma.core.errors import InvalidToken
from kuma.core.identity.claims import DataplaneClaims, UserClaims, ZoneClaims, registered

READERS = [UserClaims.read, DataplaneClaims.read, ZoneClaims.read]
CLAIMS = [
    UserClaims("john", ("team-a", "team-b")),
    UserClaims("john"),
    DataplaneClaims(),
    DataplaneClaims("dp", "default", {"kuma.io/service": ("web", "api")}, "dataplane", "orders", "sha256:00"),
    ZoneClaims("east", ("ingress", "egress"), "sha256:00"),
    ZoneClaims(),
]


@pytest.mark.parametrize("claims", CLAIMS, ids=repr)
def test_what_is_written_reads_back(claims):
    """Issuer and verifier agree on every kind."""
    assert type(claims).read(claims.payload()) == claims


def test_claims_are_written_as_kuma_writes_them():
    """Capital letters, every claim present, null for no groups; the fingerprint only where there is one."""
    assert UserClaims("john").payload() == {"Name": "john", "Groups": None}
    assert DataplaneClaims(mesh="default").payload() == {
        "Name": "", "Mesh": "default", "Tags": {}, "Type": "", "Workload": "",
    }  # fmt: skip
    assert ZoneClaims("z", ("egress",), "sha256:00").payload() == {
        "Zone": "z", "Scope": ["egress"], "CaFingerprint": "sha256:00",
    }  # fmt: skip


def test_a_token_starts_five_seconds_ago_and_ends_after_its_validity():
    """Whole seconds, so that clocks a little behind accept it at once."""
    now = datetime(2026, 1, 1, tzinfo=UTC)
    second = int(now.timestamp())
    assert registered(now=now, valid_for=timedelta(hours=1), jti="x") == {
        "jti": "x", "iat": second - 5, "nbf": second - 5, "exp": second + 3600,
    }  # fmt: skip


@pytest.mark.parametrize("claims", CLAIMS, ids=repr)
def test_a_token_of_one_kind_is_not_one_of_another(claims):
    """A key shared by several kinds does not turn a proxy's token into a user's."""
    for kind in {UserClaims, DataplaneClaims, ZoneClaims} - {type(claims)}:
        with pytest.raises(InvalidToken, match="not a token of"):
            kind.read(claims.payload())


@pytest.mark.parametrize(
    "kind, payload",
    [
        (UserClaims, {"Name": 1}),
        (UserClaims, {"Name": ""}),
        (UserClaims, {}),
        (UserClaims, {"Name": "a", "Groups": "admins"}),
        (UserClaims, {"Name": "a", "Groups": [1]}),
        (DataplaneClaims, {"Mesh": ["default"]}),
        (DataplaneClaims, {"Tags": ["a"]}),
        (DataplaneClaims, {"Tags": {"a": "b"}}),
        (ZoneClaims, {"Zone": {}}),
        (ZoneClaims, {"Scope": "egress"}),
    ],
)
def test_a_claim_of_the_wrong_type_is_refused(kind, payload):
    """A string is never taken for a list of its letters."""
    with pytest.raises(InvalidToken, match="could not parse token: claim"):
        kind.read(payload)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(["Name", "Groups", "Mesh", "Tags", "Type", "Workload", "Zone", "Scope"]), JSON))
def test_no_claims_break_the_reader(payload):
    """Whatever was signed, the answer is claims or InvalidToken."""
    for read in READERS:
        with contextlib.suppress(InvalidToken):
            read(payload)
