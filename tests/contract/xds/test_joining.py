"""Who is let in, who is not and why, and what remains when a proxy leaves."""

import asyncio
from datetime import timedelta

import grpc
import pytest

from kuma.core.model.resource import Key
from kuma.core.xds.names import CLUSTER, LISTENER
from tests.contract.xds.stack import Proxy, dataplane, eventually, node


async def test_a_proxy_joins_with_the_dataplane_it_brings(stack, proxy):
    """It is registered, given its configuration, and seen online."""
    async with (await proxy("web-1", "web", "backend")).connected() as web:
        await web.holds(CLUSTER, "localhost:8080", "backend")
        await web.holds(LISTENER, "inbound:10.0.0.1:8080", "outbound:127.0.0.1:10001")
        insight = await eventually(lambda: stack.insight("web-1"))

    assert await stack.store.find(Key("Dataplane", "default", "web-1"))
    [subscription] = insight["subscriptions"]
    assert subscription["controlPlaneInstanceId"] == "cp-1"
    assert subscription["version"]["kumaDp"]["version"] == "0.1"
    assert "disconnectTime" not in subscription


async def test_a_proxy_joins_with_a_dataplane_that_was_applied(stack, delta):
    """And that Dataplane stays when the proxy leaves."""
    await stack.apply(**dataplane("web-1", "web"))
    async with Proxy(stack, node("web-1"), await stack.token("web-1"), delta).connected() as web:
        await web.holds(LISTENER, "inbound:10.0.0.1:8080")

    async def closed():
        insight = await stack.insight("web-1")
        return insight and "disconnectTime" in insight["subscriptions"][-1]

    await eventually(closed)
    assert await stack.store.find(Key("Dataplane", "default", "web-1"))


async def test_a_registered_proxy_that_stays_away_is_removed(stack, proxy):
    """Offline at once; after the delay its Dataplane goes, and the insight with it."""
    async with (await proxy("web-1", "web")).connected() as web:
        await web.holds(LISTENER, "inbound:10.0.0.1:8080")

    async def gone():
        return await stack.store.find(Key("Dataplane", "default", "web-1")) is None

    await eventually(gone)
    assert await stack.insight("web-1") == {}


async def test_a_proxy_that_comes_back_in_time_stays(tmp_path, delta):
    """A short reconnect keeps the Dataplane, and the earlier stream stays in the insight."""
    from tests.contract.xds.stack import running

    async with running(tmp_path, deregistration_delay=1.0) as stack:
        web = Proxy(stack, node("web-1", dataplane("web-1", "web")), await stack.token("web-1"), delta)
        async with web.connected():
            await web.holds(LISTENER, "inbound:10.0.0.1:8080")
        before = (await stack.store.get(Key("Dataplane", "default", "web-1"))).created
        await eventually(lambda: not len(stack.streams))
        async with web.connected():
            await asyncio.sleep(1.2)  # longer than the delay: what is proven is that nothing happens

            async def both():
                found = (await stack.insight("web-1"))["subscriptions"]
                return found if len(found) == 2 else None

            first, second = await eventually(both)
            assert (await stack.store.get(Key("Dataplane", "default", "web-1"))).created == before
        assert "disconnectTime" in first
        assert first["id"] != second["id"]


async def test_a_second_stream_of_the_same_name_is_refused(stack, proxy):
    """The first keeps its configuration."""
    async with (await proxy("web-1", "web")).connected() as web:
        await web.holds(LISTENER, "inbound:10.0.0.1:8080")

        status, text = await (await proxy("web-1", "web")).refusal()

        assert status == grpc.StatusCode.UNAUTHENTICATED
        assert text == "there is already an active stream from this node, try again later"
        assert len(stack.streams) == 1


@pytest.mark.parametrize(
    ("claims", "text"),
    [
        ({"name": "other"}, "proxy name from requestor: web-1 is different than in token: other"),
        (
            {"tags": {"kuma.io/service": ("api",)}},
            'dataplane contains tag "kuma.io/service" with value "web" which is not',
        ),
        ({"tags": {"team": ("a",)}}, 'dataplane has no tag "team" required by the token'),
        ({"workload": "w"}, 'dataplane has no label "kuma.io/workload" required by the token: w'),
        ({"valid_for": timedelta(seconds=-60)}, "expired"),
    ],
    ids=["name", "service", "tag", "workload", "expired"],
)
async def test_a_token_for_something_else_is_refused_with_the_reason(stack, proxy, claims, text):
    """Envoy shows the text, so it says what does not fit."""
    status, said = await (await proxy("web-1", "web", token=await stack.token(**claims))).refusal()

    assert status == grpc.StatusCode.UNAUTHENTICATED
    assert said.startswith("authentication failed: ")
    assert text in said
    assert await stack.store.find(Key("Dataplane", "default", "web-1")) is None


