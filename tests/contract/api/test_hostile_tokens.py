"""Forged and odd tokens, as bearers and as proxies show them: refused, quickly, with 401, and never a fault of ours."""

from __future__ import annotations

import base64
import time

import pytest

from kuma.core.errors import InvalidToken
from kuma.core.identity.claims import DataplaneClaims, ZoneClaims
from kuma.cp.tokens.keys import SigningKeys
from kuma.cp.tokens.verifier import TokenVerifier
from tests.contract.api.control_plane import REMOTE, now
from tests.contract.api.hostile_tokens import hostile

AT_MOST = 0.25
"""Seconds for one token; a signature is checked in less than a millisecond."""


async def key_pem(cp, path):
    """A signing key, as an administrator reads it."""
    async with cp.client() as admin:
        return base64.b64decode((await admin.get(path)).json()["data"])


async def test_no_hostile_token_is_a_user(cp):
    """Although all of it but one thing is right; the token it was made of holds."""
    good = await cp.user_token("mesh-system:admin", "mesh-system:admin")
    pem = await key_pem(cp, "/global-secrets/user-token-signing-key-1")
    async with cp.client(REMOTE) as client:

        async def answer(token):
            return await client.get("/global-secrets", headers={"authorization": f"Bearer {token}"})

        assert (await answer(good)).status_code == 200
        for name, token in hostile(good, pem):
            started = time.perf_counter()
            found = await answer(token)
            took = time.perf_counter() - started
            assert (found.status_code, found.json()["title"]) == (401, "Invalid authentication data"), name
            assert found.json()["detail"] == "Unauthenticated", name
            assert took < AT_MOST, (name, took)


async def test_no_hostile_token_lets_a_proxy_in(cp):
    """The words of the refusal go to a stranger's Envoy: they are short, and the token is not in them."""
    good = await cp.issuer.issue_dataplane_token(DataplaneClaims("web-1", "default"), now=now())
    pem = await key_pem(cp, "/meshes/default/secrets/dataplane-token-signing-key-default-1")
    verifier = TokenVerifier(SigningKeys(cp.store))
    await verifier.verify_dataplane(good, mesh="default", now=now())
    for name, token in hostile(good, pem):
        with pytest.raises(InvalidToken) as caught:
            await verifier.verify_dataplane(token, mesh="default", now=now())
        assert len(str(caught.value)) < 500, name
        assert token[:40] not in str(caught.value), name


async def test_each_sort_of_token_is_good_for_its_own_purpose_only(cp):
    """Also where one key pair signs all of them."""
    user = await cp.user_token("john")
    dataplane = await cp.issuer.issue_dataplane_token(DataplaneClaims(mesh="default"), now=now())
    zone = await cp.issuer.issue_zone_token(ZoneClaims("default", ("egress",)), now=now())
    verifier = TokenVerifier(SigningKeys(cp.store))
    async with cp.client(REMOTE) as client:
        for token in (dataplane, zone):
            found = await client.get("/meshes", headers={"authorization": f"Bearer {token}"})
            assert found.status_code == 401
    for token in (user, zone):
        with pytest.raises(InvalidToken):
            await verifier.verify_dataplane(token, mesh="default", now=now())
    for token in (user, dataplane):
        with pytest.raises(InvalidToken):
            await verifier.verify_zone(token, now=now())


async def test_a_refusal_does_not_tell_why(cp):
    """Whether the key exists, the token ran out or was never one: to its bearer it is the same."""
    answers = set()
    pem = await key_pem(cp, "/global-secrets/user-token-signing-key-1")
    async with cp.client(REMOTE) as client:
        for _, token in hostile(await cp.user_token("john"), pem):
            answer = await client.get("/meshes", headers={"authorization": f"Bearer {token}"})
            answers.add((answer.status_code, answer.content))

    assert len(answers) == 1
