"""``kumactl apply --wait``: an exact answer to "does every proxy have it?"."""

from __future__ import annotations

import socket

from tests.e2e.harness import clients, documents
from tests.e2e.harness.documents import Inbound
from tests.e2e.harness.lab import Lab
from tests.e2e.harness.ports import free_port
from tests.e2e.harness.waiting import wait_until

TIMEOUT = """
type: MeshTimeout
mesh: {mesh}
name: a-patient-one
spec:
  to:
  - targetRef: {{kind: Mesh}}
    default: {{connectionTimeout: {seconds}s, http: {{requestTimeout: {seconds}s}}}}
"""


def test_waiting_returns_when_every_proxy_has_the_change(lab: Lab):
    """The change is in Envoy when the command returns; proxies it does not touch count as done."""
    lab.mesh(documents.mesh("calm"))
    lab.service("backend-1", lab.http("backend-1"), "http", service="backend", mesh="calm").start()
    caller = lab.proxy("caller", mesh="calm", calls=["backend"]).start()
    wait_until(lambda: clients.http1(caller.outbound("backend")), "the service answers")

    for seconds in (7, 8):
        said = lab.control_plane.kumactl(
            "apply", "-f", "-", "--wait=20s", stdin=TIMEOUT.format(mesh="calm", seconds=seconds)
        )

        total = len(lab.control_plane.api.get("/dataplanes/_overview")["items"])
        assert f"{total} of {total} proxies have the change" in said
        dump = str(lab.control_plane.api.get("/meshes/calm/dataplanes/caller/xds"))
        assert f"'timeout': '{seconds}s'" in dump


def test_a_proxy_that_refuses_is_named_with_its_reason(lab: Lab):
    """Exit code 1, the proxy's name and Envoy's words; once it is repaired the same command succeeds."""
    lab.mesh(documents.mesh("stubborn"))
    application = lab.http("backend-1")
    proxy = lab.service("backend-1", application, "http", service="backend", mesh="stubborn").start()
    proxy.may_refuse = True
    good = proxy.resource.read_text()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", free_port()))
        taken.listen()
        extra = Inbound("other", "http", taken.getsockname()[1], application.port)
        inbounds = [*proxy.inbounds, extra]
        bad = documents.dataplane("backend-1", "stubborn", inbounds, {}, admin_port=proxy.admin_port)

        result = lab.control_plane.kumactl.run("apply", "-f", "-", "--wait=20s", stdin=bad)

        assert result.code == 1
        assert "stubborn/backend-1: Listener: " in result.err
        assert str(extra.port) in result.err
        assert "proxies have the change; it was refused by 1" in result.err

    assert "proxies have the change" in lab.control_plane.kumactl("apply", "-f", "-", "--wait=20s", stdin=good)


def test_waiting_ends_in_time_when_a_proxy_does_not_answer(lab: Lab):
    """A proxy that hangs is named after the time given; nothing else is held up."""
    lab.mesh(documents.mesh("stuck"))
    caller = lab.proxy("caller", mesh="stuck", calls=["backend"]).start()

    with caller.frozen():
        result = lab.control_plane.kumactl.run(
            "apply", "-f", "-", "--wait=2s", stdin=TIMEOUT.format(mesh="stuck", seconds=9)
        )

    assert result.code == 1
    assert "stuck/caller: no answer within 2s" in result.err


PATCH = """
type: MeshProxyPatch
mesh: {mesh}
name: broken
spec:
  targetRef: {{kind: Dataplane, name: backend-1}}
  default:
    appendModifications:
    - cluster:
        operation: Patch
        match: {{origin: inbound}}
        jsonPatches: [{{op: add, path: /lbPolicy, value: CLUSTER_PROVIDED}}]
"""


def test_what_envoy_refuses_stands_in_the_way_of_nothing_else(lab: Lab):
    """A refused cluster is told for its own change only, and a denial gets through to the proxy that refused it."""
    lab.mesh(documents.mesh("rough", documents.builtin("ca-1")))
    lab.mesh(documents.permission("rough", "everyone"))
    backend = lab.service("backend-1", lab.http("backend-1"), "http", service="backend", mesh="rough").start()
    backend.may_refuse = True
    caller = lab.proxy("caller", mesh="rough", calls=["backend"]).start()
    wait_until(lambda: clients.http1(caller.outbound("backend")), "the service answers")
    kumactl = lab.control_plane.kumactl

    both = PATCH.format(mesh="rough") + "---" + TIMEOUT.format(mesh="rough", seconds=12)
    result = kumactl.run("apply", "-f", "-", "--wait=20s", stdin=both)
    assert result.code == 1
    assert "rough/backend-1: Cluster: " in result.err

    deny = documents.permission("rough", "everyone", action="Deny")
    result = kumactl.run("apply", "-f", "-", "--wait=20s", stdin=deny)
    assert result.code == 0, result.err
    assert "rough/backend-1 refuses an earlier change: Cluster: " in result.err
    wait_until(
        lambda: clients.http1_answer(caller.outbound("backend")).status == 403, "connections made before are closed"
    )
