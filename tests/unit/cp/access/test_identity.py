"""From a request to its user."""

import pytest

from kuma.core.errors import InvalidToken, Unauthenticated
from kuma.core.identity.claims import UserClaims
from kuma.cp.access.identity import identify
from kuma.cp.access.localhost import RequestFacts
from kuma.cp.access.user import ADMIN, ANONYMOUS, User

HOST = ("host", "localhost:5681")


async def _verify(token):
    if token != "good":
        raise InvalidToken("token is expired")
    return UserClaims("john", ("team-a",))


async def _who(peer, *headers, localhost_is_admin=True, verify_user=_verify, **options):
    facts = RequestFacts(peer, (HOST, *headers))
    return await identify(facts, localhost_is_admin=localhost_is_admin, verify_user=verify_user, **options)


async def test_a_local_caller_is_admin_even_with_a_bad_token():
    """As in Kuma: who is identified already is not identified again."""
    assert await _who("127.0.0.1", ("Authorization", "Bearer bad")) == ADMIN


async def test_localhost_is_nobody_special_when_switched_off():
    """The setting closes the door."""
    assert await _who("127.0.0.1", localhost_is_admin=False) == ANONYMOUS


async def test_a_good_token_names_its_user():
    """With its groups and the group of all verified users."""
    user = await _who("10.0.0.1", ("authorization", "Bearer good"))
    assert user == User("john", ("team-a", "mesh-system:authenticated"))


@pytest.mark.parametrize("value", ["", "good", "bearer good", "Basic Z29vZA==", "Bearer"])
async def test_what_is_no_bearer_token_is_anonymous(value):
    """Only exactly `Bearer ` starts a credential of ours."""
    assert await _who("10.0.0.1", ("Authorization", value)) == ANONYMOUS


async def test_a_bad_token_is_refused_without_saying_why():
    """The caller learns nothing; the cause has the reason, for the log."""
    with pytest.raises(Unauthenticated) as caught:
        await _who("10.0.0.1", ("Authorization", "Bearer bad"))
    assert str(caught.value) == "Unauthenticated"
    assert str(caught.value.__cause__) == "token is expired"


@pytest.mark.parametrize("other", ["Basic x", "Bearer bad", "Bearer good", ""])
@pytest.mark.parametrize("first", [True, False])
async def test_several_credentials_are_refused(other, first):
    """It must not depend on who reads the headers which of them counts."""
    headers = [("Authorization", "Bearer good"), ("authorization", other)]
    with pytest.raises(Unauthenticated):
        await _who("10.0.0.1", *(headers if first else reversed(headers)))


async def test_client_certificates_make_admins_where_so_configured():
    """The legacy way of `adminClientCerts`, in which tokens mean nothing."""
    assert await _who("10.0.0.1", client_certificate_is_admin=True, verify_user=None) == ADMIN
    assert await _who("10.0.0.1", ("Authorization", "Bearer bad"), verify_user=None) == ANONYMOUS
