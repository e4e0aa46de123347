"""Probes take an endpoint out of service and bring it back: over HTTP, gRPC and raw connections."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import grpc  # type: ignore[import-untyped] # grpcio ships no types
import pytest

from tests.e2e.harness import clients, documents
from tests.e2e.harness.applications import UNARY, TcpEcho
from tests.e2e.harness.documents import Inbound, builtin, permission
from tests.e2e.harness.lab import Lab
from tests.e2e.harness.ports import free_port
from tests.e2e.harness.proxy import Proxy
from tests.e2e.harness.waiting import wait_until

HEALTH = "/grpc.health.v1.Health/Check"
WELL, SICK = b"\x08\x01", b"\x08\x02"
"""A ``grpc.health.v1.HealthCheckResponse`` that says SERVING, and one that says NOT_SERVING."""
QUICK = "interval: 150ms, timeout: 2s, noTrafficInterval: 150ms, unhealthyThreshold: 2, healthyThreshold: 2"


class Patient:
    """An HTTP/1.1 service that says its name; ``/health`` answers with a status that can be set."""

    def __init__(self, name: str) -> None:
        self.health = 204
        self.probes: list[Mapping[str, str]] = []
        patient = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                probed = self.path.startswith("/health")
                if probed:
                    patient.probes.append({key.lower(): value for key, value in self.headers.items()})
                self.send_response(patient.health if probed else 200)
                body = b"" if probed else name.encode()
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:  # the name is the base class's
                """Tests are quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.handle_error = lambda request, client_address: None  # type: ignore[method-assign] # callers may leave
        self.port: int = self._server.server_port
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class GrpcPatient(grpc.GenericRpcHandler):  # type: ignore[misc] # grpcio ships no types
    """A gRPC service that says its name, and what was set when it is asked for its health."""

    def __init__(self, name: str) -> None:
        self.health = WELL
        self.asked: set[bytes] = set()
        self._name = name.encode()
        self._server = grpc.server(ThreadPoolExecutor(4), options=[("grpc.so_reuseport", 0)])
        self._server.add_generic_rpc_handlers((self,))
        self.port: int = self._server.add_insecure_port("127.0.0.1:0")
        self._server.start()

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> object:
        answers = {UNARY: lambda request, _: self._name + b":" + request, HEALTH: self._check}
        found = answers.get(handler_call_details.method)
        return found and grpc.unary_unary_rpc_method_handler(found)

    def _check(self, request: bytes, _: object) -> bytes:
        self.asked.add(request)
        return self.health

    def close(self) -> None:
        self._server.stop(grace=None).wait(5)


@dataclass
class Ward:
    """Two instances of three services, each instance behind a proxy of its own, and a caller of all three."""

    lab: Lab
    caller: Proxy
    http: tuple[Patient, Patient]
    grpc: tuple[GrpcPatient, GrpcPatient]
    tcp: tuple[TcpEcho, TcpEcho]

    def probe(self, service: str, conf: str) -> None:
        """The MeshHealthCheck for a service, at once at every proxy."""
        self.lab.control_plane.kumactl("apply", "--wait", "-f", "-", stdin=health_check("ward", service, conf))

    def names(self, service: str, times: int = 12) -> set[str]:
        """Which instances answer."""
        port = self.caller.outbound(service)
        ask: Callable[[int], str] = {"web": clients.http1, "rpc": clients.grpc_unary, "raw": clients.tcp}[service]
        return {ask(port) for _ in range(times)}


def health_check(mesh: str, service: str, conf: str) -> str:
    """A MeshHealthCheck for calls to one service; the conf is one line of YAML without its braces."""
    return (
        f"type: MeshHealthCheck\nmesh: {mesh}\nname: probes-{service}\nspec:\n  to:\n"
        f"    - targetRef: {{kind: MeshService, name: {service}}}\n      default: {{{conf}}}\n"
    )


@pytest.fixture(scope="module")
def ward(lasting_lab: Lab) -> Iterator[Ward]:
    """The mesh that the tests look at, with mutual TLS."""
    lab = lasting_lab
    lab.mesh(documents.mesh("ward", builtin("ca-1")))
    lab.mesh(permission("ward", "everyone"))
    http, rpc = (Patient("one"), Patient("two")), (GrpcPatient("one"), GrpcPatient("two"))
    tcp = (lab.tcp("one"), lab.tcp("two"))
    for index, name in enumerate(("one", "two")):
        offered = (("web", "http", http[index].port), ("rpc", "grpc", rpc[index].port), ("raw", "tcp", tcp[index].port))
        inbounds = [Inbound(service, protocol, free_port(), port) for service, protocol, port in offered]
        lab.proxy(name, mesh="ward", inbounds=inbounds).launch()
    caller = lab.proxy("caller", mesh="ward", calls=("web", "rpc", "raw")).launch()
    for proxy in lab.proxies:
        proxy.wait_ready()
    made = Ward(lab, caller, http, rpc, tcp)
    for service in ("web", "rpc", "raw"):
        wait_until(lambda service=service: made.names(service) == {"one", "two"}, f"both instances of {service}")  # type: ignore[misc] # a bound default
    yield made
    for patient in (*http, *rpc):
        patient.close()


