"""What connected proxies are sent, in which order, and what is known about it."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from kuma.core.errors import StoreUnavailable
from kuma.core.model.resource import Key
from kuma.core.snapshot.plan import Planner
from kuma.core.xds.generate import Generator
from kuma.core.xds.names import CLUSTER, ENDPOINT, LISTENER, SECRET
from kuma.cp.ca.authorities import Authorities
from kuma.cp.reconcile.inspection import Inspection
from kuma.envoy_api.envoy.config.cluster.v3.cluster_pb2 import Cluster
from kuma.envoy_api.envoy.config.endpoint.v3.endpoint_pb2 import ClusterLoadAssignment
from kuma.envoy_api.envoy.extensions.transport_sockets.tls.v3.secret_pb2 import Secret
from tests.contract.xds.stack import Proxy, dataplane, eventually, node, running

MTLS = {"enabledBackend": "ca-1", "backends": [{"name": "ca-1", "type": "builtin"}]}


def endpoints(proxy, service):
    """How many endpoints of a service a proxy knows."""
    body = proxy.has.get(ENDPOINT, {}).get(service)
    return -1 if body is None else count(body)


def count(body):
    """How many endpoints are in an assignment."""
    return sum(len(one.lb_endpoints) for one in ClusterLoadAssignment.FromString(body).endpoints)


def timeout(seconds):
    """A policy towards backend."""
    to = {
        "targetRef": {"kind": "MeshService", "name": "backend"},
        "default": {"connectionTimeout": f"{seconds}s"},
    }
    return {"type": "MeshTimeout", "mesh": "default", "name": "t", "spec": {"to": [to]}}


def connect_timeout(proxy):
    """The connection timeout towards backend, as the proxy has it."""
    return Cluster.FromString(proxy.has[CLUSTER]["backend"]).connect_timeout.seconds


async def test_instances_appear_and_disappear_at_their_clients(proxy):
    """An instance is an endpoint once it listens, and no longer when it left."""
    async with (await proxy("web-1", "web", "backend")).connected() as web:
        await eventually(lambda: endpoints(web, "backend") == 0)
        async with (await proxy("backend-1", "backend", port=9090)).connected():
            await eventually(lambda: endpoints(web, "backend") == 1)
        await eventually(lambda: endpoints(web, "backend") == 0)


async def test_an_instance_that_does_not_answer_takes_no_traffic(stack, proxy):
    """Until its Envoy has said what it thinks of its listeners, it may not listen yet."""
    async with (await proxy("web-1", "web", "backend")).connected() as web:
        await eventually(lambda: endpoints(web, "backend") == 0)
        web_key = Key("Dataplane", "default", "web-1")
        slow = await proxy("backend-1", "backend", port=9090)
        slow.mute = frozenset({LISTENER})
        async with slow.connected():
            await eventually(lambda: LISTENER in slow.seen)
            await eventually(lambda: "backend-1" in stack.meshes.state("default").snapshot.proxies)
            await eventually(stack.streams.get(web_key).session.in_sync)
            assert [count(body) for url, body in web.received if url == ENDPOINT and count(body)] == []


async def test_an_announced_instance_never_takes_traffic_before_it_listens(stack):
    """Nor when its old Dataplane is removed a moment later, nor when its mesh is only just made."""
    announce = stack.streams.announcing(stack.streams.session(delta=True))
    await stack.apply(**dataplane("backend-1", "backend"))
    announce(Key("Dataplane", "default", "backend-1"), True)
    await stack.delete("Dataplane", "backend-1")
    await eventually(lambda: "backend-1" not in stack.meshes.state("default").snapshot.proxies)
    announce(Key("Dataplane", "young", "backend-1"), True)
    await stack.apply(type="Mesh", name="young", skipCreatingInitialPolicies=["*"])
    seen = []
    stack.meshes.listen(lambda _mesh, state: seen.append(state.snapshot))

    await stack.apply(**dataplane("backend-1", "backend"))
    await stack.apply(**dataplane("backend-1", "backend") | {"mesh": "young"})

    for mesh in ("default", "young"):
        await eventually(lambda mesh=mesh: "backend-1" in stack.meshes.state(mesh).snapshot.proxies)
    assert all("backend-1" in snapshot.joining for snapshot in seen if "backend-1" in snapshot.proxies)
    announce(Key("Dataplane", "young", "backend-1"), False)
    assert "backend-1" not in stack.meshes.state("young").snapshot.joining


async def test_an_instance_that_refuses_a_listener_still_takes_traffic(proxy):
    """One bad listener (a port that is taken) must not take the others out of service."""
    async with (await proxy("web-1", "web", "backend")).connected() as web:
        odd = await proxy("backend-1", "backend", port=9090)
        odd.refuses[LISTENER] = "cannot bind"
        async with odd.connected():
            await eventually(lambda: endpoints(web, "backend") == 1)


async def test_an_instance_whose_stream_broke_while_it_joined_is_not_forgotten(stack, proxy):
    """It comes back with what it holds, so it is no fresh Envoy; it takes traffic once it is seen to listen."""
    async with (await proxy("web-1", "web", "backend")).connected() as web:
        slow = await proxy("backend-1", "backend", port=9090)
        slow.mute = frozenset({LISTENER})
        async with slow.connected():
            await eventually(lambda: LISTENER in slow.seen and slow.names(CLUSTER))
        await eventually(lambda: len(stack.streams) == 1)
        slow.mute = frozenset()
        async with slow.connected():
            await eventually(lambda: endpoints(web, "backend") == 1)


async def test_a_policy_reaches_the_proxy_it_selects_and_no_other(stack, proxy):
    """A change of one cluster is one response; a proxy without that outbound hears nothing."""
    # That there is any rule at all changes the defaults of every outbound, so there is one from the beginning.
    await stack.apply(**timeout(6))
    async with (
        (await proxy("web-1", "web", "backend")).connected() as web,
        (await proxy("api-1", "api", "other", port=8081)).connected() as api,
    ):
        for one in (web, api):
            await eventually(lambda one=one: LISTENER in one.has and ENDPOINT in one.has)
        await eventually(lambda: all(one.session.in_sync() for one in stack.streams.of_mesh("default")))
        heard, seen = list(api.seen), list(web.seen)

        await stack.apply(**timeout(7))
        await eventually(lambda: connect_timeout(web) == 7)
        await eventually(lambda: all(one.session.in_sync() for one in stack.streams.of_mesh("default")))

        assert api.seen == heard
        assert web.seen == [*seen, CLUSTER, ENDPOINT]


async def test_a_refusal_is_shown_with_envoys_text_and_the_last_good_set_stays(stack, proxy):
    """Reported once in the insight, not sent again until it changes."""
    async with (await proxy("web-1", "web", "backend")).connected() as web:
        await eventually(lambda: "backend" in web.names(CLUSTER) and web.names(LISTENER))
        web.refuses[CLUSTER] = "this is no cluster"
        await stack.apply(**timeout(8))

        async def rejected():
            insight = await stack.insight("web-1")
            status = insight["subscriptions"][-1]["status"] if insight else {}
            return status if "lastRejection" in status.get("cds", {}) else None

        status = await eventually(rejected)
        assert status["cds"]["lastRejection"]["message"] == "this is no cluster"
        assert status["cds"]["responsesRejected"] == "1"
        assert status["total"]["responsesRejected"] == "1"
        assert connect_timeout(web) == 5

        seen = web.seen.count(CLUSTER)
        await stack.apply(**dataplane("unrelated", "unrelated"))
        await eventually(lambda: "unrelated" in stack.meshes.state("default").snapshot.proxies)
        assert web.seen.count(CLUSTER) == seen
        web.refuses.clear()
        await stack.apply(**timeout(9))
        await eventually(lambda: connect_timeout(web) == 9)


async def test_a_configuration_that_cannot_be_made_is_told_with_the_policy_to_blame(stack, proxy):
    """Until the policy is gone; the proxy keeps what it had all the while."""
    wrong = {"operation": "Patch", "jsonPatches": [{"op": "replace", "path": "/no/such", "value": 1}]}
    spec = {"default": {"appendModifications": [{"cluster": wrong}]}}
    inspection = Inspection(stack.meshes, stack.streams, Planner(Generator()))
    async with (await proxy("web-1", "web", "backend")).connected() as web:
        await web.holds(CLUSTER, "backend", "localhost:8080")
        await stack.apply(type="MeshProxyPatch", mesh="default", name="wrong", spec=spec)

        [refusal] = (await eventually(lambda: inspection.refusals("default")))["web-1"]
        assert (refusal.type, refusal.blamed) == ("", (Key("MeshProxyPatch", "default", "wrong"),))
        assert refusal.message.startswith('MeshProxyPatch "wrong": appendModifications[0].cluster (Patch): ')

        await stack.delete("MeshProxyPatch", "wrong")
        await eventually(lambda: not inspection.refusals("default"))
        assert stack.streams.of_mesh("default")[0].blamed == ()


async def test_a_proxy_that_comes_back_is_sent_no_more_than_it_lacks(stack, proxy):
    """Delta: nothing at all; SotW: not the sets it brought along."""
    await stack.apply(**dataplane("web-1", "web", "backend"))
    web = await proxy("web-1", "web", "backend")
    async with web.connected():
        await web.holds(LISTENER, "inbound:10.0.0.1:8080", "outbound:127.0.0.1:10001")
        await web.holds(ENDPOINT, "backend")
        await eventually(lambda: all(one.session.in_sync() for one in stack.streams.of_mesh("default")))
    await eventually(lambda: not len(stack.streams))
    web.seen.clear()

    async with web.connected():
        await eventually(lambda: len(stack.streams))
        await stack.apply(**dataplane("other", "other"))
        await eventually(lambda: "other" in stack.meshes.state("default").snapshot.proxies)

        async def counted():
            insight = await stack.insight("web-1")
            return insight and len(insight["subscriptions"]) == 2

        await eventually(counted)
    assert CLUSTER not in web.seen
    assert LISTENER not in web.seen


@pytest.mark.parametrize("mode", ["PERMISSIVE", "STRICT"])
async def test_certificates_come_when_mutual_tls_is_switched_on(stack, proxy, mode):
    """Live: roots and a certificate of its own for each proxy, shown in the insight; and gone when it is off."""
    async with (
        (await proxy("web-1", "web", "backend")).connected() as web,
        (await proxy("web-2", "web", "backend")).connected() as twin,
        (await proxy("backend-1", "backend", port=9090)).connected(),
    ):
        await eventually(lambda: endpoints(web, "backend") == 1)
        backends = [{**MTLS["backends"][0], "mode": mode}]
        await stack.apply(type="Mesh", name="default", mtls={**MTLS, "backends": backends})

        for one in (web, twin):
            await one.holds(SECRET, "identity_cert:secret:default", "mesh_ca:secret:default")
        await eventually(lambda: Cluster.FromString(web.has[CLUSTER]["backend"]).HasField("transport_socket"))
        keys = [
            Secret.FromString(one.has[SECRET]["identity_cert:secret:default"]).tls_certificate.private_key.inline_bytes
            for one in (web, twin)
        ]
        assert keys[0] != keys[1]

        async def secured():
            return (await stack.insight("web-1")).get("mTLS")

        shown = await eventually(secured)
        assert shown["issuedBackend"] == "ca-1"
        assert shown["supportedBackends"] == ["ca-1"]
        assert shown["certificateRegenerations"] == 1

        await stack.apply(type="Mesh", name="default")
        await web.holds(SECRET)

        async def plain():
            return "mTLS" not in await stack.insight("web-1")

        await eventually(plain)


async def test_a_proxy_that_comes_while_a_new_ca_spreads_is_trusted_by_all(stack, proxy):
    """It gets a certificate of the old CA as long as one proxy has not accepted the new one's root."""
    two = {"name": "ca-2", "type": "builtin"}
    await stack.apply(type="Mesh", name="default", mtls=MTLS)
    async with AsyncExitStack() as others:
        web = await others.enter_async_context((await proxy("web-1", "web", "backend")).connected())
        await others.enter_async_context((await proxy("backend-1", "backend", port=9090)).connected())
        await eventually(lambda: endpoints(web, "backend") == 1)
        async with AsyncExitStack() as slow:
            deaf = await slow.enter_async_context((await proxy("deaf-1", "deaf")).connected())
            await deaf.holds(SECRET, "identity_cert:secret:default", "mesh_ca:secret:default")
            deaf.mute = frozenset({SECRET})
            await stack.apply(
                type="Mesh", name="default", mtls={"enabledBackend": "ca-2", "backends": [*MTLS["backends"], two]}
            )
            await eventually(lambda: stack.meshes.state("default").issuing.backend.name == "ca-2")

            new = await others.enter_async_context((await proxy("new-1", "backend", port=9090)).connected())
            await eventually(lambda: endpoints(web, "backend") == 2)
            await new.holds(SECRET, "identity_cert:secret:default", "mesh_ca:secret:default")

            assert {issued(stack, name) for name in ("web-1", "backend-1", "new-1")} == {"ca-1"}
        for name in ("web-1", "backend-1", "new-1"):
            await eventually(lambda name=name: issued(stack, name) == "ca-2")


