"""The control plane dies: traffic goes on, and nothing it acknowledged is lost."""

from __future__ import annotations

import itertools
import json
import threading

import jwt
import pytest

from tests.e2e.harness import clients, documents
from tests.e2e.harness.documents import builtin, permission
from tests.e2e.harness.lab import Lab
from tests.e2e.harness.load import Load
from tests.e2e.harness.waiting import wait_until


def claims(token: str) -> dict[str, object]:
    """What a token says."""
    said: dict[str, object] = jwt.decode(token, options={"verify_signature": False})
    return said


@pytest.mark.timeout(120)
def test_control_plane_killed_under_load(lab: Lab):
    """No call fails, configuration is frozen, a new proxy waits, and joins when the control plane is back."""
    control_plane = lab.own_control_plane()
    lab.mesh(documents.mesh("default", builtin("ca-1")))
    lab.mesh(permission("default", "everyone"))
    lab.service("backend-1", lab.http("backend-1"), "http", service="backend").start()
    caller = lab.proxy("caller", calls=["backend"]).start()
    second = lab.service("backend-2", lab.http("backend-2"), "http", service="backend")
    port = caller.outbound("backend")
    wait_until(lambda: clients.http1(port), "the service answers")

    with Load(lambda: clients.http1(port)) as load:
        load.run_for(10)
        control_plane.kill()
        load.mark("kuma-cp was killed")
        second.launch()
        second.program.wait_for_log("cannot join yet")
        load.run_for(40)
        assert second.program.running
        assert load.answered_by("backend-2") == 0
        control_plane.start()
        load.mark("kuma-cp is back")
        second.wait_ready()
        wait_until(lambda: load.answered_by("backend-2"), "the new proxy takes part", seconds=40, explain=load.story)
        wait_until(lambda: caller.online, "the old proxy is connected again", seconds=40)
        load.run_for(20)

    load.assert_no_failure()


def test_kill_loses_no_acknowledged_write(lab: Lab):
    """``kill -9`` in the middle of writing: what was acknowledged is there after the restart, complete."""
    control_plane = lab.own_control_plane()
    acknowledged: list[str] = []

    def write() -> None:
        for number in itertools.count():
            document = {
                "type": "MeshRetry",
                "mesh": "default",
                "name": f"retry-{number}",
                "spec": {"to": [{"targetRef": {"kind": "Mesh"}, "default": {"http": {"numRetries": number + 1}}}]},
            }
            try:
                answer = control_plane.api.put(f"/meshes/default/meshretries/retry-{number}", document)
            except OSError:
                return
            assert answer.status == 201, answer.text
            acknowledged.append(document["name"])

    writer = threading.Thread(target=write)
    writer.start()
    wait_until(lambda: len(acknowledged) > 100, "a hundred writes", explain=control_plane.program.tail)
    control_plane.kill()
    writer.join(timeout=20)
    assert not writer.is_alive()

    control_plane.start()

    for number, name in enumerate(acknowledged):
        stored = control_plane.api.get(f"/meshes/default/meshretries/{name}")
        assert stored["spec"]["to"][0]["default"]["http"]["numRetries"] == number + 1


def test_kill_loses_no_key_and_no_token(lab: Lab):
    """After ``kill -9`` and restart old tokens join; admin token, CA and fingerprint are the same."""
    control_plane = lab.own_control_plane()
    lab.mesh(documents.mesh("secure", builtin("ca-1")))
    old = control_plane.token("", "secure")
    admin = control_plane.api.get("/global-secrets/admin-user-token")["data"]
    authority = control_plane.api.get("/meshes/secure/secrets/secure.ca-builtin-cert-ca-1")["data"]
    config = control_plane.api.get("/config")
    index = control_plane.api.get("/")

    control_plane.kill()
    control_plane.start()

    proxy = lab.proxy("backend-1", mesh="secure", token=old).start()
    assert proxy.online
    assert claims(control_plane.token("", "secure"))["CaFingerprint"] == claims(old)["CaFingerprint"]
    assert control_plane.api.get("/global-secrets/admin-user-token")["data"] == admin
    assert control_plane.api.get("/meshes/secure/secrets/secure.ca-builtin-cert-ca-1")["data"] == authority
    assert control_plane.api.get("/config") == config
    assert control_plane.api.get("/")["clusterId"] == index["clusterId"]


@pytest.mark.timeout(120)
def test_proxy_that_went_meanwhile_is_shown_offline_and_then_removed(lab: Lab):
    """A proxy that dies while the control plane is away is Offline when it is back, and others are not."""
    control_plane = lab.own_control_plane({"KUMA_XDS_DATAPLANE_DEREGISTRATION_DELAY": "1s"})
    gone, there = lab.proxy("gone").start(), lab.proxy("there").start()

    control_plane.kill()
    gone.kill()
    control_plane.start()

    wait_until(lambda: there.online, "the other is connected again", seconds=40)
    assert not gone.online
    assert "Offline" in next(
        (line for line in control_plane.kumactl("inspect", "dataplanes").splitlines() if " gone " in line), "Offline"
    )
    path = "/meshes/default/dataplanes/gone"
    removed = "it is removed once every proxy had time to come back"
    wait_until(lambda: control_plane.api.request("GET", path).status == 404, removed, seconds=60)
    assert control_plane.api.request("GET", "/meshes/default/dataplanes/there").status == 200


def test_sigterm_ends_the_control_plane_in_time_and_keeps_proxies(lab: Lab):
    """SIGTERM: exit code 0 within ten seconds, also with proxies connected, and they are not removed."""
    control_plane = lab.own_control_plane({"KUMA_XDS_DATAPLANE_DEREGISTRATION_DELAY": "1s"})
    proxy = lab.proxy("backend-1").start()

    assert control_plane.stop(seconds=10) == 0

    control_plane.start()
    wait_until(lambda: proxy.online, "connected again", seconds=40)
    stored = control_plane.api.get("/meshes/default/dataplanes/backend-1")
    assert json.dumps(stored["networking"]["inbound"])
