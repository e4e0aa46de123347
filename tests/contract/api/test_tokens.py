"""Issuing tokens over HTTP."""

import base64
from datetime import timedelta

import jwt
import pytest

from kuma.core.identity.claims import UserClaims
from kuma.cp.config import Config
from tests.contract.api.control_plane import FINGERPRINT, REMOTE, control_plane, now

UNVERIFIED = {"verify_signature": False}


def claims(answer):
    """What a token says."""
    return jwt.decode(answer.text, options=UNVERIFIED)


async def test_a_dataplane_token_is_plain_text_and_names_the_ca(client):
    """The text is the token and nothing else."""
    answer = await client.post(
        "/tokens/dataplane",
        json={"name": "web-1", "mesh": "default", "tags": {"kuma.io/service": ["web"]}, "validFor": "24h0m0s"},
    )

    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/plain"
    said = claims(answer)
    assert (said["Name"], said["Mesh"], said["Tags"]) == ("web-1", "default", {"kuma.io/service": ["web"]})
    assert said["CaFingerprint"] == FINGERPRINT
    assert said["exp"] - said["iat"] == 24 * 3600 + 5


async def test_a_zone_token_defaults_to_this_zone(client):
    """An empty zone means ours."""
    answer = await client.post("/tokens/zone", json={"scope": ["egress"], "validFor": "1h"})

    assert (claims(answer)["Zone"], claims(answer)["Scope"]) == ("default", ["egress"])


async def test_a_user_token_works(cp, client):
    """What is issued is accepted."""
    token = (await client.post("/tokens/user", json={"name": "john", "groups": ["a"], "validFor": "1h"})).text
    async with cp.client(REMOTE, headers={"authorization": f"Bearer {token}"}) as john:
        assert (await john.get("/who-am-i")).json()["name"] == "john"


@pytest.mark.parametrize(
    "path, body, faults",
    [
        ("dataplane", {}, {"mesh": "cannot be empty"}),
        ("dataplane", {"mesh": "default", "validFor": "x"}, {"validFor": 'is invalid: time: invalid duration "x"'}),
        ("dataplane", {"mesh": "default", "type": "x"}, {"type": "must be one of dataplane, ingress, egress"}),
        ("dataplane", {"mesh": 5}, {"mesh": "in body must be of type string"}),
        ("dataplane", {"mesh": "default", "tags": {"a": "b"}}, {"tags.a": "in body must be of type array"}),
        ("dataplane", {"mesh": "default", "tags": {"": ["b"]}}, {"tags": "the name of a tag cannot be empty"}),
        ("zone", {"validFor": "1h"}, {"scope": "cannot be empty"}),
        ("zone", {"scope": ["egress", "foo"]}, {"scope[1]": "must be one of ingress, egress"}),
        ("user", {}, {"name": "cannot be empty", "validFor": "cannot be empty"}),
        ("user", {"name": "x", "validFor": "0s"}, {"validFor": "cannot be empty or nil"}),
    ],
)
async def test_an_invalid_request_is_explained(client, path, body, faults):
    """Every fault, under the title Kuma's clients know."""
    answer = await client.post(f"/tokens/{path}", json=body)

    assert (answer.status_code, answer.json()["title"]) == (400, "Invalid request")
    assert {p["field"]: p["reason"] for p in answer.json()["invalid_parameters"]} == faults


async def test_a_limit_in_other_letters_limits_all_the_same(client):
    """Kuma reads names of fields without regard to case, so its users may write them so."""
    wanted = {"Mesh": "default", "Tags": {"kuma.io/service": ["web"]}, "ValidFor": "1h", "TYPE": "dataplane"}
    proxy = claims(await client.post("/tokens/dataplane", json=wanted))
    user = claims(await client.post("/tokens/user", json={"Name": "john", "Groups": ["a"], "validfor": "1h"}))

    assert (proxy["Tags"], proxy["Type"]) == ({"kuma.io/service": ["web"]}, "dataplane")
    assert proxy["exp"] - proxy["iat"] == 3600 + 5
    assert user["Groups"] == ["a"]


