"""Which requests a route takes, by every sort of match, and where it leads them; what other policies say of a route."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import pytest

from tests.e2e.harness import clients, documents
from tests.e2e.harness.clients import http1_answer as ask
from tests.e2e.harness.documents import Inbound, builtin, permission
from tests.e2e.harness.lab import Lab
from tests.e2e.harness.ports import free_port
from tests.e2e.harness.proxy import Proxy
from tests.e2e.harness.routing import path, route, to
from tests.e2e.harness.waiting import wait_until
from tests.e2e.harness.witness import Witness

MESH = "roads"


@dataclass
class Roads:
    """A mesh with services ``v1`` to ``v4``, of which the last has two versions, and a caller of ``v1``."""

    lab: Lab
    caller: Proxy
    seen: dict[str, Witness]

    @property
    def port(self) -> int:
        return self.caller.outbound("v1")

    def lead(self, *rules: str, name: str = "r", kind: str = "MeshHTTPRoute") -> None:
        """The route of calls to ``v1``, at once at every proxy; each rule is YAML on one line."""
        document = route(MESH, name, *rules, kind=kind)
        self.lab.control_plane.kumactl("apply", "--wait", "-f", "-", stdin=document)

    def say(self, kind: str, name: str, spec: str) -> None:
        """Another policy; ``spec`` is YAML on one line."""
        document = f"type: {kind}\nmesh: {MESH}\nname: {name}\nspec: {{{spec}}}\n"
        self.lab.control_plane.kumactl("apply", "--wait", "-f", "-", stdin=document)

    def take_back(self, kind: str, name: str = "r") -> None:
        """A policy goes."""
        self.lab.control_plane.kumactl("delete", kind.lower(), name, "--mesh", MESH)

    def led(self, asked: str = "/", method: str = "GET", **headers: str) -> str:
        """Which service answers a request."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return ask(self.port, asked, named, method=method).body

    def comes_to(self, service: str, asked: str = "/", **headers: str) -> None:
        """Wait until a request is led there; connections that are open may meet the route that was before."""
        wait_until(lambda: self.led(asked, **headers) == service, f"{asked} is led to {service}")


@pytest.fixture(scope="module")
def roads(lasting_lab: Lab) -> Roads:
    """The mesh that the tests look at, with mutual TLS."""
    lab = lasting_lab
    lab.mesh(documents.mesh(MESH, builtin("ca-1")))
    lab.mesh(permission(MESH, "everyone"))
    seen = {name: lab.witness(name) for name in ("v1", "v2", "v3", "v4-old", "v4-new")}
    inbounds = [Inbound(name, "http", free_port(), seen[name].port) for name in ("v1", "v2", "v3")]
    inbounds += [Inbound("v4", "http", free_port(), seen[f"v4-{v}"].port, {"version": v}) for v in ("old", "new")]
    lab.proxy("servers", mesh=MESH, inbounds=inbounds).launch()
    caller = lab.proxy("caller", mesh=MESH, calls=("v1",)).launch()
    for proxy in lab.proxies:
        proxy.wait_ready()
    made = Roads(lab, caller, seen)
    made.comes_to("v1")
    return made


