"""A service takes so many requests or connections, and no more; some clients may more than others."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from tests.e2e.harness import clients, documents
from tests.e2e.harness.documents import Inbound, builtin, permission
from tests.e2e.harness.lab import Lab
from tests.e2e.harness.ports import free_port
from tests.e2e.harness.proxy import Proxy
from tests.e2e.harness.waiting import wait_until


@dataclass
class Gate:
    """A service over HTTP and one over TCP behind one proxy, and two callers of both."""

    lab: Lab
    web: Proxy
    batch: Proxy

    def limit(self, rules: str) -> None:
        """The MeshRateLimit of the services, at once at every proxy; ``rules`` is YAML on one line."""
        document = (
            "type: MeshRateLimit\nmesh: gate\nname: limit\n"
            f"spec: {{targetRef: {{kind: Dataplane, name: gate-1}}, rules: {rules}}}\n"
        )
        self.lab.control_plane.kumactl("apply", "--wait", "-f", "-", stdin=document)
        wait_until(self.settled, "connections opened before the policy changed are closed")

    def settled(self) -> bool:
        """Whether nothing is left of what the services' proxy had before."""
        stats = self.lab.control_plane.api.request("GET", "/meshes/gate/dataplanes/gate-1/stats").text
        shown = dict(line.rsplit(": ", 1) for line in stats.splitlines() if line.startswith("listener_manager."))
        assert shown["listener_manager.total_listeners_active"] != "0", shown
        return {value for name, value in shown.items() if name.endswith("_draining")} <= {"0"}

    def statuses(self, caller: Proxy, times: int) -> list[int]:
        """What so many requests are answered."""
        return [clients.http1_answer(caller.outbound("api")).status for _ in range(times)]

    def allowed(self, caller: Proxy, most: int, refused: int = 429) -> bool:
        """Whether so many requests are answered, and every further one is refused."""
        return self.statuses(caller, most + 3) == [200] * most + [refused] * 3


@pytest.fixture(scope="module")
def gate(lasting_lab: Lab) -> Gate:
    """The mesh that the tests look at, with mutual TLS."""
    lab = lasting_lab
    lab.mesh(documents.mesh("gate", builtin("ca-1")))
    lab.mesh(permission("gate", "everyone"))
    inbounds = [
        Inbound("api", "http", free_port(), lab.http("api").port),
        Inbound("raw", "tcp", free_port(), lab.tcp("raw").port),
    ]
    lab.proxy("gate-1", mesh="gate", inbounds=inbounds).launch()
    web = lab.proxy("web", mesh="gate", calls=("api", "raw")).launch()
    batch = lab.proxy("batch", mesh="gate", calls=("api", "raw")).launch()
    for proxy in lab.proxies:
        proxy.wait_ready()
    for caller in (web, batch):
        wait_until(lambda caller=caller: clients.http1(caller.outbound("api")), "the service answers")  # type: ignore[misc] # a bound default
    return Gate(lab, web, batch)


def test_requests_above_the_rate_are_answered_as_configured(gate):
    """With the status and the headers that the policy says, 429 without."""
    headers = "headers: {set: [{name: x-limited, value: 'yes'}], add: [{name: x-again, value: later}]}"
    gate.limit(
        "[{default: {local: {http: {requestRate: {num: 3, interval: 60s}, "
        f"onRateLimit: {{status: 423, {headers}}}}}}}}}}}]"
    )
    assert gate.allowed(gate.web, 3, 423)
    refused = clients.http1_answer(gate.web.outbound("api"))
    assert (refused.headers["x-limited"], refused.headers["x-again"]) == ("yes", "later")

    gate.limit("[{default: {local: {http: {requestRate: {num: 2, interval: 60s}}}}}]")
    wait_until(lambda: 429 in gate.statuses(gate.web, 1), "the new limit is in force")


def test_what_is_disabled_limits_nothing(gate):
    """And an interval that has passed fills the bucket again."""
    gate.limit("[{default: {local: {http: {disabled: true, requestRate: {num: 1, interval: 60s}}}}}]")
    wait_until(lambda: gate.statuses(gate.web, 6) == [200] * 6, "nothing is refused")

    gate.limit("[{default: {local: {http: {requestRate: {num: 1, interval: 300ms}}}}}]")
    wait_until(lambda: 429 in gate.statuses(gate.web, 3), "the bucket is empty")
    wait_until(lambda: gate.statuses(gate.web, 1) == [200], "the bucket is filled again")


def test_clients_may_have_limits_of_their_own(gate):
    """Told by the identity in their certificate, whatever they say of themselves."""
    gate.limit(
        "[{matches: [{spiffeID: {type: Exact, value: 'spiffe://gate/batch'}}], "
        "default: {local: {http: {requestRate: {num: 1, interval: 60s}}}}}, "
        "{default: {local: {http: {requestRate: {num: 4, interval: 60s}}}}}]"
    )
    assert gate.allowed(gate.batch, 1)
    assert gate.allowed(gate.web, 4)


def test_connections_above_the_rate_are_closed(gate):
    """Where a service does not speak HTTP, connections are counted."""
    gate.limit("[{default: {local: {tcp: {connectionRate: {num: 2, interval: 60s}}}}}]")

    answered = []
    for _ in range(4):
        try:
            answered.append(clients.tcp(gate.web.outbound("raw")))
        except clients.CallFailed:
            answered.append("closed")

    assert answered == ["raw", "raw", "closed", "closed"]