@pytest.mark.parametrize(
    "path, body, faults",
    [
        ("dataplane", {"mesh": "default", "tag": {"kuma.io/service": ["web"]}}, {"tag": "is not known"}),
        ("user", {"name": "x", "validFor": "1h", "group": ["a"]}, {"group": "is not known"}),
        ("zone", {"scope": ["egress"], "valid-for": "1h"}, {"valid-for": "is not known"}),
        ("dataplane", {"mesh": "default", "tags": {"a": ["b"]}, "Tags": {}}, {"tags": "is given more than once"}),
    ],
)
async def test_a_limit_that_is_spelt_wrong_is_refused(client, path, body, faults):
    """A token without it would grant more than was meant."""
    answer = await client.post(f"/tokens/{path}", json=body)

    assert (answer.status_code, answer.json()["title"]) == (400, "Invalid request")
    assert {p["field"]: p["reason"] for p in answer.json()["invalid_parameters"]} == faults


@pytest.mark.parametrize("path", ["dataplane", "zone", "user"])
@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'"x"'])
async def test_a_body_that_is_no_object_is_refused(client, path, body):
    """Also an empty one."""
    answer = await client.post(f"/tokens/{path}", content=body, headers={"content-type": "application/json"})

    assert (answer.status_code, answer.json()["title"]) == (400, "Bad Request")


@pytest.mark.parametrize(
    "path, body, detail",
    [
        ("dataplane", {"mesh": "default"}, "cannot access generate dataplane token"),
        ("zone", {"zone": "z", "scope": ["egress"]}, "cannot access generate zone token for zone 'z'"),
        ("user", {}, "action not allowed"),
    ],
)
async def test_only_the_administrator_gets_tokens(cp, path, body, detail):
    """For user tokens this is found before the request is looked at."""
    async with cp.client(REMOTE) as client:
        answer = await client.post(f"/tokens/{path}", json=body)

    assert (answer.status_code, answer.json()["title"]) == (403, "Access Denied")
    assert answer.json()["detail"].endswith(detail)


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"name": 5}', b'{"zeal": 1}'])
async def test_who_may_have_no_user_token_learns_nothing_of_the_request(cp, body):
    """Nobody is helped to write a request that would be refused anyway."""
    async with cp.client(REMOTE, headers={"content-type": "application/json"}) as client:
        assert (await client.post("/tokens/user", content=body)).status_code == 403


@pytest.mark.parametrize("body", [{}, {"scope": ["foo"]}, {"scope": ["egress"], "validFor": "x"}])
async def test_who_may_have_no_zone_token_is_not_told_what_is_wrong_in_it(cp, body):
    """The zone is read first, since the right may depend on it; its scope and its validity come after."""
    async with cp.client(REMOTE) as client:
        assert (await client.post("/tokens/zone", json=body)).status_code == 403


async def test_an_invalid_dataplane_token_request_of_anyone_is_400(cp):
    """For dataplane tokens the request is looked at first."""
    async with cp.client(REMOTE) as client:
        assert (await client.post("/tokens/dataplane", json={})).status_code == 400


async def test_a_missing_key_names_the_secret(client):
    """So does a mesh that does not exist."""
    answer = await client.post("/tokens/dataplane", json={"mesh": "nowhere"})

    assert (answer.status_code, answer.json()["title"]) == (404, "Signing Key not found")
    assert "dataplane-token-signing-key-nowhere-1" in answer.json()["detail"]


OFF = {"enableIssuer": False}


@pytest.mark.parametrize(
    "config, refused",
    [
        ({"apiServer": {"authn": {"tokens": OFF}}}, "user"),
        ({"dpServer": {"authn": {"dpProxy": {"dpToken": OFF}}}}, "dataplane"),
        ({"dpServer": {"authn": {"zoneProxy": {"zoneToken": OFF}}}}, "zone"),
    ],
)
async def test_issuing_can_be_switched_off(config, refused):
    """For each kind by itself; then its tokens come from elsewhere."""
    cp = await control_plane(Config(**config))
    requests = {
        "user": {"name": "x", "validFor": "1h"},
        "dataplane": {"mesh": "default"},
        "zone": {"scope": ["egress"]},
    }
    async with cp.client() as client:
        answers = {path: await client.post(f"/tokens/{path}", json=body) for path, body in requests.items()}

    assert {path for path, answer in answers.items() if answer.status_code != 200} == {refused}
    assert answers[refused].status_code == 400
    assert (answers[refused].json()["title"], answers[refused].json()["detail"]) == (
        "Could not issue a token",
        "issuing tokens using the control plane is disabled.",
    )


