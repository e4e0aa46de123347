"""The harness itself keeps its promises, shown with plain processes and without the product."""

from __future__ import annotations

import json
import signal
import sys
import textwrap
from pathlib import Path

import pytest

from tests.e2e.harness import clients, envoy_check, ports
from tests.e2e.harness.applications import GrpcEcho, HttpEcho, TcpEcho
from tests.e2e.harness.load import Load
from tests.e2e.harness.processes import Program, descendants
from tests.e2e.harness.waiting import NotInTime, wait_until


def python(code: str, directory: Path) -> Program:
    """A process that runs some code."""
    return Program([sys.executable, "-u", "-c", textwrap.dedent(code)], log=directory / "program.log", env={})


def test_ports_are_never_given_twice():
    """Two programs of one test cannot be told to use the same port."""
    given = [ports.free_port() for _ in range(200)]

    assert len(set(given)) == len(given)


def test_program_is_ended_with_what_it_started(tmp_path):
    """After a test nothing it started is left, also where a program ignores the signal and has children."""
    program = python(
        """
        import signal, subprocess, sys
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
        print("started")
        signal.pause()
        """,
        tmp_path,
    )
    program.wait_for_log("started")
    child = wait_until(lambda: descendants(program.pid), "a child")[0]
    program.signal(signal.SIGTERM)

    program.close()

    assert not program.running
    wait_until(lambda: not Path(f"/proc/{child}").exists(), "the child is gone", seconds=5)


def test_program_that_shows_a_traceback_fails_its_test(tmp_path):
    """A traceback in a log is found."""
    program = python("raise ValueError('oops')", tmp_path)
    assert program.wait(seconds=10) == 1

    with pytest.raises(AssertionError, match="oops"):
        program.assert_clean_log()


def test_what_never_becomes_true_fails_with_the_last_reason():
    """A failed wait says what was waited for and what was seen last."""

    def never() -> bool:
        raise AssertionError("the door is shut")

    with pytest.raises(NotInTime, match=r"the door opens.*the door is shut"):
        wait_until(never, "the door opens", seconds=0.1)


def test_one_port_speaks_both_versions_of_http():
    """The HTTP application says its name over HTTP/1.1 and over HTTP/2."""
    application = HttpEcho("a")
    try:
        assert clients.http1(application.port) == "a"
        assert clients.http2(application.port) == "a"
        assert clients.http2_answer(application.port).headers["x-protocol"] == "HTTP/2"
    finally:
        application.close()


def test_tcp_and_grpc_applications_say_their_names():
    """Raw bytes and both kinds of gRPC call are answered."""
    tcp, grpc = TcpEcho("t"), GrpcEcho("g")
    try:
        assert clients.tcp(tcp.port) == "t"
        assert clients.grpc_unary(grpc.port) == "g"
        assert clients.grpc_stream(grpc.port) == "g"
    finally:
        tcp.close()
        grpc.close()


def test_load_records_each_failure_and_goes_on():
    """An application that is away for a moment is seen as failures, before and after as answers."""
    application = HttpEcho("a")
    try:
        with Load(lambda: clients.http1(application.port), per_second=50) as load:
            load.run_for(10)
            assert not load.failures
            application.close()
            load.mark("closed")
            wait_until(lambda: load.failures, "a failure")
            application.start()
            before = load.answered_by("a")
            wait_until(lambda: load.answered_by("a") > before, "an answer again")
    finally:
        application.close()

    with pytest.raises(AssertionError, match=r"ConnectionRefused|ConnectionReset|RemoteDisconnected"):
        load.assert_no_failure()


def dump(stat_prefix: str) -> dict[str, object]:
    """A configuration dump with one listener; without a prefix for its statistics Envoy refuses it."""
    proxy = {
        "name": "envoy.filters.network.tcp_proxy",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
            "stat_prefix": stat_prefix,
            "cluster": "c",
        },
    }
    listener = {
        "@type": "type.googleapis.com/envoy.config.listener.v3.Listener",
        "name": "l",
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": 10000}},
        "filter_chains": [{"filters": [proxy]}],
    }
    return {
        "configs": [
            {"@type": "type.googleapis.com/envoy.admin.v3.BootstrapConfigDump", "bootstrap": {"node": {"id": "n"}}},
            {
                "@type": "type.googleapis.com/envoy.admin.v3.ListenersConfigDump",
                "dynamic_listeners": [{"name": "l", "active_state": {"listener": listener}}],
            },
            {
                "@type": "type.googleapis.com/envoy.admin.v3.ClustersConfigDump",
                "dynamic_active_clusters": [{"cluster": {"name": "c", "connect_timeout": "1s", "type": "STATIC"}}],
            },
        ]
    }


def test_a_dump_that_a_fresh_envoy_takes_is_valid(tmp_path):
    """Listener and cluster of a dump are given to a real Envoy."""
    envoy_check.assert_valid(dump("x"), tmp_path)


def test_a_dump_that_a_fresh_envoy_refuses_is_not(tmp_path):
    """Envoy's own words are told."""
    with pytest.raises(AssertionError, match="StatPrefix"):
        envoy_check.assert_valid(dump(""), tmp_path)


def test_a_listener_that_envoy_refused_is_found(tmp_path):
    """A dump with an error state is not valid, whatever else is in it."""
    broken = json.loads(json.dumps(dump("x")))
    broken["configs"][1]["dynamic_listeners"][0]["error_state"] = {"details": "address in use"}

    with pytest.raises(AssertionError, match="address in use"):
        envoy_check.assert_valid(broken, tmp_path)
