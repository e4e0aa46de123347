"""What a revoked token, a deleted key and the rules of a mesh mean to proxies, connected or about to connect."""

from __future__ import annotations

import asyncio
import base64
import gc
import json

import grpc
import jwt
import pytest

from kuma.core.model.resource import Key
from kuma.core.xds.names import LISTENER
from tests.contract.xds.stack import Prober, Proxy, dataplane, eventually, node

WITHIN = 10.0
"""Seconds; what is promised."""


@pytest.fixture(autouse=True)
def no_collections():
    """A proxy must not have to wait for a collection of garbage until it notices that its stream has ended."""
    gc.disable()
    yield
    gc.enable()


def token_id(token):
    """What a list of revoked tokens names."""
    return jwt.decode(token, options={"verify_signature": False})["jti"]


def secret(name, value, mesh="default"):
    """A secret as a user applies it."""
    home = {"mesh": mesh} if mesh else {}
    return {
        "type": "Secret" if mesh else "GlobalSecret",
        "name": name,
        "data": base64.b64encode(value.encode()).decode(),
        **home,
    }


async def offline(stack, name):
    """Whether the insight of a proxy says that its last stream has ended."""
    subscriptions = (await stack.insight(name)).get("subscriptions", [])
    return bool(subscriptions) and "disconnectTime" in subscriptions[-1]


@pytest.mark.parametrize("mesh", ["default", ""], ids=["Secret", "GlobalSecret"])
async def test_a_revoked_token_ends_its_streams_and_opens_none(stack, delta, mesh):
    """Within seconds; the next try hears why, and a proxy with another token notices nothing."""
    await stack.apply(**dataplane("web-1", "web"))
    token = await stack.token("web-1")
    web = Proxy(stack, node("web-1"), token, delta)
    async with (
        web.connected(),
        Proxy(stack, node("db-1", dataplane("db-1", "db")), await stack.token("db-1"), delta).connected() as db,
    ):
        async with Prober(stack, node("web-1"), token).connected() as prober:
            await web.holds(LISTENER, "inbound:10.0.0.1:8080")
            await db.holds(LISTENER, "inbound:10.0.0.1:8080")
            await prober.wanted()
            assert len(stack.credentials) == 3

            await stack.apply(**secret("dataplane-token-revocations-default", token_id(token), mesh))

            async with asyncio.timeout(WITHIN):
                await prober.ended()
                await web.ended()
                await eventually(lambda: offline(stack, "web-1"))
        assert stack.streams.get(Key("Dataplane", "default", "db-1")) is not None
        assert not await offline(stack, "db-1")

    status, text = await web.refusal()
    assert (status, text) == (grpc.StatusCode.UNAUTHENTICATED, "authentication failed: token is revoked")
    await eventually(lambda: not len(stack.credentials))


async def test_a_deleted_key_ends_the_streams_of_its_tokens(stack, delta):
    """After a new key was added, tokens of both work; without the old one, only those of the new one."""
    await stack.apply(**dataplane("web-1", "web"))
    await stack.apply(**dataplane("db-1", "db"))
    first = await stack.store.get(Key("Secret", "default", "dataplane-token-signing-key-default-1"))
    old = Proxy(stack, node("web-1"), await stack.token("web-1"), delta)
    async with old.connected():
        await old.holds(LISTENER, "inbound:10.0.0.1:8080")
        await stack.apply(**secret_of(first.spec, "dataplane-token-signing-key-default-2"))
        new_token = await eventually(lambda: token_of_key(stack, "2"))
        async with Proxy(stack, node("db-1"), new_token, delta).connected() as new:
            await new.holds(LISTENER, "inbound:10.0.0.1:8080")

            await stack.delete("Secret", "dataplane-token-signing-key-default-1")

            async with asyncio.timeout(WITHIN):
                await old.ended()
                await eventually(lambda: offline(stack, "web-1"))
            assert stack.streams.get(Key("Dataplane", "default", "db-1")) is not None

    status, text = await old.refusal()
    assert status == grpc.StatusCode.UNAUTHENTICATED
    assert text.startswith("authentication failed: there is no signing key with KID 1")


def secret_of(spec, name):
    """Another secret with the same value."""
    return {"type": "Secret", "mesh": "default", "name": name, **json.loads(spec)}


async def token_of_key(stack, kid):
    """A token signed with that key; None while it is not yet the newest."""
    token = await stack.token("db-1")
    return token if jwt.get_unverified_header(token)["kid"] == kid else None


RULES = {"requirements": [{"tags": {"team": "a"}}], "restrictions": [{"tags": {"kuma.io/service": "evil"}}]}


async def test_a_mesh_takes_in_only_the_proxies_its_constraints_allow(stack, delta):
    """The refusal names the rule and the tags, and no Dataplane is left behind."""
    constraints = {"dataplaneProxy": RULES}
    await stack.apply(type="Mesh", name="default", skipCreatingInitialPolicies=["*"], constraints=constraints)

    for resource, reason in (
        (dataplane("web-1", "web"), "takes only proxies with tags [team=a]"),
        (dataplane("web-1", "evil", team="a"), "takes no proxies with tags [kuma.io/service=evil]"),
    ):
        status, text = await Proxy(stack, node("web-1", resource), await stack.token("web-1"), delta).refusal()
        assert status == grpc.StatusCode.INVALID_ARGUMENT
        assert f'networking.inbound[0].tags: mesh "default" {reason}' in text
        assert await stack.store.find(Key("Dataplane", "default", "web-1")) is None

    good = Proxy(stack, node("web-1", dataplane("web-1", "web", team="a")), await stack.token("web-1"), delta)
    async with good.connected():
        await good.holds(LISTENER, "inbound:10.0.0.1:8080")


async def test_a_dataplane_older_than_the_constraints_is_judged_when_its_proxy_joins(stack, delta):
    """A proxy that is connected stays; it is the next join that is refused."""
    await stack.apply(**dataplane("web-1", "web"))
    web = Proxy(stack, node("web-1"), await stack.token("web-1"), delta)
    async with web.connected():
        await web.holds(LISTENER, "inbound:10.0.0.1:8080")
        await stack.apply(
            type="Mesh", name="default", skipCreatingInitialPolicies=["*"], constraints={"dataplaneProxy": RULES}
        )
        assert stack.streams.get(Key("Dataplane", "default", "web-1")) is not None
    await eventually(lambda: not len(stack.streams))

    status, text = await web.refusal()
    assert status == grpc.StatusCode.UNAUTHENTICATED
    assert 'mesh "default" takes only proxies with tags [team=a]' in text
