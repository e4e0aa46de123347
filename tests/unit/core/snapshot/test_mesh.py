import itertools
from dataclasses import replace

import pytest

from kuma.core.snapshot.mesh import Changes, Destination, common_protocol
from kuma.core.xds.names import ENDPOINT, SECRET
from kuma.core.xds.view import TlsMode
from kuma.envoy_api.envoy.config.endpoint.v3.endpoint_pb2 import ClusterLoadAssignment
from kuma.envoy_api.envoy.extensions.transport_sockets.tls.v3.secret_pb2 import Secret
from tests.unit.core.snapshot.meshes import (
    OFF,
    PERMISSIVE,
    STRICT,
    dataplane,
    inbound,
    outbound,
    policy,
    proxies,
    snapshot,
    timeout_to,
)

WEB = (("kuma.io/service", "web"),)
CLIENT = dataplane("client", [], [outbound("web")], address="10.0.0.9")


def web(name, number, **fields):
    """An instance of web."""
    return dataplane(name, [inbound("web", **fields)], address=f"10.0.0.{number}")


def addresses(mesh, cluster="web"):
    """Where the endpoints of a cluster are."""
    found = mesh.endpoints.by_name(ENDPOINT).get(cluster)
    if found is None:
        return None
    made = ClusterLoadAssignment.FromString(found.body)
    assert made.cluster_name == cluster
    return [one.endpoint.address.socket_address.address for locality in made.endpoints for one in locality.lb_endpoints]


@pytest.mark.parametrize(
    ("protocols", "expected"),
    [
        ([], "tcp"),
        (["http"], "http"),
        (["kafka", "kafka"], "kafka"),
        (["grpc", "http2"], "http2"),
        (["grpc", "http2", "grpc"], "http2"),
        (["http", "http2"], "tcp"),
        (["http", "grpc"], "tcp"),
        (["http", "tcp"], "tcp"),
        (["tls", "tls"], "tls"),
    ],
    ids=str,
)
def test_what_instances_of_a_service_speak_together(protocols, expected):
    """In whatever order they joined."""
    for some in itertools.permutations(protocols):
        assert common_protocol(some) == expected


def test_only_ready_instances_are_endpoints():
    """One that is unwell takes no traffic, but the service keeps its protocol."""
    mesh = snapshot(CLIENT, web("a", 1), web("b", 2, ready=False))
    assert addresses(mesh) == ["10.0.0.1"]

    gone = mesh.apply(Changes(proxies(web("a", 1, ready=False))), 2)

    assert addresses(gone) == []
    assert gone.destinations == {WEB: Destination("http", tls=False)}


def test_a_service_nobody_offers_has_no_endpoints_and_is_known():
    """Its cluster exists, so a request fails at once instead of waiting."""
    assert addresses(snapshot(CLIENT)) == []


def test_a_service_nobody_asks_for_is_not_computed():
    """Assignments exist only for what some outbound leads to; they go with the last one."""
    mesh = snapshot(web("a", 1))
    assert addresses(mesh) is None
    asked = mesh.apply(Changes(proxies(CLIENT)), 2)
    assert addresses(asked) == ["10.0.0.1"]

    assert addresses(asked.apply(Changes({"client": None}), 3)) is None


def test_a_subset_has_its_own_endpoints():
    """An outbound with further tags leads to the instances that have them all."""
    to_v1 = dataplane("client", [], [outbound("web", version="v1"), outbound("web", 10002)])
    mesh = snapshot(to_v1, web("a", 1, version="v1"), web("b", 2, version="v2"), web("c", 3))

    whole, [subset] = addresses(mesh), [name for name in mesh.endpoints.by_name(ENDPOINT) if name != "web"]
    assert whole == ["10.0.0.1", "10.0.0.2", "10.0.0.3"]
    assert addresses(mesh, subset) == ["10.0.0.1"]


def test_two_inbounds_of_one_proxy_are_two_endpoints():
    """A service may be offered twice by one proxy."""
    twice = dataplane("a", [inbound("web", 8080), inbound("web", 9090)])

    assert addresses(snapshot(CLIENT, twice)) == ["10.0.0.1", "10.0.0.1"]