def test_methods_headers_and_query_parameters(roads):
    """Every sort of match; all conditions of a match must hold, one match of a rule is enough."""
    away = f"default: {{{to('v2=1')}}}"

    def headers(where: str, *conditions: str) -> str:
        return f"{{matches: [{{path: {{type: Exact, value: {where}}}, headers: [{', '.join(conditions)}]}}], {away}}}"

    roads.lead(
        f"{{matches: [{{method: POST}}], {away}}}",
        headers("/present", "{name: x-a, type: Present}"),
        headers("/absent", "{name: x-a, type: Absent}"),
        headers("/prefix", "{name: x-a, type: Prefix, value: ab}"),
        headers("/regex", "{name: x-a, type: RegularExpression, value: 'a[0-9]+'}"),
        headers("/both", "{name: x-a, value: '1'}", "{name: x-b, value: '2'}"),
        f"{{matches: [{{queryParams: [{{type: RegularExpression, name: q, value: '[0-9]+'}}]}}], {away}}}",
        "{matches: [{path: {type: Exact, value: /one}}, {path: {type: Exact, value: /other}}], " + away + "}",
    )
    roads.comes_to("v2", "/one")

    assert [roads.led("/", method=method) for method in ("POST", "GET")] == ["v2", "v1"]
    assert [roads.led("/present", x_a="any"), roads.led("/present")] == ["v2", "v1"]
    assert [roads.led("/absent"), roads.led("/absent", x_a="any")] == ["v2", "v1"]
    assert [roads.led("/prefix", x_a="abc"), roads.led("/prefix", x_a="ba")] == ["v2", "v1"]
    assert [roads.led("/regex", x_a=value) for value in ("a12", "a12b", "b1")] == ["v2", "v1", "v1"]
    assert [roads.led("/both", x_a="1", x_b="2"), roads.led("/both", x_a="1")] == ["v2", "v1"]
    assert [roads.led(f"/?q={value}") for value in ("12", "1x")] == ["v2", "v1"]
    assert [roads.led("/other"), roads.led("/another")] == ["v2", "v1"]


def test_the_most_specific_match_counts(roads):
    """Not the order of writing: exact before prefix before expression, a longer prefix before a shorter one."""
    roads.lead(
        f"{{{path('/a.*', 'RegularExpression')}, default: {{{to('v2=1')}}}}}",
        f"{{{path('/a')}, default: {{{to('v3=1')}}}}}",
        f"{{{path('/a/b')}, default: {{{to('v2=1')}}}}}",
        f"{{{path('/a/b/c', 'Exact')}, default: {{{to('v1=1')}}}}}",
        f"{{matches: [{{path: {{type: PathPrefix, value: /a}}, method: POST}}], default: {{{to('v1=1')}}}}}",
    )
    roads.comes_to("v3", "/a")

    asked = ("/a/x", "/a/b", "/a/b/x", "/a/b/c", "/a/b/c/d", "/ab", "/b")
    assert [roads.led(one) for one in asked] == ["v3", "v2", "v2", "v1", "v2", "v2", "v1"]
    assert roads.led("/a/x", method="POST") == "v1"


def test_rules_of_several_policies_are_one_list(roads):
    """The policy with the smaller name has the last word on a rule that both have."""
    roads.lead(f"{{{path('/mine')}, default: {{{to('v2=1')}}}}}", f"{{{path('/both')}, default: {{{to('v2=1')}}}}}")
    roads.lead(
        f"{{{path('/yours')}, default: {{{to('v3=1')}}}}}", f"{{{path('/both')}, default: {{{to('v3=1')}}}}}", name="a"
    )
    roads.comes_to("v3", "/yours")

    assert [roads.led(one) for one in ("/mine", "/yours", "/both", "/")] == ["v2", "v3", "v3", "v1"]
    roads.take_back("MeshHTTPRoute", "a")
    roads.comes_to("v2", "/both")


def test_versions_of_a_service_have_shares(roads):
    """A backend may be the part of a service that has some tags."""
    subset = "kind: MeshServiceSubset, name: v4, tags: {version: %s}, weight: %s"
    shares = ", ".join(f"{{{subset % share}}}" for share in (("old", 0), ("new", 1)))
    roads.lead(f"{{{path('/')}, default: {{backendRefs: [{shares}]}}}}")
    roads.comes_to("v4-new")
    assert Counter(roads.led() for _ in range(20)) == {"v4-new": 20}

    roads.lead(f"{{{path('/')}, default: {{{to('v4=1')}}}}}")
    roads.comes_to("v4-old")
    assert {roads.led() for _ in range(20)} == {"v4-old", "v4-new"}