async def test_a_token_of_another_mesh_is_refused(stack, proxy):
    """Each mesh has its own keys, so the signature already does not fit."""
    await stack.apply(type="Mesh", name="other")

    status, said = await (await proxy("web-1", "web", token=await stack.token(mesh="other"))).refusal()

    assert status == grpc.StatusCode.UNAUTHENTICATED
    assert said.startswith("authentication failed: ")


async def test_no_token_and_garbage_are_refused(stack, proxy):
    """Without a token the text says how to get one; a token is never repeated in a text."""
    status, said = await (await proxy("web-1", "web", token="")).refusal()
    assert status == grpc.StatusCode.UNAUTHENTICATED
    assert "kumactl generate dataplane-token --name web-1 --mesh default" in said

    status, said = await (await proxy("web-1", "web", token="garbage-that-is-secret")).refusal()
    assert status == grpc.StatusCode.UNAUTHENTICATED
    assert "garbage-that-is-secret" not in said


async def test_a_proxy_of_an_unknown_mesh_or_name_is_refused(stack, delta):
    """The text says what is missing and what to do."""
    token = await stack.token()

    status, said = await Proxy(stack, node("web-1", mesh="nowhere"), token, delta).refusal()
    assert (status, said) == (grpc.StatusCode.UNAUTHENTICATED, 'mesh: mesh "nowhere" does not exist')

    status, said = await Proxy(stack, node("web-1"), token, delta).refusal()
    assert status == grpc.StatusCode.UNAUTHENTICATED
    assert 'dataplane "web-1" does not exist in mesh "default"; create it with kumactl apply' in said


async def test_a_dataplane_that_would_be_refused_by_the_api_is_refused_here(stack, delta):
    """With the field that is wrong."""
    wrong = dataplane("web-1", "web")
    wrong["networking"]["address"] = "not an address!"

    status, said = await Proxy(stack, node("web-1", wrong), await stack.token("web-1"), delta).refusal()

    assert status == grpc.StatusCode.INVALID_ARGUMENT
    assert "networking.address" in said


async def test_a_refused_proxy_does_not_take_the_real_one_out_of_service(stack, delta):
    """Neither without its token nor with a Dataplane that is refused."""
    await stack.apply(**dataplane("web-1", "web"))
    await eventually(lambda: "web-1" in stack.meshes.state("default").snapshot.proxies)
    wrong = dataplane("web-1", "web")
    wrong["networking"]["address"] = "not an address!"

    for resource, token in ((wrong, await stack.token("web-1")), (dataplane("web-1", "web"), await stack.token("x"))):
        await Proxy(stack, node("web-1", resource), token, delta).refusal()

    assert stack.meshes.state("default").snapshot.joining == frozenset()


async def test_a_proxy_cannot_bring_the_dataplane_of_another(stack, delta):
    """The name in the document is that of the node, on which the token was checked."""
    stranger = dataplane("db-1", "db")

    status, said = await Proxy(stack, node("web-1", stranger), await stack.token("web-1"), delta).refusal()

    assert status == grpc.StatusCode.UNAUTHENTICATED
    assert "its dataplane resource is called default.db-1" in said


async def test_garbage_is_refused_with_a_status(stack, delta):
    """No stall and no traceback."""
    from kuma.cp.server.dp import ads

    async with stack.channel() as channel:
        call = channel.stream_stream(ads.DELTA_PATH if delta else ads.SOTW_PATH)()
        await call.write(b"\xff\xff\xff")
        async with asyncio.timeout(10):
            assert await call.code() == grpc.StatusCode.INVALID_ARGUMENT
            assert "DiscoveryRequest" in await call.details()


async def test_an_unknown_method_is_unimplemented(stack):
    """Envoy then knows that it need not come back for it."""
    async with stack.channel() as channel:
        call = channel.stream_stream("/envoy.service.nothing.v3.Nothing/Stream")()
        async with asyncio.timeout(10):
            assert await call.code() == grpc.StatusCode.UNIMPLEMENTED
