"""Issuing tokens over HTTP."""

import jwt
import pytest

from kuma.cp.config import Config
from tests.contract.api.control_plane import FINGERPRINT, REMOTE, control_plane


def claims(answer):
    """What a token says."""
    return jwt.decode(answer.text, options={"verify_signature": False})


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
        ("zone", {"validFor": "1h"}, {"scope": "cannot be empty"}),
        ("user", {}, {"name": "cannot be empty", "validFor": "cannot be empty"}),
        ("user", {"name": "x", "validFor": "0s"}, {"validFor": "cannot be empty or nil"}),
    ],
)
async def test_an_invalid_request_is_explained(client, path, body, faults):
    """Every fault, under the title Kuma's clients know."""
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


async def test_an_invalid_dataplane_token_request_of_anyone_is_400(cp):
    """For dataplane tokens the request is looked at first."""
    async with cp.client(REMOTE) as client:
        assert (await client.post("/tokens/dataplane", json={})).status_code == 400


async def test_a_missing_key_names_the_secret(client):
    """So does a mesh that does not exist."""
    answer = await client.post("/tokens/dataplane", json={"mesh": "nowhere"})

    assert (answer.status_code, answer.json()["title"]) == (404, "Signing Key not found")
    assert "dataplane-token-signing-key-nowhere-1" in answer.json()["detail"]


async def test_issuing_can_be_switched_off():
    """Then tokens come from elsewhere."""
    cp = await control_plane(Config(apiServer={"authn": {"tokens": {"enableIssuer": False}}}))
    async with cp.client() as client:
        answer = await client.post("/tokens/user", json={"name": "x", "validFor": "1h"})

    assert answer.status_code == 400
    assert (answer.json()["title"], answer.json()["detail"]) == (
        "Could not issue a token",
        "issuing tokens using the control plane is disabled.",
    )


async def test_a_token_request_has_to_be_json(client):
    """The header is mandatory."""
    assert (await client.post("/tokens/user", content=b"{}")).status_code == 415
