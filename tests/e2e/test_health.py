"""What is not well is seen: a refused configuration in Envoy's words, a service that does not answer in its inbound."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from tests.e2e.harness import clients, documents
from tests.e2e.harness.documents import Inbound
from tests.e2e.harness.lab import Lab
from tests.e2e.harness.load import Load
from tests.e2e.harness.ports import free_port
from tests.e2e.harness.waiting import stays, wait_until


@pytest.fixture
def taken_port() -> Iterator[int]:
    """A port that some other program already listens on."""
    with socket.socket() as listener:
        port = free_port()
        listener.bind(("127.0.0.1", port))
        listener.listen()
        yield port


def test_refused_listener_is_shown_and_the_last_good_one_serves_on(lab: Lab, taken_port: int):
    """Envoy's words are in the overview, the proxy keeps what it had, nothing spins; a repair is taken."""
    lab.mesh(documents.mesh("nack"))
    application = lab.http("backend-1")
    proxy = lab.service("backend-1", application, "http", service="backend", mesh="nack").start()
    caller = lab.proxy("caller", mesh="nack", calls=["backend"]).start()
    port = caller.outbound("backend")
    wait_until(lambda: clients.http1(port) == "backend-1", "the service answers")
    good = proxy.resource.read_text()
    extra = Inbound("other", "http", taken_port, application.port)
    bad = documents.dataplane("backend-1", "nack", [*proxy.inbounds, extra], {}, admin_port=proxy.admin_port)
    proxy.may_refuse = True

    lab.control_plane.kumactl.apply(bad)

    def rejection() -> dict[str, str]:
        told: dict[str, str] = lab.control_plane.rejections("backend-1", "nack")["lds"]["lastRejection"]
        return told

    told = wait_until(rejection, "the refusal in the overview")
    assert str(taken_port) in told["message"]
    assert told["time"]
    table = lab.control_plane.kumactl("inspect", "dataplanes", "--mesh", "nack")
    head, line = table.splitlines()[0], next(line for line in table.splitlines() if " backend-1 " in line)
    assert line[head.index("TOTAL ERRORS") :].split()[0] not in ("0", "-")
    assert {clients.http1(port) for _ in range(10)} == {"backend-1"}
    stays(
        lambda: int(lab.control_plane.rejections("backend-1", "nack")["lds"]["responsesRejected"]) <= 2,
        "the refused configuration is not sent again and again",
        seconds=1.5,
    )

    lab.control_plane.kumactl.apply(good)

    repaired = [*proxy.inbounds, Inbound("other", "http", free_port(), application.port)]
    document = documents.dataplane("backend-1", "nack", repaired, {}, admin_port=proxy.admin_port)
    lab.control_plane.kumactl.apply(document)
    wait_until(lambda: clients.http1(repaired[-1].port) == "backend-1", "the repaired inbound answers")


def test_probe_takes_a_dead_service_out_and_brings_it_back(lab: Lab):
    """The application of one instance ends: its inbound is NotReady, calls go to the other; it returns, so do calls."""
    lab.mesh(documents.mesh("probed"))
    applications = [lab.http("backend-1"), lab.http("backend-2")]
    for application in applications:
        lab.service(application.name, application, "http", service="backend", mesh="probed", probe=True).start()
    caller = lab.proxy("caller", mesh="probed", calls=["backend"]).start()
    port = caller.outbound("backend")
    wait_until(lambda: {clients.http1(port) for _ in range(8)} == {"backend-1", "backend-2"}, "both answer")

    applications[0].close()

    def inbound() -> dict[str, object]:
        found: dict[str, object] = lab.control_plane.api.get("/meshes/probed/dataplanes/backend-1")["networking"][
            "inbound"
        ][0]
        return found

    wait_until(lambda: inbound().get("state") == "NotReady", "the inbound is NotReady", seconds=15)
    wait_until(
        lambda: "is not ready" in lab.control_plane.kumactl("inspect", "dataplanes", "-m", "probed"), "a note says so"
    )
    with Load(lambda: clients.http1(port)) as load:
        wait_until(lambda: load.answered_by("backend-2") > 20, "the other instance answers")
    load.assert_no_failure()
    assert set(load.answers) == {"backend-2"}

    applications[0].start()

    wait_until(lambda: inbound().get("state", "Ready") == "Ready", "the inbound is ready", seconds=15)
    wait_until(lambda: clients.http1(port) == "backend-1", "calls come back")