@pytest.mark.parametrize("path, body", [("dataplane", {"mesh": "default"}), ("zone", {"scope": ["egress"]})])
async def test_a_proxys_token_holds_ten_years_unless_said_otherwise(client, path, body):
    """As in Kuma; a user's token has no default."""
    said = claims(await client.post(f"/tokens/{path}", json=body))

    assert said["exp"] - said["nbf"] == 10 * 365 * 24 * 3600 + 5
    assert said["iat"] == said["nbf"]


async def test_a_token_too_long_to_be_accepted_is_not_issued(client):
    """Its owner would find out much later, and elsewhere."""
    answer = await client.post("/tokens/user", json={"name": "x", "groups": ["g"] * 5000, "validFor": "1h"})

    assert (answer.status_code, answer.json()["title"]) == (400, "Could not issue a token")
    assert "no more than 16384 are accepted" in answer.json()["detail"]


async def test_the_names_of_claims_are_kumas(client):
    """Capital letters, everything present, and null for no groups: tools read them."""
    user = claims(await client.post("/tokens/user", json={"name": "john", "validFor": "1h"}))
    dataplane = claims(await client.post("/tokens/dataplane", json={"mesh": "default"}))
    zone = claims(await client.post("/tokens/zone", json={"scope": ["ingress", "egress"]}))

    assert set(user) == {"Name", "Groups", "jti", "iat", "nbf", "exp"}
    assert user["Groups"] is None
    assert set(dataplane) - set(user) == {"Mesh", "Tags", "Type", "Workload", "CaFingerprint"}
    assert set(zone) - set(user) == {"Zone", "Scope", "CaFingerprint"}
    header = jwt.get_unverified_header((await client.post("/tokens/dataplane", json={"mesh": "default"})).text)
    assert header == {"alg": "RS256", "kid": "1", "typ": "JWT"}


def secret(name, value):
    """A global secret as users write it."""
    return {"type": "GlobalSecret", "name": name, "data": base64.b64encode(value).decode()}


async def test_a_revoked_token_is_refused_from_the_answer_on(cp, client):
    """Who was told that the list is written need not wait; taken off the list, the token is good again."""
    token = await cp.user_token("john")
    listed = secret("user-token-revocations", f"other,{jwt.decode(token, options=UNVERIFIED)['jti']}\n".encode())
    async with cp.client(REMOTE, headers={"authorization": f"Bearer {token}"}) as john:
        assert (await john.get("/who-am-i")).status_code == 200
        assert (await client.put("/global-secrets/user-token-revocations", json=listed)).status_code == 201
        assert (await john.get("/who-am-i")).status_code == 401
        assert (await client.delete("/global-secrets/user-token-revocations")).status_code == 200
        assert (await john.get("/who-am-i")).status_code == 200


async def test_the_key_of_users_is_rotated_without_a_gap(cp, client):
    """Add key 2: it signs from then on, and both count; delete key 1: its tokens end."""
    first = (await client.get("/global-secrets/user-token-signing-key-1")).json()
    old = await cp.user_token("old")
    assert (
        await client.put("/global-secrets/user-token-signing-key-2", json={**first, "name": "user-token-signing-key-2"})
    ).status_code == 201
    new = await cp.user_token("new")
    assert jwt.get_unverified_header(new)["kid"] == "2"

    async def answers():
        found = []
        for token in (old, new):
            async with cp.client(REMOTE, headers={"authorization": f"Bearer {token}"}) as caller:
                found.append((await caller.get("/who-am-i")).status_code)
        return found

    assert await answers() == [200, 200]
    assert (await client.delete("/global-secrets/user-token-signing-key-1")).status_code == 200
    assert await answers() == [401, 200]


async def test_a_token_that_ran_out_is_refused(cp):
    """To the second; the clock of the control plane decides."""
    issue = cp.issuer.issue_user_token
    token = await issue(UserClaims("john"), valid_for=timedelta(seconds=10), now=now() - timedelta(seconds=11))
    async with cp.client(REMOTE, headers={"authorization": f"Bearer {token}"}) as john:
        assert (await john.get("/who-am-i")).status_code == 401


async def test_a_token_request_has_to_be_json(client):
    """The header is mandatory."""
    assert (await client.post("/tokens/user", content=b"{}")).status_code == 415
