"""Instances of a service come, go and share the work, and callers notice nothing they need not notice."""

from __future__ import annotations

import json

import pytest

from tests.e2e.harness import clients, documents
from tests.e2e.harness.lab import Lab
from tests.e2e.harness.load import Load
from tests.e2e.harness.proxy import Proxy
from tests.e2e.harness.waiting import stays, wait_until

CONTROL_PLANE = {"KUMA_XDS_DATAPLANE_DEREGISTRATION_DELAY": "3s"}


def backend(lab: Lab, name: str, mesh: str, *, drain: str = "1s") -> Proxy:
    """An instance of the service ``backend``, not started."""
    return lab.service(name, lab.http(name), "http", service="backend", mesh=mesh, drain=drain)


def exists(lab: Lab, name: str, mesh: str) -> bool:
    """Whether a Dataplane is stored."""
    return lab.control_plane.api.request("GET", f"/meshes/{mesh}/dataplanes/{name}").status == 200


def test_two_instances_share_the_calls(lab):
    """Both instances answer, each a fair part."""
    lab.mesh(documents.mesh("pair"))
    backend(lab, "backend-1", "pair").start()
    backend(lab, "backend-2", "pair").start()
    caller = lab.proxy("caller", mesh="pair", calls=["backend"]).start()
    port = caller.outbound("backend")
    wait_until(lambda: {clients.http1(port) for _ in range(8)} == {"backend-1", "backend-2"}, "both answer")

    answers = [clients.http1(port) for _ in range(60)]

    assert 20 <= answers.count("backend-1") <= 40


def test_an_instance_may_be_addressed_by_its_host_name(lab):
    """A Dataplane with a DNS name as its address is resolved; Envoy gets an IP address."""
    lab.mesh(documents.mesh("named"))
    application = lab.http("backend-1")
    lab.service("backend-1", application, "http", service="backend", mesh="named", address="localhost").start()
    caller = lab.proxy("caller", mesh="named", calls=["backend"]).start()

    wait_until(lambda: clients.http1(caller.outbound("backend")) == "backend-1", "the service answers")

    shown = lab.control_plane.api.get("/meshes/named/dataplanes/backend-1")
    assert shown["networking"]["address"] == "localhost"


def test_instance_joins_and_leaves_under_load_and_no_call_fails(lab):
    """A second instance takes part soon after it starts; when it drains and ends, no call fails."""
    lab.mesh(documents.mesh("moving"))
    backend(lab, "backend-1", "moving").start()
    second = backend(lab, "backend-2", "moving", drain="6s")
    caller = lab.proxy("caller", mesh="moving", calls=["backend"]).start()
    port = caller.outbound("backend")
    wait_until(lambda: clients.http1(port), "the first instance answers")

    with Load(lambda: clients.http1(port)) as load:
        load.run_for(10)
        load.mark("the second instance starts")
        second.start()
        wait_until(lambda: load.answered_by("backend-2") > 5, "the second instance takes part", explain=load.story)
        load.mark("the second instance is asked to end")
        second.begin_draining()
        assert second.program.wait(seconds=20) == 0
        load.mark("the second instance has ended")
        before = load.answered_by("backend-2")
        load.run_for(20)

    load.assert_no_failure()
    assert load.answered_by("backend-2") == before
    wait_until(lambda: not exists(lab, "backend-2", "moving"), "the second instance is forgotten")


def test_a_short_drain_fails_no_call_either(lab):
    """Callers are told at once, not when health is reported next: one second of draining is enough."""
    lab.own_control_plane({"KUMA_DP_SERVER_HDS_INTERVAL": "1m"})
    lab.mesh(documents.mesh("brisk"))
    backend(lab, "backend-1", "brisk").start()
    second = backend(lab, "backend-2", "brisk", drain="1s")
    caller = lab.proxy("caller", mesh="brisk", calls=["backend"]).start()
    port = caller.outbound("backend")
    wait_until(lambda: clients.http1(port), "the first instance answers")

    with Load(lambda: clients.http1(port), per_second=50) as load:
        for _ in range(3):
            second.start()
            seen = load.answered_by("backend-2")
            wait_until(lambda: load.answered_by("backend-2") > seen + 5, "it takes part", explain=load.story)  # noqa: B023
            load.mark("it is asked to end")
            assert second.drain() == 0
            load.mark("it has ended")

    load.assert_no_failure()


