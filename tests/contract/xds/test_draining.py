"""A proxy that is about to end says so, and nobody sends it new work."""

import asyncio
import ssl
from datetime import timedelta

import httpx2
import pytest

from kuma.core.model.resource import Key
from kuma.core.xds.names import CLUSTER, ENDPOINT, LISTENER
from kuma.core.xds.node import RUN
from kuma.envoy_api.envoy.config.endpoint.v3.endpoint_pb2 import ClusterLoadAssignment
from tests.contract.xds.stack import Proxy, dataplane, eventually, node, running


def endpoints(proxy, service):
    """How many endpoints of a service a proxy knows."""
    body = proxy.has.get(ENDPOINT, {}).get(service)
    return (
        -1 if body is None else sum(len(one.lb_endpoints) for one in ClusterLoadAssignment.FromString(body).endpoints)
    )


async def drain(stack, token, who="default.backend-1", path="/drain"):
    """What kuma-dp asks when it drains."""
    context = ssl.create_default_context(cadata=stack.tls.ca_pem.decode())
    headers = {"authorization": token} if token else {}
    url = f"https://localhost:{stack.port}"
    async with httpx2.AsyncClient(base_url=url, verify=context, trust_env=False, headers=headers) as client:
        return await client.post(path, content=who.encode())


async def test_a_draining_proxy_is_out_of_service_when_the_answer_comes(stack, proxy):
    """Its clients have let go of it by then, and nothing brings it back while it drains."""
    async with (await proxy("web-1", "web", "backend")).connected() as web:
        backend = await proxy("backend-1", "backend", port=9090)
        async with backend.connected():
            await eventually(lambda: endpoints(web, "backend") == 1)

            answer = await drain(stack, backend.token)

            assert answer.status_code == 204, answer.text
            assert endpoints(web, "backend") == 0
            await stack.apply(**dataplane("backend-1", "backend", port=9090, version="2"))
            await stack.apply(**dataplane("backend-2", "backend", port=9091))
            await eventually(lambda: endpoints(web, "backend") == 1)
            assert "backend-1" in stack.meshes.state("default").snapshot.joining


async def test_a_proxy_that_drains_before_it_listens_stays_out_of_service(stack, proxy):
    """That it listens after all means nothing any more."""
    async with (await proxy("web-1", "web", "backend")).connected() as web:
        backend = await proxy("backend-1", "backend", port=9090)
        listens = backend.waits[LISTENER] = asyncio.Event()
        async with backend.connected():
            stream = await eventually(lambda: stack.streams.get(Key("Dataplane", "default", "backend-1")))
            assert (await drain(stack, backend.token)).status_code == 204

            listens.set()

            await eventually(lambda: stream.session.heard(LISTENER) and stream.session.heard(CLUSTER))
            await stack.apply(**dataplane("backend-2", "backend", port=9091))
            await eventually(lambda: endpoints(web, "backend") == 1)
            assert "backend-1" in stack.meshes.state("default").snapshot.joining


async def test_a_proxy_that_starts_again_is_back_in_service(stack, proxy):
    """Draining ends with the Envoy that drained."""
    async with (await proxy("web-1", "web", "backend")).connected() as web:
        backend = await proxy("backend-1", "backend", port=9090)
        async with backend.connected():
            await eventually(lambda: endpoints(web, "backend") == 1)
            assert (await drain(stack, backend.token)).status_code == 204
        async with (await proxy("backend-1", "backend", port=9090)).connected():
            await eventually(lambda: endpoints(web, "backend") == 1)


async def test_a_client_that_does_not_answer_is_not_taken_for_told(stack, proxy):
    """The proxy asks again: 202 until every client has let go of it."""
    async with (await proxy("web-1", "web", "backend")).connected() as web:
        backend = await proxy("backend-1", "backend", port=9090)
        async with backend.connected():
            await eventually(lambda: endpoints(web, "backend") == 1)
            web.mute = frozenset({ENDPOINT})

            assert (await drain(stack, backend.token)).status_code == 202