class Forgetful(Authorities):
    """Its store does not answer for a while."""

    answers = True

    async def authority(self, mesh, backend):
        if not self.answers:
            raise StoreUnavailable("the store does not answer")
        return await super().authority(mesh, backend)


async def test_a_certificate_that_cannot_be_made_is_tried_again(tmp_path, delta):
    """Nothing else need happen in the mesh for it."""
    kept = []

    def forgetful(store):
        kept.append(Forgetful(store))
        return kept[0]

    async with running(tmp_path, authorities_of=forgetful) as stack:
        await stack.apply(type="Mesh", name="default", mtls=MTLS)
        await eventually(lambda: stack.meshes.state("default").issuing)
        kept[0].answers = False
        web = Proxy(stack, node("web-1", dataplane("web-1", "web")), await stack.token("web-1"), delta)
        async with web.connected():
            await eventually(lambda: stack.streams.counts.certificates_failed["default"])

            kept[0].answers = True

            await web.holds(SECRET, "identity_cert:secret:default", "mesh_ca:secret:default")


def issued(stack, name):
    """Which CA made the certificate that a proxy is given."""
    stream = stack.streams.get(Key("Dataplane", "default", name))
    return stream.certificates["identity_cert:secret:default"].backend


async def test_a_proxy_that_breaks_the_protocol_loses_its_stream_only(stack, proxy):
    """Garbage in a running stream ends it; others go on."""
    async with (await proxy("web-1", "web")).connected() as good:
        bad = await proxy("bad-1", "bad", port=9999)
        async with bad.connected():
            await eventually(lambda: len(stack.streams) == 2)
            await bad._call.write(b"\xff\xff\xff")  # noqa: SLF001 - the proxy is ours
            await eventually(lambda: len(stack.streams) == 1)
        await good.holds(LISTENER, "inbound:10.0.0.1:8080")


async def test_changes_that_were_made_and_unmade_at_once_leave_nothing_behind(stack, proxy):
    """A Dataplane that is written and deleted within one batch is not there."""
    async with (await proxy("web-1", "web", "backend")).connected() as web:
        await eventually(lambda: endpoints(web, "backend") == 0)
        for number in range(5):
            await stack.apply(**dataplane(f"backend-{number}", "backend"))
            await stack.delete("Dataplane", f"backend-{number}")
        await stack.apply(**dataplane("last", "backend"))

        await eventually(lambda: endpoints(web, "backend") == 1)
        await asyncio.sleep(0)
        assert set(stack.meshes.state("default").snapshot.proxies) == {"web-1", "last"}
