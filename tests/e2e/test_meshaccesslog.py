"""Access logs in files, at servers and at collectors; and traffic that goes on whatever becomes of them."""

from __future__ import annotations

import json
import re
import signal
import socket
import stat
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc  # type: ignore[import-untyped] # grpcio ships no types
import pytest
import yaml
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest, ExportLogsServiceResponse
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, ResourceLogs

from tests.e2e.harness import clients, documents
from tests.e2e.harness.applications import TcpEcho
from tests.e2e.harness.documents import Inbound, builtin, permission
from tests.e2e.harness.lab import Lab
from tests.e2e.harness.ports import free_port
from tests.e2e.harness.proxy import Proxy
from tests.e2e.harness.waiting import wait_until

PLACEHOLDERS = (
    "%KUMA_SOURCE_ADDRESS% %KUMA_SOURCE_ADDRESS_WITHOUT_PORT% %KUMA_SOURCE_SERVICE% %KUMA_DESTINATION_SERVICE% "
    "%KUMA_MESH% %KUMA_TRAFFIC_DIRECTION% %KUMA_ZONE% %KUMA_WORKLOAD%"
)
WORKLOAD = "kri_wl_office_default__clerk_"
SETTLING = "/settling"
EXPORT = "/opentelemetry.proto.collector.logs.v1.LogsService/Export"


class LogServer(TcpEcho):
    """A server of log lines: keeps what it is sent, and answers nothing."""

    def __init__(self, name: str) -> None:
        self.received = b""
        super().__init__(name)

    def serve(self, connection: socket.socket) -> None:
        while chunk := connection.recv(65536):
            self.received += chunk

    def lines(self) -> list[str]:
        return [line for line in self.received.decode().splitlines() if SETTLING not in line]


class Collector(grpc.GenericRpcHandler):  # type: ignore[misc] # grpcio ships no types
    """An OpenTelemetry collector that keeps the log records it is sent."""

    def __init__(self) -> None:
        self.received: list[ResourceLogs] = []
        self._server = grpc.server(ThreadPoolExecutor(2), options=[("grpc.so_reuseport", 0)])
        self._server.add_generic_rpc_handlers((self,))
        self.port: int = self._server.add_insecure_port("127.0.0.1:0")
        self._server.start()

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> object:
        if handler_call_details.method != EXPORT:
            return None
        return grpc.unary_unary_rpc_method_handler(
            self._export, ExportLogsServiceRequest.FromString, ExportLogsServiceResponse.SerializeToString
        )

    def _export(self, request: ExportLogsServiceRequest, _: object) -> ExportLogsServiceResponse:
        self.received += request.resource_logs
        return ExportLogsServiceResponse()

    def record(self, shape: str) -> tuple[ResourceLogs, LogRecord] | None:
        """A record whose body has a shape, and what came with it."""
        found = ((logs, record) for logs in self.received for scope in logs.scope_logs for record in scope.log_records)
        return next(((logs, record) for logs, record in found if record.body.WhichOneof("value") == shape), None)

    def close(self) -> None:
        self._server.stop(grace=None).wait(5)


@dataclass
class Office:
    """A service over HTTP and one over raw connections behind one proxy, and a caller of both."""

    lab: Lab
    caller: Proxy
    servers: Proxy
    folder: Path

    def calls(self, *backends: str, to: str = "kind: Mesh", name: str = "calls") -> None:
        """Log the calls of the caller, at once."""
        self._apply(name, "{kind: Dataplane, name: caller}", "to", f"targetRef: {{{to}}}, ", backends)

    def served(self, *backends: str, matches: str = "", name: str = "served") -> None:
        """Log what the services are asked, at once."""
        rule = f"matches: [{matches}], " if matches else ""
        self._apply(name, "{kind: Dataplane, name: servers}", "rules", rule, backends)

    def _apply(self, name: str, target: str, field: str, rule: str, backends: Sequence[str]) -> None:
        document = (
            f"type: MeshAccessLog\nmesh: office\nname: {name}\nspec:\n  targetRef: {target}\n  {field}:\n"
            f"    - {{{rule}default: {{backends: [{', '.join(backends)}]}}}}\n"
        )
        self.lab.control_plane.kumactl("apply", "--wait", "-f", "-", stdin=document)

    def remove(self, *names: str) -> None:
        for name in names:
            self.lab.control_plane.kumactl("delete", "meshaccesslog", name, "--mesh", "office")

    def ask(self, path: str = "/", times: int = 1) -> None:
        """Call the service over HTTP."""
        for _ in range(times):
            assert clients.http1_answer(self.caller.outbound("web"), path).status == 200

    def settle(self, *files: str) -> None:
        """Wait until new requests are in all these files: a connection that was open may follow the old rules once."""

        def settled() -> bool:
            self.ask(SETTLING)
            return all(any(SETTLING in line for line in self._written(name)) for name in files)

        wait_until(settled, f"requests are logged in {files}")

    def lines(self, name: str) -> list[str]:
        """What is in a file of logs by now, but for what was asked to settle."""
        return [line for line in self._written(name) if SETTLING not in line]

    def wait_for(self, name: str, *expected: str) -> None:
        """Wait until a file has exactly these lines."""
        wait_until(
            lambda: self.lines(name) == list(expected), f"{name} has {expected}", explain=lambda: str(self.lines(name))
        )

    def _written(self, name: str) -> list[str]:
        for proxy in (self.caller, self.servers):
            proxy.reopen_logs()
        path = self.folder / name
        return path.read_text().splitlines() if path.exists() else []

    def file(self, name: str, format: str = "") -> str:
        """A file as a backend."""
        return f"{{type: File, file: {{path: {self.folder / name}{f', format: {format}' if format else ''}}}}}"