def test_a_proxy_that_does_not_listen_yet_takes_no_traffic():
    """It is sent traffic when it listens; one that goes meanwhile is forgotten."""
    mesh = snapshot(CLIENT, web("a", 1), web("b", 2), joining={"b": True})
    assert addresses(mesh) == ["10.0.0.1"]

    assert addresses(mesh.apply(Changes(joining={"b": False}), 2)) == ["10.0.0.1", "10.0.0.2"]
    gone = mesh.apply(Changes({"b": None}), 2)
    assert gone.joining == frozenset()
    assert addresses(gone.apply(Changes(proxies(web("b", 2))), 3)) == ["10.0.0.1", "10.0.0.2"]


@pytest.mark.parametrize(
    ("settings", "issued", "joining", "expected"),
    [
        (OFF, {"a": True, "b": True}, {}, False),
        (STRICT, {}, {}, True),
        (PERMISSIVE, {}, {}, False),
        (PERMISSIVE, {"a": True}, {}, False),
        (PERMISSIVE, {"a": True, "b": True}, {}, True),
        (PERMISSIVE, {"a": True}, {"b": True}, True),
        (PERMISSIVE, {}, {"a": True, "b": True}, False),
    ],
    ids=str,
)
def test_when_a_service_is_reached_with_mutual_tls(settings, issued, joining, expected):
    """STRICT always; PERMISSIVE once every instance that takes traffic has shown that it accepts it."""
    mesh = snapshot(CLIENT, web("a", 1), web("b", 2), settings=settings, issued=issued, joining=joining)

    assert mesh.destinations[WEB].tls is expected


def test_the_last_instance_that_gets_its_certificate_switches_the_service():
    """And an instance that loses it switches back; nothing else moves."""
    mesh = snapshot(CLIENT, web("a", 1), web("b", 2), settings=PERMISSIVE, issued={"a": True})

    ready = mesh.apply(Changes(issued={"b": True}), 2)
    assert ready.destinations[WEB].tls
    assert ready.endpoints is mesh.endpoints
    assert not ready.apply(Changes(issued={"a": False}), 3).destinations[WEB].tls


def test_roots_are_a_secret_of_the_mesh():
    """All roots, while mTLS is on; the same object until they change."""
    mesh = snapshot(settings=STRICT)
    secret = Secret.FromString(mesh.trust.by_name(SECRET)["mesh_ca:secret:default"].body)
    assert secret.validation_context.trusted_ca.inline_bytes == b"root"

    softer = mesh.apply(Changes(settings=PERMISSIVE), 2)
    assert softer.trust is mesh.trust
    assert softer.settings.tls is TlsMode.PERMISSIVE
    assert not list(mesh.apply(Changes(settings=OFF), 2).trust.types())


def test_parts_that_a_change_does_not_touch_stay_the_same_objects():
    """So that whoever depends on them can see by identity that there is nothing to do."""
    mesh = snapshot(CLIENT, web("a", 1), policies=[timeout_to("t", "web", 1), policy("MeshRetry", "r", to=[])])

    more = mesh.apply(Changes(proxies(web("b", 2))), 2)
    assert more.destinations is mesh.destinations
    assert more.policies is mesh.policies
    assert more.endpoints is not mesh.endpoints

    other = mesh.apply(Changes(policies={"MeshTimeout": (timeout_to("t", "web", 2),)}), 2)
    assert other.policies["MeshRetry"] is mesh.policies["MeshRetry"]
    assert other.endpoints is mesh.endpoints
    assert other.destinations is mesh.destinations

    elsewhere = dataplane("x", [inbound("other", protocol="tcp")], [outbound("nowhere")])
    unrelated = mesh.apply(Changes(proxies(elsewhere)), 2)
    assert unrelated.endpoints.by_name(ENDPOINT)["web"] is mesh.endpoints.by_name(ENDPOINT)["web"]


def test_an_endpoint_that_flaps_inside_one_batch_moves_nothing():
    """Only what is left in the end counts."""
    mesh = snapshot(CLIENT, web("a", 1))

    assert mesh.apply(Changes(proxies(web("a", 1))), 2).endpoints is mesh.endpoints


def test_shadow_policies_are_left_out():
    """They would otherwise change traffic."""
    one = timeout_to("t", "web", 1)
    shadow = replace(one, meta=replace(one.meta, labels={"kuma.io/effect": "shadow"}))

    assert snapshot(policies=[shadow]).policies.get("MeshTimeout", ()) == ()