def test_redirects_without_a_place_and_copies_by_chance(roads):
    """302 to another path of the same host; a share of 0 percent copies nothing, one of 100 all."""
    whole = "{type: RequestRedirect, requestRedirect: {path: {type: ReplaceFullPath, replaceFullPath: /new}}}"
    all_of_them = '"100.0"'
    mirror = "{type: RequestMirror, requestMirror: {percentage: %s, backendRef: {kind: MeshService, name: v3}}}"
    roads.lead(
        f"{{{path('/old')}, default: {{filters: [{whole}]}}}}",
        f"{{{path('/never')}, default: {{filters: [{mirror % 0}]}}}}",
        f"{{{path('/always')}, default: {{filters: [{mirror % all_of_them}]}}}}",
    )
    wait_until(lambda: ask(roads.port, "/old/x").status == 302, "requests are redirected")
    assert ask(roads.port, "/old/x?q=1").headers["location"].partition("/new")[2] == "?q=1"

    for asked in ("/never/1", "/never/2", "/always/1"):
        assert roads.led(asked) == "v1"
    wait_until(lambda: any(asked == "/always/1" for asked, _ in roads.seen["v3"].seen), "the copy arrives")
    assert not [asked for asked, _ in roads.seen["v3"].seen if asked.startswith("/never")]


def test_retries_for_single_routes(roads):
    """A MeshRetry for a MeshHTTPRoute, in ``to`` or as its own target, tries again where others do not."""
    roads.lead(f"{{{path('/tried')}, default: {{}}}}", name="tried")
    roads.lead(f"{{{path('/older')}, default: {{}}}}", name="older")
    again = "default: {http: {numRetries: 2, retryOn: [5xx], backOff: {baseInterval: 1ms}}}"
    roads.say("MeshRetry", "new-form", f"to: [{{targetRef: {{kind: MeshHTTPRoute, name: tried}}, {again}}}]")
    roads.say(
        "MeshRetry",
        "old-form",
        f"targetRef: {{kind: MeshHTTPRoute, name: older}}, to: [{{targetRef: {{kind: Mesh}}, {again}}}]",
    )

    def reached() -> int:
        """Requests at any of the instances: one without a route may go to each of them."""
        return sum(len(witness.seen) for witness in roads.seen.values())

    def tries(asked: str) -> list[int]:
        before = reached()
        status = ask(roads.port, asked).status
        return [status, reached() - before]

    wait_until(lambda: tries("/tried/flaky") == [200, 3], "one route tries again")
    wait_until(lambda: tries("/older/flaky") == [200, 3], "the other, too")
    assert tries("/flaky") == [500, 1], "what is on no route does not"
    for name in ("new-form", "old-form"):
        roads.take_back("MeshRetry", name)
    for name in ("tried", "older"):
        roads.take_back("MeshHTTPRoute", name)


def test_connections_to_a_service_that_speaks_http(roads):
    """A MeshTCPRoute takes it over as a whole, until a MeshHTTPRoute has rules for it."""
    roads.take_back("MeshHTTPRoute")
    roads.lead(f"{{default: {{{to('v2=1')}}}}}", kind="MeshTCPRoute", name="t")
    roads.comes_to("v2", "/any")

    roads.lead(f"{{{path('/x')}, default: {{{to('v3=1')}}}}}")
    roads.comes_to("v3", "/x")
    assert roads.led("/any") == "v1"

    roads.take_back("MeshHTTPRoute")
    roads.comes_to("v2", "/any")
    roads.take_back("MeshTCPRoute", "t")
    roads.comes_to("v1")


def test_calls_by_grpc(lab):
    """Each method of a service is a path; unary calls go one way, streams another."""
    mesh = "calls"
    lab.mesh(documents.mesh(mesh, builtin("ca-1")))
    lab.mesh(permission(mesh, "everyone"))
    inbounds = [Inbound(name, "grpc", free_port(), lab.grpc(name).port) for name in ("v1", "v2")]
    lab.proxy("servers", mesh=mesh, inbounds=inbounds).launch()
    caller = lab.proxy("caller", mesh=mesh, calls=("v1",)).launch()
    for proxy in lab.proxies:
        proxy.wait_ready()
    port = caller.outbound("v1")

    lab.mesh(route(mesh, "r", f"{{{path('/test.Echo/Once', 'Exact')}, default: {{{to('v2=1')}}}}}"))

    wait_until(lambda: clients.grpc_unary(port) == "v2", "unary calls are led away")
    assert clients.grpc_stream(port) == "v1"