def test_an_http_probe_takes_an_instance_out_and_brings_it_back(ward):
    """Only the expected statuses count as well; headers are added; what happens is written to a file."""
    first, second = ward.http
    events = ward.lab.directory / "events.log"
    headers = "requestHeadersToAdd: {set: [{name: x-set, value: s}], add: [{name: x-add, value: a}]}"
    ward.probe(
        "web", f"{QUICK}, eventLogPath: {events}, http: {{path: /health?probe, expectedStatuses: [204], {headers}}}"
    )
    wait_until(lambda: first.probes and second.probes, "both are probed")
    assert ward.names("web") == {"one", "two"}
    assert (first.probes[-1]["x-set"], first.probes[-1]["x-add"]) == ("s", "a")
    assert "x-kuma-tags" not in first.probes[-1], "the proxy of the service keeps that from its application"

    second.health = 200
    wait_until(lambda: ward.names("web") == {"one"}, "a status that is not expected takes it out")
    assert ward.names("web", 30) == {"one"}

    second.health = 204
    wait_until(lambda: ward.names("web") == {"one", "two"}, "it is back")

    def written() -> set[str]:
        ward.caller.reopen_logs()
        return {key for line in events.read_text().splitlines() for key in json.loads(line)}

    wait_until(lambda: {"eject_unhealthy_event", "add_healthy_event"} <= written(), "both events are in the file")


def test_when_nobody_is_well_traffic_fails_only_if_that_is_asked_for(ward):
    """Envoy's panic mode sends to all; `failTrafficOnPanic` says that no answer is better."""
    first, second = ward.http
    ward.probe("web", f"{QUICK}, http: {{path: /health, expectedStatuses: [204]}}, failTrafficOnPanic: true")
    first.health = second.health = 503
    port = ward.caller.outbound("web")
    wait_until(lambda: clients.http1_answer(port).body == "no healthy upstream", "nobody is asked any more")

    ward.probe("web", f"{QUICK}, http: {{path: /health, expectedStatuses: [204]}}, failTrafficOnPanic: false")
    wait_until(lambda: ward.names("web") == {"one", "two"}, "all are asked, because none is well")
    first.health = second.health = 204


def test_connections_stand_in_for_a_probe_that_is_disabled(ward):
    """An instance whose health page is bad, but which takes connections, is in."""
    _, second = ward.http
    ward.probe("web", f"{QUICK}, http: {{path: /health, expectedStatuses: [204]}}, tcp: {{}}")
    second.health = 503
    wait_until(lambda: ward.names("web") == {"one"}, "its health page takes it out")

    ward.probe("web", f"{QUICK}, http: {{path: /health, disabled: true}}, tcp: {{}}")
    wait_until(lambda: ward.names("web") == {"one", "two"}, "bare connections bring it back")
    second.health = 204


def test_a_grpc_probe_asks_for_the_health_of_a_service(ward):
    """By the health service of gRPC itself."""
    _, second = ward.grpc
    ward.probe("rpc", f"{QUICK}, grpc: {{serviceName: rpc.Echo, authority: rpc.test}}")
    wait_until(lambda: second.asked, "it is probed")
    assert second.asked == {b"\x0a\x08rpc.Echo"}
    assert ward.names("rpc") == {"one", "two"}

    second.health = SICK
    wait_until(lambda: ward.names("rpc") == {"one"}, "it says that it does not serve, and is out")

    second.health = WELL
    wait_until(lambda: ward.names("rpc") == {"one", "two"}, "it is back")


def test_a_tcp_probe_sends_and_expects_texts(ward):
    """The proxy of an instance takes connections also when its application is gone; an answer it cannot give."""
    _, second = ward.tcp
    ward.probe("raw", f"{QUICK}, tcp: {{send: ping, receive: [':pi', ng]}}")
    wait_until(lambda: ward.names("raw") == {"one", "two"}, "both give the answer")

    second.close()
    wait_until(lambda: ward.names("raw") == {"one"}, "no answer takes it out")

    second.start()
    wait_until(lambda: ward.names("raw") == {"one", "two"}, "it is back")


def test_a_probe_says_who_asks(ward):
    """
    The header `x-kuma-tags` has the tags of the caller's proxy, for fault injection, for one.

    Without mutual TLS an endpoint may be an application without a proxy, which sees the header.
    """
    lab, alone = ward.lab, Patient("alone")
    lab.mesh(documents.mesh("open"))
    place = Inbound("alone", "http", alone.port, alone.port)
    lab.mesh(documents.dataplane("alone", "open", [place], {}, admin_port=free_port()))
    mine = Inbound("asker", "http", free_port(), free_port(), tags={"team": "a"})
    caller = lab.proxy("asker", mesh="open", inbounds=[mine], calls=("alone",)).start()

    lab.control_plane.kumactl(
        "apply", "--wait", "-f", "-", stdin=health_check("open", "alone", f"{QUICK}, http: {{path: /health}}")
    )

    wait_until(lambda: alone.probes, "it is probed")
    said = alone.probes[-1]["x-kuma-tags"]
    assert "&kuma.io/service=asker&" in said
    assert "&team=a&" in said
    alone.close()
    caller.drain()