def test_killed_proxy_is_shown_offline_and_then_removed(lab):
    """``kill -9`` of a proxy: Offline at once, gone after the delay; the other instance serves on."""
    lab.mesh(documents.mesh("loss"))
    backend(lab, "backend-1", "loss").start()
    second = backend(lab, "backend-2", "loss").start()
    caller = lab.proxy("caller", mesh="loss", calls=["backend"]).start()
    wait_until(lambda: clients.http1(caller.outbound("backend")), "the service answers")

    second.kill()

    def status() -> str:
        table = lab.control_plane.kumactl("inspect", "dataplanes", "--mesh", "loss")
        return next((line for line in table.splitlines() if " backend-2 " in line), "")

    wait_until(lambda: "Offline" in status(), "backend-2 is shown Offline", seconds=2.5)
    overview = lab.control_plane.overview("backend-2", "loss")
    assert "disconnectTime" in overview["dataplaneInsight"]["subscriptions"][-1]
    used = lab.control_plane.program.cpu_seconds
    wait_until(lambda: not exists(lab, "backend-2", "loss"), "backend-2 is removed", seconds=10)
    assert lab.control_plane.program.cpu_seconds - used < 1.5, "a lost connection keeps the control plane busy"
    assert {clients.http1(caller.outbound("backend")) for _ in range(10)} == {"backend-1"}
    wait_until(
        lambda: (
            json.dumps(lab.control_plane.api.get("/mesh-insights/loss")).count('"offline"') == 0
            or lab.control_plane.api.get("/mesh-insights/loss")["dataplanes"].get("offline", 0) == 0
        ),
        "the mesh counts nobody offline",
    )


@pytest.mark.timeout(120)
def test_proxy_that_is_lost_without_a_word_is_found(lab):
    """A host that vanishes closes no connection: it is Offline after half a minute, and back when it answers again."""
    lab.mesh(documents.mesh("silent"))
    proxy = backend(lab, "backend-1", "silent").start()

    with proxy.frozen():
        stays(lambda: proxy.online, "shown online: nobody can know yet", seconds=3)
        wait_until(lambda: not proxy.online, "shown offline", seconds=45)
        wait_until(lambda: not exists(lab, "backend-1", "silent"), "removed", seconds=10)

    wait_until(lambda: proxy.online, "back in the mesh", seconds=40)


def test_proxy_that_comes_back_soon_keeps_its_place(lab):
    """A restart shorter than the delay does not remove the Dataplane."""
    lab.mesh(documents.mesh("short"))
    proxy = backend(lab, "backend-1", "short").start()
    created = lab.control_plane.api.get("/meshes/short/dataplanes/backend-1")["creationTime"]

    proxy.kill()
    wait_until(lambda: not proxy.online, "shown offline")
    proxy.start()

    stays(lambda: exists(lab, "backend-1", "short"), "the Dataplane is stored", seconds=3.5)
    assert lab.control_plane.api.get("/meshes/short/dataplanes/backend-1")["creationTime"] == created


def test_second_proxy_with_a_name_waits_until_the_first_is_gone(lab):
    """Two proxies with one name: the first goes on undisturbed, the second is told why and takes over later."""
    lab.mesh(documents.mesh("twins"))
    first = backend(lab, "backend-1", "twins").start()
    caller = lab.proxy("caller", mesh="twins", calls=["backend"]).start()
    port = caller.outbound("backend")
    wait_until(lambda: clients.http1(port) == "backend-1", "the first answers")
    connected = lab.control_plane.subscription("backend-1", "twins")["connectTime"]
    application = lab.http("impostor")
    second = lab.service("backend-1", application, "http", service="backend", mesh="twins", copy="-second")

    second.launch()

    second.program.wait_for_log("there is already an active stream from this node, try again later")
    assert lab.control_plane.subscription("backend-1", "twins")["connectTime"] == connected
    assert {clients.http1(port) for _ in range(10)} == {"backend-1"}
    first.kill()
    wait_until(lambda: clients.http1(port) == "impostor", "the second has taken over", seconds=40)
    wait_until(lambda: second.online, "it is shown as online")