def plain(text: str) -> str:
    """A format of text."""
    return f"{{type: Plain, plain: '{text}'}}"


def tcp(port: int, format: str) -> str:
    """A server as a backend."""
    return f"{{type: Tcp, tcp: {{address: '127.0.0.1:{port}', format: {format}}}}}"


@pytest.fixture(scope="module")
def office(lasting_lab: Lab) -> Office:
    """The mesh that the tests look at, with mutual TLS."""
    lab = lasting_lab
    lab.mesh(documents.mesh("office", builtin("ca-1")))
    lab.mesh(permission("office", "everyone"))
    offered = (("web", "http", lab.http("web").port), ("raw", "tcp", lab.tcp("raw").port))
    inbounds = [Inbound(service, protocol, free_port(), port) for service, protocol, port in offered]
    servers = lab.proxy("servers", mesh="office", inbounds=inbounds)
    caller = lab.proxy("caller", mesh="office", calls=("web", "raw"), flags=(f"--work-dir={lab.directory / 'work'}",))
    described = yaml.safe_load(caller.resource.read_text()) | {"labels": {"kuma.io/workload": "clerk"}}
    caller.resource.write_text(yaml.safe_dump(described))
    for proxy in lab.proxies:
        proxy.launch()
    for proxy in lab.proxies:
        proxy.wait_ready()
    folder = lab.directory / "logs"
    folder.mkdir()
    made = Office(lab, caller, servers, folder)
    wait_until(lambda: clients.tcp(caller.outbound("raw")) == "raw", "a call is answered")
    made.ask()
    return made


def filled(source: str, destination: str, direction: str) -> str:
    """What Kuma's placeholders become, of a connection in this mesh."""
    workload = WORKLOAD if direction == "OUTBOUND" else ""
    return f"127.0.0.1:0 127.0.0.1 {source} {destination} office {direction} default {workload}"


def test_lines_say_who_called_whom(office):
    """Kuma's placeholders are filled in, on the way out and in, beside Envoy's commands; text and JSON."""
    fields = ("from", "%KUMA_SOURCE_SERVICE%"), ("status", "%RESPONSE_CODE%"), ("nothing", "%REQ(X-NONE)%")
    listed = ", ".join(f"{{key: {key}, value: '{value}'}}" for key, value in fields)
    office.calls(
        office.file("out", plain(f"{PLACEHOLDERS} %REQ(:PATH)%")),
        office.file("json", f"{{type: Json, json: [{listed}]}}"),
        office.file("omitting", f"{{type: Json, omitEmptyValues: true, json: [{listed}]}}"),
    )
    office.served(office.file("in", plain(f"{PLACEHOLDERS} %REQ(:PATH)%")))
    office.settle("out", "in")

    office.ask("/a")
    clients.tcp(office.caller.outbound("raw"))

    office.wait_for("out", f"{filled('caller', 'web', 'OUTBOUND')} /a", f"{filled('caller', 'raw', 'OUTBOUND')} -")
    office.wait_for("in", f"{filled('unknown', 'web', 'INBOUND')} /a", f"{filled('unknown', 'raw', 'INBOUND')} -")
    first, *_ = map(json.loads, office.lines("json"))
    assert first == {"from": "caller", "status": 200, "nothing": None}
    first, *_ = map(json.loads, office.lines("omitting"))
    assert first == {"from": "caller", "status": 200}


