"""Routes lead real traffic: by share, header and path, with rewrites, redirects, header changes and mirrors."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping

import pytest

from tests.e2e.harness import clients
from tests.e2e.harness.clients import CallFailed
from tests.e2e.harness.clients import http1_answer as ask
from tests.e2e.harness.routing import meshed, path, route, to
from tests.e2e.harness.waiting import wait_until


def test_requests_are_split_by_weight(lab):
    """All to one, then half and half, and back when the policy goes; the backends are no outbounds of the caller."""
    caller = meshed(lab, "shares", "http", {name: lab.witness(name).port for name in ("v1", "v2", "v3")})
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


def test_requests_are_told_apart_and_changed(lab):
    """Matches by path, header and query; rewrites, redirects, header changes and mirrors."""
    seen = {name: lab.witness(name) for name in ("v1", "v2", "copies")}
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


def test_a_timeout_for_one_route_only(lab):
    """A MeshTimeout for a MeshHTTPRoute ends its requests; those of another route to the same service go on."""
    caller = meshed(lab, "timed", "http", {"v1": lab.witness("v1").port})
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


def test_requests_to_a_service_that_does_not_say_it_speaks_http(lab):
    """Rules for requests make HTTP of it, in the version the caller speaks; its application knows HTTP/1.1 only."""
    caller = meshed(lab, "untold", "tcp", {name: lab.witness(name).port for name in ("v1", "v2")})
    port = caller.outbound("v1")

    lab.mesh(route("untold", "r", f"{{{path('/away')}, default: {{{to('v2=1')}}}}}"))

    wait_until(lambda: ask(port, "/away").body == "v2", "the route is there")
    assert ask(port, "/").body == "v1"
