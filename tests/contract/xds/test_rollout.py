"""Whether a change has reached the proxies, as ``kumactl apply --wait`` is told."""

from __future__ import annotations

import pytest

from kuma.core.xds.names import CLUSTER, LISTENER
from kuma.cp.reconcile.rollout import Rollouts, Unfinished
from tests.contract.xds.stack import Proxy, dataplane, eventually, node

PATIENCE = 10.0


@pytest.fixture
def look(stack):
    """How far the changes between two revisions got, once nothing more is on its way."""
    rollouts = Rollouts(stack.meshes, stack.streams)

    async def progress(revision, since=0):
        return await rollouts.progress(revision, PATIENCE, since=since or revision)

    return progress


def timeout(seconds):
    """A policy that changes the clusters of callers of ``backend``."""
    conf = {"connectionTimeout": f"{seconds}s"}
    to = [{"targetRef": {"kind": "MeshService", "name": "backend"}, "default": conf}]
    return {"type": "MeshTimeout", "mesh": "default", "name": "t", "spec": {"to": to}}


def fault(status):
    """A policy that changes the inbound listeners of all."""
    conf = {"http": [{"abort": {"httpStatus": status, "percentage": 1}}]}
    return {
        "type": "MeshFaultInjection",
        "mesh": "default",
        "name": "f",
        "spec": {
            "targetRef": {"kind": "Mesh", "proxyTypes": ["Sidecar"]},
            "from": [{"targetRef": {"kind": "Mesh"}, "default": conf}],
        },
    }


def impossible(mesh):
    """A patch of something that is not there."""
    patch = {"cluster": {"operation": "Patch", "jsonPatches": [{"op": "replace", "path": "/no/such", "value": 1}]}}
    return {
        "type": "MeshProxyPatch",
        "mesh": mesh,
        "name": "impossible",
        "spec": {"default": {"appendModifications": [patch]}},
    }


async def test_a_proxy_that_refuses_again_does_not_have_the_change(stack, proxy, look):
    """However many earlier changes of that type it has refused, and whatever it is told next."""
    async with (await proxy("web-1", "web", "backend")).connected() as web:
        await web.holds(CLUSTER, "backend", "localhost:8080")
        web.refuses = {CLUSTER: "backend: bad"}
        for seconds in (11, 12):
            progress = await look(await stack.apply(**timeout(seconds)))
            assert (progress.total, progress.done) == (1, 0)
            assert progress.refused == (Unfinished("default", "web-1", "Cluster: backend: bad"),)

        web.refuses = {}
        progress = await look(await stack.apply(**timeout(13)))
        assert (progress.done, progress.refused, progress.earlier) == (1, (), ())


async def test_a_change_that_another_follows_is_still_asked_about(stack, proxy, look):
    """Of several changes it is not only the last that counts; alone it does, and what was before is told beside."""
    async with (await proxy("web-1", "web", "backend")).connected() as web:
        await web.holds(CLUSTER, "backend", "localhost:8080")
        web.refuses = {CLUSTER: "backend: bad"}
        first = await stack.apply(**timeout(11))
        assert (await look(first)).refused
        last = await stack.apply(**fault(501))

        alone, both = await look(last), await look(last, since=first)

        refusal = Unfinished("default", "web-1", "Cluster: backend: bad")
        assert (alone.done, alone.refused, alone.earlier) == (1, (), (refusal,))
        assert (both.done, both.refused, both.earlier) == (0, (refusal,), ())


async def test_a_refused_cluster_keeps_no_other_change_from_a_proxy(stack, proxy, look):
    """A denial must get through; a listener that needs what was refused is told to wait for it."""
    async with (await proxy("web-1", "web")).connected() as web:
        await web.holds(LISTENER, "inbound:10.0.0.1:8080")
        web.refuses = {CLUSTER: "Error adding/updating cluster(s) backend: bad"}
        calling = await stack.apply(**dataplane("web-1", "web", "backend"))
        [refused] = (await look(calling)).refused
        assert refused.reason == (
            "Cluster: Error adding/updating cluster(s) backend: bad; "
            "Listener: waits for a Cluster that was refused: Error adding/updating cluster(s) backend: bad"
        )
        inbound = web.has[LISTENER]["inbound:10.0.0.1:8080"]

        progress = await look(await stack.apply(**fault(503)))

        assert (progress.done, progress.refused) == (1, ())
        assert web.has[LISTENER]["inbound:10.0.0.1:8080"] != inbound
        assert web.names(LISTENER) == {"inbound:10.0.0.1:8080"}

        web.refuses = {}
        assert (await look(await stack.apply(**dataplane("web-1", "web")))).done == 1
        mended = await look(await stack.apply(**dataplane("web-1", "web", "backend")))
        assert (mended.done, mended.earlier) == (1, ())
        await web.holds(LISTENER, "inbound:10.0.0.1:8080", "outbound:127.0.0.1:10001")


async def test_a_proxy_whose_configuration_cannot_be_made_lacks_only_what_happens_in_its_mesh(
    stack, proxy, look, delta
):
    """A change elsewhere is none of its business, and is told to have arrived."""
    await stack.apply(type="Mesh", name="other", skipCreatingInitialPolicies=["*"])
    resource = dataplane("o-1", "o") | {"mesh": "other"}
    there = Proxy(stack, node("o-1", resource, "other"), await stack.token("o-1", "other"), delta)
    async with (await proxy("web-1", "web", "backend")).connected() as web, there.connected():
        await web.holds(CLUSTER, "backend", "localhost:8080")
        await there.holds(LISTENER, "inbound:10.0.0.1:8080")
        broken = await look(await stack.apply(**impossible("other")))
        assert [one.dataplane for one in broken.refused] == ["o-1"]

        elsewhere = await look(await stack.apply(**timeout(11)))
        assert (elsewhere.done, elsewhere.refused) == (2, ())
        assert [one.dataplane for one in elsewhere.earlier] == ["o-1"]

        at_home = await look(await stack.apply(**fault(500) | {"mesh": "other"}))
        assert [one.dataplane for one in at_home.refused] == ["o-1"]


async def test_proxies_that_are_not_connected_are_counted(stack, proxy, look):
    """They get the change when they come, and nobody is told that they have it."""
    await stack.apply(**dataplane("away-1", "away"))
    async with (await proxy("web-1", "web", "backend")).connected() as web:
        await web.holds(CLUSTER, "backend", "localhost:8080")
        await eventually(stack.streams.of_mesh("default")[0].session.in_sync)

        progress = await look(await stack.apply(**timeout(11)))

        assert (progress.total, progress.done, progress.absent) == (1, 1, 1)