def test_without_a_format_lines_are_kumas(office):
    """Those of HTTP and those of raw connections, as dashboards for Kuma expect them."""
    office.calls(office.file("defaults"))
    office.served(office.file("served-defaults"))
    office.settle("defaults", "served-defaults")

    office.ask("/a")
    clients.tcp(office.caller.outbound("raw"))

    time_, port = r"\[\d{4}-\d\d-\d\dT[\d:.]+Z\]", r"127\.0\.0\.1:\d+"
    uuid = r"[0-9a-f-]{36}"
    sent = r'"GET /a HTTP/[12](\.1)?" 200 - 0 3 \d+ \d+ "-" "-" "-"'
    http = rf'{time_} office {sent} "{uuid}" "{port}" "%s" "web" "127\.0\.0\.1" "{port}"'
    raw = rf"{time_} - office 127\.0\.0\.1\(%s\)->{port}\(raw\) took \d+ms, sent \d+ bytes, received: \d+ bytes"
    for name, source in (("defaults", "caller"), ("served-defaults", "unknown")):
        wait_until(lambda name=name: len(office.lines(name)) == 2, f"two lines in {name}")  # type: ignore[misc] # a bound default
        first, second = office.lines(name)
        assert re.fullmatch(http % source, first), first
        assert re.fullmatch(raw % source, second), second


def test_clients_are_logged_by_every_rule_that_holds_for_them(office):
    """By the identity in their certificate."""
    office.served(
        office.file("exact", plain("%REQ(:PATH)%")),
        matches="{spiffeID: {type: Exact, value: 'spiffe://office/caller'}}",
    )
    office.served(
        office.file("prefix", plain("x")),
        matches="{spiffeID: {type: Prefix, value: 'spiffe://office/other'}}",
        name="others",
    )
    office.served(office.file("all", plain("%REQ(:PATH)%")), name="everybody")
    office.settle("exact", "all")

    office.ask("/b", times=2)

    office.wait_for("exact", "/b", "/b")
    office.wait_for("all", "/b", "/b")
    assert office.lines("prefix") == []
    office.remove("others", "everybody", "served")


def test_one_route_is_logged_apart(office):
    """Its requests are in its own log only, the others of the service in the other."""
    office.lab.mesh(
        "type: MeshHTTPRoute\nmesh: office\nname: special\nspec:\n  to:\n"
        "    - targetRef: {kind: MeshService, name: web}\n"
        "      rules: [{matches: [{path: {type: PathPrefix, value: /special}}], default: {}}]\n"
    )
    office.calls(office.file("common", plain("%REQ(:PATH)%")), to="kind: MeshService, name: web")
    office.calls(
        office.file("special", plain("%REQ(:PATH)%")), to="kind: MeshHTTPRoute, name: special", name="calls-special"
    )

    for path in ("/special", "/other", "/special/x", "/"):
        office.ask(path)

    office.wait_for("special", "/special", "/special/x")
    office.wait_for("common", "/other", "/")
    office.remove("calls-special")


def test_lines_reach_a_server(office):
    """By way of kuma-dp, with Kuma's placeholders filled in; text and JSON, of calls and of what is served."""
    server = LogServer("logs")
    fields = f"{{key: all, value: '{PLACEHOLDERS}'}}, {{key: path, value: '%REQ(:PATH)%'}}"
    line = plain(f"{PLACEHOLDERS} %REQ(:PATH)%")
    office.calls(tcp(server.port, line), tcp(server.port, f"{{type: Json, json: [{fields}]}}"))
    office.served(tcp(server.port, line), office.file("settled", plain("%REQ(:PATH)%")))
    office.settle("settled")

    office.ask("/c")

    office.wait_for("settled", "/c")
    called, served = filled("caller", "web", "OUTBOUND"), filled("unknown", "web", "INBOUND")
    expected = sorted([f"{called} /c", f"{served} /c", f'{{"all":"{called}","path":"/c"}}'])
    wait_until(lambda: sorted(server.lines()) == expected, "every line is there", explain=lambda: str(server.lines()))
    office.remove("served")
    server.close()


def test_records_reach_a_collector(office):
    """Over gRPC, Kuma's placeholders filled in: a body of text or of parts, attributes, and whose records they are."""
    collector = Collector()
    at = f"endpoint: '127.0.0.1:{collector.port}'"
    line = f"{PLACEHOLDERS} %REQ(:PATH)%"
    pair = f"{{key: call, value: {{stringValue: '{line}'}}}}"
    backend = (
        f"{{type: OpenTelemetry, openTelemetry: {{{at}, attributes: [{{key: as_one, value: '{line}'}}], "
        f"body: {{kvlistValue: {{values: [{pair}]}}}}}}}}"
    )
    office.calls(backend)

    logs, record = wait_until(lambda: office.ask("/d") or collector.record("kvlist_value"), "a record of parts arrives")
    called = f"{filled('caller', 'web', 'OUTBOUND')} /d"
    assert pairs(record.body.kvlist_value.values) == {("call", called)}
    assert ("as_one", called) in pairs(record.attributes)
    whose = {("kuma.mesh", "office"), ("kuma.zone", "default"), ("kuma.workload", WORKLOAD)}
    assert whose <= pairs(logs.resource.attributes)

    office.calls(f"{{type: OpenTelemetry, openTelemetry: {{{at}}}}}")

    _, record = wait_until(lambda: office.ask("/e") or collector.record("string_value"), "a record of text arrives")
    assert '"GET /e HTTP/1.1" 200' in record.body.string_value
    collector.close()


