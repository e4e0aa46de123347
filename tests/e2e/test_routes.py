"""Routes lead real traffic: by share, header and path, with rewrites, redirects, header changes and mirrors."""

from __future__ import annotations

import http.client
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.e2e.harness import clients, documents
from tests.e2e.harness.clients import CallFailed, HttpAnswer
from tests.e2e.harness.documents import Inbound, builtin, permission
from tests.e2e.harness.lab import Lab
from tests.e2e.harness.ports import free_port
from tests.e2e.harness.proxy import Proxy
from tests.e2e.harness.waiting import wait_until


class Witness:
    """An HTTP/1.1 service that says its name and remembers the requests that reached it; ``/slow`` is not answered."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.seen: list[tuple[str, Mapping[str, str]]] = []
        self._ended = threading.Event()
        witness = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                witness.seen.append((self.path, {key.lower(): value for key, value in self.headers.items()}))
                if self.path.endswith("/slow"):
                    witness._ended.wait(30)  # its own handler
                self.send_response(200)
                for key, value in (("content-length", str(len(name))), ("x-secret", "s"), ("x-kept", "k")):
                    self.send_header(key, value)
                self.end_headers()
                self.wfile.write(name.encode())

            def log_message(self, format: str, *args: object) -> None:  # the name is the base class's
                """Tests are quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.handle_error = lambda request, client_address: None  # type: ignore[method-assign] # callers may leave
        self.port: int = self._server.server_port
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self._ended.set()
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def witness() -> Iterator[Callable[[str], Witness]]:
    """Makes witnesses, and ends them with the test."""
    made: list[Witness] = []

    def make(name: str) -> Witness:
        made.append(Witness(name))
        return made[-1]

    yield make
    for one in made:
        one.close()