async def test_a_client_that_refuses_something_else_does_not_count(stack, proxy):
    """What it refused before has nothing to do with who drains."""
    web = await proxy("web-1", "web", "backend")
    web.refuses[CLUSTER] = "a bad cluster"
    async with web.connected():
        await eventually(lambda: CLUSTER in web.seen)
        backend = await proxy("backend-1", "backend", port=9090)
        async with backend.connected():
            await eventually(lambda: stack.streams.get(Key("Dataplane", "default", "backend-1")))

            assert (await drain(stack, backend.token)).status_code == 204


async def test_after_a_restart_clients_may_not_be_back_yet(tmp_path):
    """A client that is not connected still calls: nobody can promise that all know."""
    async with running(tmp_path, all_back_in=60) as stack:
        await stack.apply(**dataplane("backend-1", "backend"))

        assert (await drain(stack, await stack.token("backend-1"))).status_code == 202


async def test_the_token_of_the_open_stream_will_do(stack, delta, proxy):
    """Its stream outlives its token, and so may its farewell."""
    token = await stack.token("backend-1", valid_for=timedelta(seconds=2))
    backend = await proxy("backend-1", "backend", token=token)
    async with backend.connected():
        await eventually(lambda: stack.streams.get(Key("Dataplane", "default", "backend-1")))

        async def expired():
            refused = await proxy("backend-2", "backend", token=token)
            _, text = await refused.refusal()
            return "expired" in text

        await eventually(expired)

        assert (await drain(stack, token)).status_code == 204


async def test_nobody_else_can_take_a_proxy_out_of_service(stack, proxy):
    """No token, another proxy's, garbage: refused with the reason, and calls go on."""
    web, backend = await proxy("web-1", "web", "backend"), await proxy("backend-1", "backend", port=9090)
    async with web.connected(), backend.connected():
        await eventually(lambda: endpoints(web, "backend") == 1)

        for token in ("", "a.b.c", await stack.token("web-1")):
            answer = await drain(stack, token)
            assert answer.status_code == 401
            assert answer.text.startswith("authentication failed: ")

        assert "backend-1" not in stack.meshes.state("default").snapshot.joining
        assert endpoints(web, "backend") == 1


@pytest.mark.parametrize(
    ("who", "status"),
    [
        ("", 400),
        ("nodots", 400),
        ("x" * 5000, 400),
        ("\x00.\x00", 400),
        ("default.nobody", 404),
        ("nowhere.web-1", 404),
    ],
    ids=["empty", "no mesh", "large", "control characters", "unknown name", "unknown mesh"],
)
async def test_requests_that_make_no_sense_are_answered(stack, who, status):
    """Never a 5xx, never a stall."""
    assert (await drain(stack, await stack.token(), who)).status_code == status


async def test_a_farewell_is_not_taken_for_that_of_another_proxy_of_the_name(stack, delta):
    """Two kuma-dp with one name: the one that has no stream cannot take the other out of service."""
    token = await stack.token("backend-1")
    there = node("backend-1", dataplane("backend-1", "backend"))
    there.metadata.update({"dynamicMetadata": {RUN: "first"}})
    async with Proxy(stack, there, token, delta).connected():
        await eventually(lambda: stack.streams.get(Key("Dataplane", "default", "backend-1")))

        refused = await drain(stack, token, "default.backend-1\nsecond")

        assert (refused.status_code, refused.text) == (409, "another proxy of this name is connected")
        assert (await drain(stack, token, "default.backend-1\nfirst")).status_code == 204


async def test_it_is_no_page(stack):
    """A POST, as kuma-dp makes it, and nothing else."""
    context = ssl.create_default_context(cadata=stack.tls.ca_pem.decode())
    async with httpx2.AsyncClient(verify=context, trust_env=False) as client:
        assert (await client.get(f"https://localhost:{stack.port}/drain")).status_code == 405


async def test_a_dataplane_without_a_proxy_is_taken_out_too(stack, delta):
    """Between two connections of its proxy, for instance."""
    await stack.apply(**dataplane("backend-1", "backend"))

    assert (await drain(stack, await stack.token("backend-1"))).status_code == 204
    assert "backend-1" in stack.meshes.state("default").snapshot.joining