def pairs(listed: Iterable[KeyValue]) -> set[tuple[str, str]]:
    """Names and texts of a list of OpenTelemetry."""
    return {(one.key, one.value.string_value) for one in listed}


@contextmanager
def stuck(proxy: Proxy) -> Iterator[None]:
    """kuma-dp does nothing meanwhile, its Envoy goes on."""
    proxy.program.signal(signal.SIGSTOP)
    try:
        yield
    finally:
        proxy.program.signal(signal.SIGCONT)


def test_traffic_goes_on_whatever_becomes_of_the_logs(office):
    """A server that is down, a collector that is down, a kuma-dp that is stuck: lines are lost, no request waits."""
    server = LogServer("logs")
    server.close()
    long = "x" * 8000
    office.calls(
        tcp(server.port, plain(f"%REQ(:PATH)% {long}")),
        f"{{type: OpenTelemetry, openTelemetry: {{endpoint: '127.0.0.1:{free_port()}'}}}}",
    )
    begun = time.monotonic()
    office.ask("/lost", times=30)
    office.caller.reopen_logs()
    office.caller.program.wait_for_log(f"cannot send to 127.0.0.1:{server.port}")

    with stuck(office.caller):
        office.ask("/lost", times=30)  # more than the FIFO holds
    assert time.monotonic() - begun < 40, "no request waited for a server to answer"

    server.start()

    def arrived() -> bool:
        office.ask("/found")
        office.caller.reopen_logs()
        return b"/found" in server.received

    wait_until(arrived, "the server is back, and gets lines again")
    assert office.caller.program.log().count("cannot send to") == 1
    assert "/lost" not in office.caller.program.log(), "messages are not logged"
    server.close()


def test_a_file_that_cannot_be_opened_is_refused_by_envoy(office):
    """The one who applies it is told, with Envoy's reason; traffic goes on as before."""
    proxy = office.lab.proxy("fussy", mesh="office", calls=("web",)).start()
    proxy.may_refuse = True
    port = proxy.outbound("web")
    wait_until(lambda: clients.http1(port) == "web", "it calls")

    done = office.lab.control_plane.kumactl.run(
        "apply",
        "--wait",
        "-f",
        "-",
        stdin="type: MeshAccessLog\nmesh: office\nname: nowhere\n"
        "spec:\n  targetRef: {kind: Dataplane, name: fussy}\n  to:\n    - targetRef: {kind: Mesh}\n"
        "      default: {backends: [{type: File, file: {path: /proc/nowhere/log}}]}\n",
    )

    assert done.code == 1
    assert "unable to open file '/proc/nowhere/log'" in done.out + done.err
    assert clients.http1(port) == "web"
    office.remove("nowhere")


def test_a_policy_shows_whether_its_collectors_exist(office):
    """In its status, as in Kuma; a collector that is a resource is a kind not served yet."""
    office.calls(office.file("any"))
    path = "/meshes/office/meshaccesslogs/calls"
    api = office.lab.control_plane.api
    assert api.get(path)["status"]["conditions"][0]["message"] == "No MeshOpenTelemetryBackend references configured"

    office.calls(
        "{type: OpenTelemetry, openTelemetry: {backendRef: {kind: MeshOpenTelemetryBackend, labels: {app: otel}}}}"
    )

    assert api.get(path)["status"] == {
        "conditions": [
            {
                "type": "BackendRefsResolved",
                "status": "False",
                "reason": "UnresolvedBackendRefs",
                "message": "Unresolved MeshOpenTelemetryBackend references: labels:app=otel",
            }
        ]
    }


def test_the_way_to_servers_is_private_and_gone_at_the_end(office):
    """It is a FIFO in the work directory, which itself stays when it was given."""
    fifo = office.lab.directory / "work" / "kuma-al-caller-office.sock"
    mode = fifo.stat().st_mode
    assert stat.S_ISFIFO(mode)
    assert stat.S_IMODE(mode) == 0o600

    office.caller.drain()

    assert not fifo.exists()
