"""Meshes come and go with what belongs to them."""

from __future__ import annotations

from tests.e2e.harness import documents
from tests.e2e.harness.documents import builtin
from tests.e2e.harness.lab import Lab
from tests.e2e.harness.waiting import wait_until

CONTROL_PLANE = {"KUMA_XDS_DATAPLANE_DEREGISTRATION_DELAY": "1s", "KUMA_STORE_TYPE": "memory"}


def test_mesh_with_a_live_proxy_is_not_deleted(lab: Lab):
    """Deleting a mesh with proxies is refused with the reason; without them it takes along all it owns."""
    lab.mesh(documents.mesh("busy", builtin("ca-1")))
    proxy = lab.proxy("backend-1", mesh="busy").start()
    kumactl = lab.control_plane.kumactl

    refused = kumactl.run("delete", "mesh", "busy")

    assert refused.code == 1
    assert "there are still some dataplanes attached" in refused.err
    assert proxy.drain() == 0
    wait_until(lambda: kumactl.run("delete", "mesh", "busy").code == 0, "the mesh can be deleted")
    assert kumactl.run("get", "mesh", "busy").code == 1
    everything = lab.control_plane.api
    for kind in ("secrets", "meshtimeouts", "meshretries", "meshcircuitbreakers", "dataplanes"):
        assert not [item for item in everything.get(f"/{kind}")["items"] if item["mesh"] == "busy"], kind


def test_meshes_do_not_see_each_other(lab: Lab):
    """A service of one mesh is not there for a proxy of another."""
    lab.mesh(documents.mesh("one"))
    lab.mesh(documents.mesh("two"))
    lab.service("backend-1", lab.http("backend-1"), "http", service="backend", mesh="one").start()
    lab.proxy("caller", mesh="two", calls=["backend"]).start()

    dump = lab.control_plane.api.request("GET", "/meshes/two/dataplanes/caller/clusters").text

    assert "backend::127.0.0.1" not in dump


def test_mesh_that_is_made_again_starts_afresh(lab: Lab):
    """A mesh deleted and made again has new keys: an old token no longer joins, and is told why."""
    lab.mesh(documents.mesh("again"))
    old = lab.control_plane.token("backend-1", "again")
    lab.control_plane.kumactl("delete", "mesh", "again")
    lab.mesh(documents.mesh("again"))

    proxy = lab.proxy("backend-1", mesh="again", token=old).launch()

    proxy.program.wait_for_log("authentication failed: could not parse token")
    assert not proxy.online


def test_metrics_are_there_for_an_operator(lab: Lab):
    """After proxies came and went, the diagnostics port tells of it under the names dashboards know."""
    lab.proxy("measured").start()

    text = wait_until(
        lambda: (found := lab.control_plane.diagnostics.request("GET", "/metrics").text).count("\nxds_") and found,
        "metrics of the proxies",
    )

    for name in ("cp_info{", "xds_streams_active", "xds_responses_sent", "xds_generation_errors"):
        assert f"\n{name}" in text, name
    assert lab.control_plane.diagnostics.request("GET", "/healthy").status == 200