def ask(port: int, path: str = "/", headers: Mapping[str, str] | None = None, *, seconds: float = 10) -> HttpAnswer:
    """Any answer to a request with these headers."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=seconds)
    try:
        connection.request("GET", path, headers={"connection": "close", **(headers or {})})
        response = connection.getresponse()
        found = {name.lower(): value for name, value in response.getheaders()}
        return HttpAnswer(response.status, response.read().decode(errors="replace"), found)
    except (OSError, http.client.HTTPException) as error:
        raise CallFailed(f"{type(error).__name__}: {error}") from error
    finally:
        connection.close()


def meshed(lab: Lab, mesh: str, protocol: str, applications: Mapping[str, int]) -> Proxy:
    """A mesh with mutual TLS, services behind one proxy, and a caller that has ``v1`` as its only outbound."""
    lab.mesh(documents.mesh(mesh, builtin("ca-1")))
    lab.mesh(permission(mesh, "everyone"))
    inbounds = [Inbound(name, protocol, free_port(), port) for name, port in applications.items()]
    lab.proxy("servers", mesh=mesh, inbounds=inbounds).start()
    return lab.proxy("caller", mesh=mesh, calls=("v1",)).start()


def route(mesh: str, name: str, *rules: str, kind: str = "MeshHTTPRoute") -> str:
    """A route for calls to ``v1``; each rule is one line of YAML."""
    lines = "".join(f"        - {rule}\n" for rule in rules)
    return (
        f"type: {kind}\nmesh: {mesh}\nname: {name}\nspec:\n  to:\n"
        f"    - targetRef: {{kind: MeshService, name: v1}}\n      rules:\n{lines}"
    )


def to(*shares: str) -> str:
    """Backends, each as ``name=weight``."""
    refs = (share.partition("=") for share in shares)
    return f"backendRefs: [{', '.join(f'{{kind: MeshService, name: {n}, weight: {w}}}' for n, _, w in refs)}]"


def path(value: str, kind: str = "PathPrefix") -> str:
    """The list of one match by path."""
    return f"matches: [{{path: {{type: {kind}, value: '{value}'}}}}]"


def test_requests_are_split_by_weight(lab, witness):
    """All to one, then half and half, and back when the policy goes; the backends are no outbounds of the caller."""
    caller = meshed(lab, "shares", "http", {name: witness(name).port for name in ("v1", "v2", "v3")})
    port = caller.outbound("v1")
    wait_until(lambda: clients.http1(port) == "v1", "without a policy the service itself answers")

    lab.mesh(route("shares", "r", f"{{{path('/')}, default: {{{to('v2=100', 'v1=0')}}}}}"))

    wait_until(lambda: clients.http1(port) == "v2", "the route leads to another service")
    assert Counter(clients.http1(port) for _ in range(30)) == {"v2": 30}

    lab.mesh(route("shares", "r", f"{{{path('/')}, default: {{{to('v2=50', 'v3=50')}}}}}"))

    wait_until(lambda: clients.http1(port) == "v3", "the other half is there")
    counted = Counter(clients.http1(port) for _ in range(120))
    assert counted.keys() == {"v2", "v3"}
    assert 28 <= counted["v2"] <= 92, counted  # by chance once in 10^8

    lab.control_plane.kumactl("delete", "meshhttproute", "r", "--mesh", "shares")

    wait_until(lambda: clients.http1(port) == "v1", "without the policy the service itself answers again")


def test_requests_are_told_apart_and_changed(lab, witness):
    """Matches by path, header and query; rewrites, redirects, header changes and mirrors."""
    seen = {name: witness(name) for name in ("v1", "v2", "copies")}
    caller = meshed(lab, "matched", "http", {name: one.port for name, one in seen.items()})
    port = caller.outbound("v1")
    rewrite = "{type: URLRewrite, urlRewrite: {hostname: new.test, path: {type: %s}}}"
    prefix = rewrite % "ReplacePrefixMatch, replacePrefixMatch: /api/v2"
    whole = rewrite % "ReplaceFullPath, replaceFullPath: /one"
    redirect = (
        "{type: RequestRedirect, requestRedirect: {scheme: https, hostname: new.test, port: 8443, statusCode: 301, "
        "path: {type: ReplacePrefixMatch, replacePrefixMatch: /there}}}"
    )
    mirror = "{type: RequestMirror, requestMirror: {backendRef: {kind: MeshService, name: copies}}}"
    changes = (
        "{type: RequestHeaderModifier, requestHeaderModifier: "
        "{set: [{name: x-set, value: s}], add: [{name: x-add, value: a}], remove: [x-gone]}}, "
        "{type: ResponseHeaderModifier, responseHeaderModifier: "
        "{set: [{name: x-kept, value: new}], add: [{name: x-add, value: a}], remove: [x-secret]}}"
    )
    away = f"default: {{{to('v2=1')}}}"
    lab.mesh(
        route(
            "matched",
            "r",
            f"{{{path('/exact', 'Exact')}, {away}}}",
            f"{{{path('/prefix')}, {away}}}",
            f"{{{path('/r/[0-9]+', 'RegularExpression')}, {away}}}",
            f"{{matches: [{{headers: [{{name: x-version, value: '2'}}]}}], {away}}}",
            f"{{matches: [{{queryParams: [{{type: Exact, name: version, value: '2'}}]}}], {away}}}",
            f"{{{path('/old')}, default: {{filters: [{prefix}]}}}}",
            f"{{{path('/any')}, default: {{filters: [{whole}]}}}}",
            f"{{{path('/here')}, default: {{filters: [{redirect}]}}}}",
            f"{{{path('/changed')}, default: {{filters: [{changes}]}}}}",
            f"{{{path('/copied')}, default: {{filters: [{mirror}]}}}}",
        )
    )
    wait_until(lambda: ask(port, "/exact").body == "v2", "the route is there")

    def answers(*paths: str) -> list[str]:
        return [ask(port, one).body for one in paths]

    assert answers("/exact", "/prefix", "/prefix/below", "/prefix?q", "/r/12", "/?version=2") == ["v2"] * 6
    assert answers("/", "/exact/below", "/prefixed", "/r/x", "/?version=3") == ["v1"] * 5
    assert ask(port, "/", {"x-version": "2"}).body == "v2"
    assert ask(port, "/", {"x-version": "3"}).body == "v1"

    def reached(asked: str, headers: Mapping[str, str] | None = None) -> tuple[str, Mapping[str, str]]:
        assert ask(port, asked, headers).body == "v1"
        last: tuple[str, Mapping[str, str]] = seen["v1"].seen[-1]
        return last

    assert reached("/old/path?q=1")[0] == "/api/v2/path?q=1"
    assert reached("/old")[0] == "/api/v2"
    assert reached("/old")[1]["host"] == "new.test"
    assert reached("/any/path?q=1")[0] == "/one?q=1"

    assert (ask(port, "/here/a?q=1").status, ask(port, "/here/a?q=1").headers["location"]) == (
        301,
        "https://new.test:8443/there/a?q=1",
    )

    headers = reached("/changed", {"x-set": "before", "x-gone": "g"})[1]
    assert (headers["x-set"], headers["x-add"], headers.get("x-gone")) == ("s", "a", None)
    answer = ask(port, "/changed").headers
    assert (answer["x-kept"], answer["x-add"], answer.get("x-secret")) == ("new", "a", None)
    assert ask(port).headers["x-secret"] == "s", "other routes are left alone"

    assert ask(port, "/copied/path").body == "v1"
    wait_until(lambda: [one for one, _ in seen["copies"].seen] == ["/copied/path"], "the copy arrives, and only that")


def test_a_timeout_for_one_route_only(lab, witness):
    """A MeshTimeout for a MeshHTTPRoute ends its requests; those of another route to the same service go on."""
    caller = meshed(lab, "timed", "http", {"v1": witness("v1").port})
    port = caller.outbound("v1")
    lab.mesh(route("timed", "quick", f"{{{path('/quick')}, default: {{}}}}"))
    lab.mesh(route("timed", "patient", f"{{{path('/patient')}, default: {{}}}}"))
    for name, top, target, limit in (
        ("mine", "kind: Mesh", "kind: MeshHTTPRoute, name: quick", "200ms"),
        ("older", "kind: MeshHTTPRoute, name: patient", "kind: Mesh", "2s"),
    ):
        lab.mesh(
            f"type: MeshTimeout\nmesh: timed\nname: {name}\nspec:\n  targetRef: {{{top}}}\n  to:\n"
            f"    - targetRef: {{{target}}}\n      default: {{http: {{requestTimeout: {limit}}}}}\n"
        )

    def seconds(asked: str) -> float:
        begun = time.monotonic()
        assert ask(port, asked).status == 504
        return time.monotonic() - begun

    wait_until(lambda: ask(port, "/quick/slow").status == 504 and seconds("/quick/slow") < 1, "one route is cut off")
    wait_until(lambda: 1.8 < seconds("/patient/slow") < 5, "another route waits as long as its own timeout says")
    with pytest.raises(CallFailed, match="timed out"):
        ask(port, "/slow", seconds=3)  # the mesh's own timeout is 15 seconds
    assert ask(port, "/quick").body == "v1"


def test_connections_are_split_by_weight(lab):
    """MeshTCPRoute: all to one, then shares; each connection stays where it was led to."""
    caller = meshed(lab, "raw", "tcp", {name: lab.tcp(name).port for name in ("v1", "v2", "v3")})
    port = caller.outbound("v1")
    wait_until(lambda: clients.tcp(port) == "v1", "without a policy the service itself answers")

    lab.mesh(route("raw", "r", f"default: {{{to('v2=1', 'v1=0')}}}", kind="MeshTCPRoute"))

    wait_until(lambda: clients.tcp(port) == "v2", "the route leads to another service")
    assert Counter(clients.tcp(port) for _ in range(20)) == {"v2": 20}

    lab.mesh(route("raw", "r", f"default: {{{to('v2=50', 'v3=50')}}}", kind="MeshTCPRoute"))

    wait_until(lambda: clients.tcp(port) == "v3", "the other half is there")
    counted = Counter(clients.tcp(port) for _ in range(100))
    assert counted.keys() == {"v2", "v3"}
    assert 20 <= counted["v2"] <= 80, counted


def test_requests_to_a_service_that_does_not_say_it_speaks_http(lab, witness):
    """Rules for requests make HTTP of it, in the version the caller speaks; its application knows HTTP/1.1 only."""
    caller = meshed(lab, "untold", "tcp", {name: witness(name).port for name in ("v1", "v2")})
    port = caller.outbound("v1")

    lab.mesh(route("untold", "r", f"{{{path('/away')}, default: {{{to('v2=1')}}}}}"))

    wait_until(lambda: ask(port, "/away").body == "v2", "the route is there")
    assert ask(port, "/").body == "v1"
