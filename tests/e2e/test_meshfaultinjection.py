"""Faults on purpose: requests fail, wait or get slow answers, for everyone or for some."""

from __future__ import annotations

import time
from dataclasses import dataclass

import pytest

from tests.e2e.harness import clients, documents
from tests.e2e.harness.documents import Inbound, builtin, permission
from tests.e2e.harness.lab import Lab
from tests.e2e.harness.ports import free_port
from tests.e2e.harness.proxy import Proxy
from tests.e2e.harness.waiting import wait_until


@dataclass
class Trial:
    """A service, and two callers of it."""

    lab: Lab
    web: Proxy
    batch: Proxy

    def faults(self, spec: str) -> None:
        """The MeshFaultInjection of the service, at once at every proxy; ``spec`` is YAML on one line."""
        document = (
            "type: MeshFaultInjection\nmesh: trial\nname: faults\n"
            f"spec: {{targetRef: {{kind: Dataplane, name: api-1}}, {spec}}}\n"
        )
        self.lab.control_plane.kumactl("apply", "--wait", "-f", "-", stdin=document)

    def statuses(self, caller: Proxy, times: int = 4) -> set[int]:
        """What requests are answered."""
        return {clients.http1_answer(caller.outbound("api")).status for _ in range(times)}


@pytest.fixture(scope="module")
def trial(lasting_lab: Lab) -> Trial:
    """The mesh that the tests look at, with mutual TLS."""
    lab = lasting_lab
    lab.mesh(documents.mesh("trial", builtin("ca-1")))
    lab.mesh(permission("trial", "everyone"))
    lab.proxy("api-1", mesh="trial", inbounds=[Inbound("api", "http", free_port(), lab.http("api").port)]).launch()
    web = lab.proxy("web", mesh="trial", calls=("api",)).launch()
    batch = lab.proxy("batch", mesh="trial", calls=("api",)).launch()
    for proxy in lab.proxies:
        proxy.wait_ready()
    for caller in (web, batch):
        wait_until(lambda caller=caller: clients.http1(caller.outbound("api")), "the service answers")  # type: ignore[misc] # a bound default
    return Trial(lab, web, batch)


def test_requests_fail_with_the_status_that_is_asked_for(trial):
    """All of them, or about as many as the percentage says."""
    trial.faults("rules: [{default: {http: [{abort: {httpStatus: 418, percentage: 100}}]}}]")
    wait_until(lambda: trial.statuses(trial.web, 6) == {418}, "every request fails")

    trial.faults('rules: [{default: {http: [{abort: {httpStatus: 418, percentage: "50.0"}}]}}]')
    wait_until(lambda: trial.statuses(trial.web, 40) == {200, 418}, "some requests fail")

    trial.faults("rules: [{default: {http: [{abort: {httpStatus: 418, percentage: 0}}]}}]")
    wait_until(lambda: trial.statuses(trial.web, 6) == {200}, "none fails")


def test_requests_wait(trial):
    """And are answered by the service then."""
    trial.faults("rules: [{default: {http: [{delay: {value: 700ms, percentage: 100}}]}}]")

    def waits() -> bool:
        begun = time.monotonic()
        assert trial.statuses(trial.web, 1) == {200}
        return time.monotonic() - begun >= 0.7

    wait_until(waits, "requests wait")


def test_answers_come_slowly(trial):
    """As Envoy counts them."""
    trial.faults("rules: [{default: {http: [{responseBandwidth: {limit: 1 kbps, percentage: 100}}]}}]")

    def slowed() -> bool:
        assert trial.statuses(trial.web, 1) == {200}
        stats = trial.lab.control_plane.api.request("GET", "/meshes/trial/dataplanes/api-1/stats").text
        return any("fault.response_rl_injected" in line for line in stats.splitlines())

    wait_until(slowed, "answers are slowed down")


def test_sources_are_told_apart_by_their_tags(trial):
    """The older form: proxies send their tags along while the mesh has such a policy."""
    trial.faults(
        "from: [{targetRef: {kind: MeshService, name: batch}, "
        "default: {http: [{abort: {httpStatus: 418, percentage: 100}}]}}]"
    )

    wait_until(lambda: trial.statuses(trial.batch) == {418}, "one caller fails")
    wait_until(lambda: trial.statuses(trial.web) == {200}, "the other does not")


def test_clients_are_told_apart_by_their_identity(trial):
    """By the certificate, in mutual TLS; faults for some come before those for everybody."""
    trial.faults(
        "rules: [{matches: [{spiffeID: {type: Prefix, value: 'spiffe://trial/ba'}}], "
        "default: {http: [{abort: {httpStatus: 418, percentage: 100}}]}}, "
        "{default: {http: [{abort: {httpStatus: 451, percentage: 100}}]}}]"
    )

    wait_until(lambda: trial.statuses(trial.batch) == {418}, "the rule for some holds for one caller")
    wait_until(lambda: trial.statuses(trial.web) == {451}, "the other meets only the rule for all")