def test_services_that_are_gone_leave_nothing_behind():
    """A mesh whose services come and go does not grow."""
    mesh = snapshot(CLIENT, web("a", 1))

    empty = mesh.apply(Changes({"a": None, "client": None}), 2)

    assert not empty.offers
    assert not empty.wanted
    assert not empty.destinations
    assert not list(empty.endpoints.types())


def test_a_proxy_may_be_announced_before_it_is_known():
    """It takes no traffic from the first moment on, whatever else changes meanwhile."""
    mesh = snapshot(CLIENT).apply(Changes(joining={"a": True}), 2)
    other = mesh.apply(Changes(proxies(web("b", 2))), 3)
    assert addresses(other) == ["10.0.0.2"]

    assert addresses(other.apply(Changes(proxies(web("a", 1))), 4)) == ["10.0.0.2"]
    assert addresses(other.apply(Changes(joining={"a": False}), 4).apply(Changes(proxies(web("a", 1))), 5)) == [
        "10.0.0.1",
        "10.0.0.2",
    ]


def route_to(*backends, kind="MeshHTTPRoute", name="r", filters=()):
    """A route for calls to ``front`` that leads to these backends, each a name or a whole reference."""
    refs = [{"kind": "MeshService", "name": one} if isinstance(one, str) else one for one in backends]
    rule = {"default": {"backendRefs": refs}}
    if kind == "MeshHTTPRoute":
        rule = {"matches": [{"path": {"type": "PathPrefix", "value": "/"}}], "default": {"backendRefs": refs}}
        if filters:
            rule["default"]["filters"] = list(filters)
    return policy(kind, name, to=[{"targetRef": {"kind": "MeshService", "name": "front"}, "rules": [rule]}])


@pytest.mark.parametrize("kind", ["MeshHTTPRoute", "MeshTCPRoute"])
def test_what_a_route_leads_to_has_endpoints_while_the_route_exists(kind):
    """Though it is no outbound of any proxy. When the policy goes they go, and when it changes they follow."""
    mesh = snapshot(web("a", 1), policies=[route_to("web", kind=kind)])
    assert addresses(mesh) == ["10.0.0.1"]
    assert mesh.destinations == {WEB: Destination("http", tls=False)}

    more = mesh.apply(Changes(proxies(web("b", 2))), 2)
    assert addresses(more) == ["10.0.0.1", "10.0.0.2"]

    assert addresses(more.apply(Changes(policies={kind: (route_to("other", kind=kind),)}), 3)) is None
    gone = more.apply(Changes(policies={kind: ()}), 3)
    assert addresses(gone) is None
    assert not gone.wanted
    assert not gone.destinations


def test_a_destination_stays_as_long_as_anyone_leads_to_it():
    """Outbounds and routes are counted together."""
    mesh = snapshot(CLIENT, web("a", 1), policies=[route_to("web"), route_to("web", name="s")])

    one_route = mesh.apply(Changes(policies={"MeshHTTPRoute": (route_to("web", name="s"),)}), 2)
    without_client = one_route.apply(Changes({"client": None}), 3)
    assert addresses(without_client) == ["10.0.0.1"]
    assert addresses(without_client.apply(Changes(policies={"MeshHTTPRoute": ()}), 4)) is None
    assert addresses(one_route.apply(Changes(policies={"MeshHTTPRoute": ()}), 3)) == ["10.0.0.1"]


def test_which_backends_of_a_route_are_destinations():
    """Instances by tags and mirrors are; what has no weight, and what is no service of the mesh, is not."""
    v1 = {"kind": "MeshServiceSubset", "name": "web", "tags": {"version": "v1"}}
    idle = {"kind": "MeshService", "name": "idle", "weight": 0}
    outside = {"kind": "MeshExternalService", "name": "outside"}
    mirror = {
        "type": "RequestMirror",
        "requestMirror": {"backendRef": {"kind": "MeshService", "name": "copies"}},
    }

    mesh = snapshot(policies=[route_to(v1, idle, outside, filters=[mirror])])

    assert set(mesh.wanted) == {
        (("kuma.io/service", "web"), ("version", "v1")),
        (("kuma.io/service", "copies"),),
    }


def test_a_route_that_is_only_shown_leads_nowhere():
    """A shadow policy wants no destinations."""
    one = route_to("web")
    shadow = replace(one, meta=replace(one.meta, labels={"kuma.io/effect": "shadow"}))

    assert not snapshot(web("a", 1), policies=[shadow]).wanted
