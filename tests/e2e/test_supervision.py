"""kuma-dp stands between a process manager and Envoy: what either does has the consequence an operator expects."""

from __future__ import annotations

import os
import signal
import socket
import time
from pathlib import Path

import pytest

from tests.e2e.harness import clients
from tests.e2e.harness.lab import Lab
from tests.e2e.harness.load import Load
from tests.e2e.harness.proxy import Proxy
from tests.e2e.harness.waiting import wait_until


def backend(lab: Lab, name: str, *, drain: str = "1s") -> Proxy:
    """A proxy in front of a web service, started."""
    return lab.service(name, lab.http(name), "http", service=name, drain=drain).start()


def test_end_of_envoy_is_the_end_of_kuma_dp(lab: Lab):
    """Envoy killed: kuma-dp ends with its code and says why, so that a process manager starts both again."""
    proxy = backend(lab, "killed-envoy")

    os.kill(proxy.envoy_pid, signal.SIGKILL)

    assert proxy.program.wait(seconds=10) == 128 + signal.SIGKILL
    assert "Envoy was ended by SIGKILL" in proxy.program.log()


def test_kill_of_kuma_dp_leaves_no_envoy(lab: Lab):
    """``kill -9`` of kuma-dp: no Envoy stays behind with the ports."""
    proxy = backend(lab, "killed-dp")
    envoy = proxy.envoy_pid

    proxy.kill()

    wait_until(lambda: not Path(f"/proc/{envoy}/exe").exists(), "Envoy is gone", seconds=5)


def test_drain_takes_its_time_and_says_so(lab: Lab):
    """SIGTERM: not ready at once, open for the drain time, and then exit code 0 with nothing left behind."""
    proxy = backend(lab, "drained", drain="3s")
    port = proxy.inbounds[0].port

    with Load(lambda: clients.http1(port)) as load:
        load.run_for(5)
        began = time.monotonic()
        proxy.begin_draining()
        answer = wait_until(
            lambda: (found := proxy.readiness.request("GET", "/ready")).status == 503 and found, "no longer ready"
        )
        assert "TERMINATING" in answer.text
        assert time.monotonic() - began < 2
        load.run_for(20)

    assert proxy.program.wait(seconds=10) == 0
    assert time.monotonic() - began >= 3
    load.assert_no_failure()


def test_drain_ends_early_when_nobody_is_left(lab: Lab):
    """The drain time is a maximum: without a connection Envoy ends sooner, and an open connection keeps it."""
    own = lab.own_control_plane()
    started = time.monotonic()
    wait_until(lambda: time.monotonic() > started + 30, "proxies of an earlier run would be back by now", seconds=40)
    idle, busy = backend(lab, "idle", drain="60s"), backend(lab, "busy", drain="60s")

    with socket.create_connection(("127.0.0.1", busy.inbounds[0].port)):
        for proxy in (idle, busy):
            proxy.begin_draining()
        assert idle.program.wait(seconds=20) == 0
        assert "no connection is left" in idle.program.log()
        assert busy.program.running
    assert busy.program.wait(seconds=20) == 0
    assert own.program.running


def test_proxy_that_never_joined_has_nothing_to_drain(lab: Lab):
    """Its token is refused, so it listens nowhere: SIGTERM ends it at once."""
    token = lab.control_plane.token("somebody-else", "default")
    proxy = lab.proxy("not-let-in", token=token, drain="60s").launch()
    proxy.program.wait_for_log("is different than in token")

    assert proxy.drain(seconds=10) == 0
    assert "nothing to drain" in proxy.program.log()


def test_second_signal_ends_the_waiting(lab: Lab):
    """SIGTERM twice: the drain time is cut short."""
    proxy = backend(lab, "hurried", drain="60s")

    proxy.begin_draining()
    proxy.program.wait_for_log("draining for at most 1m0s")
    proxy.program.signal(signal.SIGTERM)

    assert proxy.program.wait(seconds=10) == 0


def test_sigusr2_drains_and_stays(lab: Lab):
    """SIGUSR2: inbound connections drain and kuma-dp stays; a later SIGTERM ends it at once."""
    proxy = backend(lab, "drained-first", drain="60s")

    proxy.program.signal(signal.SIGUSR2)
    proxy.program.wait_for_log("SIGUSR2")
    assert proxy.program.running

    proxy.program.signal(signal.SIGTERM)
    assert proxy.program.wait(seconds=10) == 0


def test_token_as_text(lab: Lab):
    """``--dataplane-token`` instead of a file joins, and the token is not given on to Envoy's command line."""
    token = lab.control_plane.token("by-text", "default")
    proxy = lab.proxy("by-text", token="", env={"KUMA_DATAPLANE_RUNTIME_TOKEN": token}).start()

    assert token not in Path(f"/proc/{proxy.envoy_pid}/cmdline").read_text()
    assert token not in proxy.program.log()


def test_dns_is_asked_for_by_default_and_does_no_harm(lab: Lab):
    """Without ``--dns-enabled=false`` and without a transparent proxy the proxy joins."""
    proxy = lab.proxy("with-dns", flags=["--dns-enabled=true"]).start()

    assert proxy.online


@pytest.mark.parametrize(
    "flag, reason",
    [
        ("--transparent-proxy", "--transparent-proxy: not available yet"),
        ("--proxy-type=egress", "proxy-type"),
        ("--drain-time=0s", "drain-time"),
        ("--cp-address=ftp://localhost", "cp-address"),
        ("--binary-path=/no/such/envoy", "/no/such/envoy"),
    ],
)
def test_what_cannot_be_is_refused_with_a_reason(lab: Lab, flag: str, reason: str):
    """A start that cannot work ends at once with exit code 1 and names what to change."""
    proxy = lab.proxy("refused", flags=[flag]).launch()

    assert proxy.program.wait(seconds=15) == 1
    assert reason in proxy.program.log()
    assert "Error: " in proxy.program.log()
