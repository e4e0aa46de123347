import pytest

from kuma.core.errors import MeshError
from kuma.core.policies._kit.build import TooManySubsets
from kuma.core.policies._kit.contract import CannotApply
from kuma.core.snapshot.mesh import Changes, MeshSettings
from kuma.core.snapshot.plan import Traits
from kuma.core.xds.names import CLUSTER, ENDPOINT, LISTENER
from kuma.core.xds.view import AdminView, TlsMode
from kuma.envoy_api.envoy.config.cluster.v3.cluster_pb2 import Cluster
from kuma.envoy_api.envoy.config.endpoint.v3.endpoint_pb2 import ClusterLoadAssignment
from kuma.envoy_api.envoy.config.listener.v3.listener_pb2 import Listener
from kuma.envoy_api.envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import (
    HttpConnectionManager,
)
from tests.unit.core.snapshot.meshes import (
    OFF,
    PERMISSIVE,
    STRICT,
    dataplane,
    inbound,
    outbound,
    plan,
    planner,
    policy,
    proxies,
    shown,
    snapshot,
    timeout_to,
)

OUTBOUNDS = [outbound("web"), outbound("db", 10002)]
ONE = dataplane("one", [inbound("api")], OUTBOUNDS)
OTHER = dataplane("other", [inbound("jobs", protocol="tcp")], OUTBOUNDS, address="10.0.0.2")
WEB = dataplane("web", [inbound("web")], address="10.0.0.3")


SLOWER = {"operation": "Patch", "value": "connectTimeout: 9s"}


def timeout_of(made, cluster):
    """The connection timeout of a cluster."""
    return Cluster.FromString(made.desired().get(CLUSTER, cluster).body).connect_timeout.seconds


def test_proxies_that_consume_the_same_share_one_layer():
    """A class is computed once: the very same object for all of it."""
    making, mesh = planner(), snapshot(ONE, OTHER, WEB)

    one, other = plan(mesh, "one", making), plan(mesh, "other", making)

    assert one.outbounds is other.outbounds
    assert one.own is not other.own
    assert set(one.outbounds.by_name(CLUSTER)) == {"web", "db"}


def test_endpoints_are_one_layer_of_the_mesh():
    """No proxy pays for the endpoints of others."""
    mesh = snapshot(ONE, OTHER, WEB)

    one, other = plan(mesh, "one").desired(), plan(mesh, "other").desired()

    assert any(layer is mesh.endpoints for layer in one.layers)
    assert one.get(ENDPOINT, "web") is other.get(ENDPOINT, "web")
    assert one.revision == mesh.revision


def test_proxies_of_different_policies_are_of_different_classes():
    """A timeout for one proxy changes its outbounds, and nobody else's."""
    only_one = timeout_to("t", "web", 3, target_ref={"kind": "MeshService", "name": "api"})
    making, plain, mesh = planner(), snapshot(ONE, OTHER, WEB), snapshot(ONE, OTHER, WEB, policies=[only_one])

    one, other = plan(mesh, "one", making), plan(mesh, "other", making)

    assert timeout_of(one, "web") == 3
    assert timeout_of(other, "web") == 5
    assert shown(other.outbounds) == shown(plan(plain, "other").outbounds)


def test_a_policy_for_one_service_changes_one_cluster():
    """All other resources of the proxy stay byte-equal, so they are not sent."""
    before = plan(snapshot(ONE, WEB, policies=[timeout_to("t", "web", 3)]), "one")
    after = plan(snapshot(ONE, WEB, policies=[timeout_to("t", "web", 4)]), "one")

    assert timeout_of(after, "web") == 4
    changed = [
        (url, name)
        for url in (CLUSTER, LISTENER)
        for name, one in after.outbounds.by_name(url).items()
        if before.outbounds.by_name(url)[name] != one
    ]
    assert changed == [(CLUSTER, "web")]
    assert shown(before.own) == shown(after.own)


def test_an_endpoint_change_costs_no_proxy_anything():
    """Own resources and outbounds stay the same objects; only the endpoints of the mesh move."""
    making, mesh = planner(), snapshot(ONE, OTHER, WEB)
    before = plan(mesh, "one", making)
    again = dataplane("web-2", [inbound("web")], address="10.0.0.4")

    later = mesh.apply(Changes(proxies(again)), 2)
    after = plan(later, "one", making, before)

    assert after.own is before.own
    assert after.outbounds is before.outbounds
    assert after.desired().get(ENDPOINT, "web") != before.desired().get(ENDPOINT, "web")


def test_a_policy_that_does_not_select_the_proxy_costs_it_nothing():
    """The objects stay the same, although the policies of the mesh changed."""
    making, mesh = planner(), snapshot(ONE, OTHER, WEB)
    before = plan(mesh, "other", making)
    other_only = timeout_to("t", "web", 3, target_ref={"kind": "MeshService", "name": "api"})

    later = mesh.apply(Changes(policies={"MeshTimeout": (other_only,)}), 2)
    after = plan(later, "other", making, before)

    assert after.own is before.own
    assert after.outbounds is before.outbounds


def test_new_roots_change_no_listener():
    """A second CA is a new secret; what refers to it stays as it was."""
    making, mesh = planner(), snapshot(ONE, WEB, settings=STRICT)
    before = plan(mesh, "one", making)

    later = mesh.apply(Changes(settings=MeshSettings("default", TlsMode.STRICT, b"two roots")), 2)
    after = plan(later, "one", making, before)

    assert shown(after.own) == shown(before.own)
    assert shown(after.outbounds) == shown(before.outbounds)
    assert shown(later.trust) != shown(mesh.trust)


@pytest.mark.parametrize("settings", [OFF, PERMISSIVE, STRICT], ids=lambda one: one.tls.value)
def test_a_plan_made_from_an_earlier_one_is_the_plan_made_afresh(settings):
    """Skipping what did not change never changes the result."""
    making, mesh = planner(), snapshot(ONE, WEB)
    earlier = plan(mesh, "one", making)
    later = mesh.apply(Changes(settings=settings, policies={"MeshTimeout": (timeout_to("t", "web", 9),)}), 2)

    reused, afresh = plan(later, "one", making, earlier), plan(later, "one")

    assert shown(reused.own) == shown(afresh.own)
    assert shown(reused.outbounds) == shown(afresh.outbounds)


def test_a_changed_dataplane_is_seen():
    """An earlier plan is no use for another object of the same name."""
    making, mesh = planner(), snapshot(ONE, WEB)
    earlier = plan(mesh, "one", making)

    later = mesh.apply(Changes(proxies(dataplane("one", [inbound("api", 9999)], OUTBOUNDS))), 2)

    assert "inbound:10.0.0.1:9999" in plan(later, "one", making, earlier).own.by_name(LISTENER)


def test_what_a_proxys_own_build_can_do_is_in_its_own_layer():
    """Admin interface, port reuse; the outbounds stay shared."""
    making, mesh = planner(), snapshot(ONE, OTHER, WEB)
    admin = AdminView(9901, "127.0.0.1", "/run/admin.sock", 9902, b"ca")

    rich = making.plan(mesh, mesh.proxies["one"], Traits(admin=admin, reuse_port=True))

    assert "kuma:envoy:admin" in rich.own.by_name(LISTENER)
    assert rich.outbounds is plan(mesh, "other", making).outbounds


@pytest.mark.parametrize(
    ("inbounds", "outbounds"),
    [([inbound("api", 9901)], []), ([], [{**outbound("db", 9901), "address": "FD00:0::1"}])],
    ids=["inbound", "outbound"],
)
def test_where_the_application_is_reached_the_admin_interface_is_not(inbounds, outbounds):
    """Envoy refuses two listeners on one address; the application's counts, whoever chose the admin port."""
    mesh = snapshot(dataplane("one", inbounds, outbounds, address="fd00::1"))
    admin = AdminView(9901, "127.0.0.1", "/run/admin.sock", 9902, b"ca")

    made = planner().plan(mesh, mesh.proxies["one"], Traits(admin=admin))

    assert [one.name for one in made.desired().of_type(LISTENER)] in (
        ["inbound:[fd00::1]:9901"],
        ["outbound:[fd00::1]:9901"],
    )


def test_the_order_of_outbounds_does_not_matter():
    """A service of unknown protocol is spoken to in the caller's HTTP wherever a route leads to it."""
    rule = {"matches": [{"method": "GET"}], "default": {"backendRefs": [{"kind": "MeshService", "name": "db"}]}}
    route = policy("MeshHTTPRoute", "r", to=[{"targetRef": {"kind": "MeshService", "name": "web"}, "rules": [rule]}])

    one, other = (
        shown(plan(snapshot(dataplane("one", [], outbounds), policies=[route]), "one").outbounds)
        for outbounds in (OUTBOUNDS, OUTBOUNDS[::-1])
    )

    assert one == other


def test_the_reserved_port_gets_no_listener():
    """49151 means "no service"."""
    mesh = snapshot(dataplane("one", [inbound("api", 49151), inbound("api", 8080)]))

    assert list(plan(mesh, "one").own.by_name(LISTENER)) == ["inbound:10.0.0.1:8080"]


def test_policies_of_an_inbound_after_the_reserved_one_stay_with_it():
    """Leaving an inbound out must not shift the rules of the others."""
    only_first = policy(
        "MeshTimeout",
        "t",
        target_ref={"kind": "Dataplane", "sectionName": "49151"},
        rules=[{"default": {"connectionTimeout": "77s"}}],
    )
    mesh = snapshot(dataplane("one", [inbound("api", 49151), inbound("api", 8080)]), policies=[only_first])

    assert timeout_of(plan(mesh, "one"), "localhost:8080") == 5


def test_a_proxy_whose_policies_cannot_be_built_fails_alone():
    """It raises for that proxy, with a sentence; others are planned."""
    wild = policy(
        "MeshTrafficPermission",
        "wild",
        target_ref={"kind": "MeshService", "name": "api"},
        from_=[
            {"targetRef": {"kind": "MeshSubset", "tags": {f"t{n}": "1"}}, "default": {"action": "Allow"}}
            for n in range(16)
        ],
    )
    making, mesh = planner(), snapshot(ONE, OTHER, settings=STRICT, policies=[wild])

    with pytest.raises(TooManySubsets, match="wild"):
        plan(mesh, "one", making)
    assert plan(mesh, "other", making).own.by_name(LISTENER)


def route(name, path, *backends, **spec):
    """A route for calls to ``web`` below a path."""
    refs = [{"kind": "MeshService", "name": one} for one in backends]
    rule = {"matches": [{"path": {"type": "PathPrefix", "value": path}}], "default": {"backendRefs": refs or None}}
    to = [{"targetRef": {"kind": "MeshService", "name": "web"}, "rules": [rule]}]
    return policy("MeshHTTPRoute", name, to=to, **spec)


def request_timeout(name, seconds, ref, **spec):
    """A MeshTimeout for requests."""
    return policy(
        "MeshTimeout", name, to=[{"targetRef": ref, "default": {"http": {"requestTimeout": f"{seconds}s"}}}], **spec
    )


def routes_of(made, port=10001):
    """Where requests go, and how long they may take, by what their path starts with."""
    listener = Listener.FromString(made.desired().get(LISTENER, f"outbound:127.0.0.1:{port}").body)
    manager = HttpConnectionManager()
    listener.filter_chains[0].filters[0].typed_config.Unpack(manager)
    found = {}
    for one in manager.route_config.virtual_hosts[0].routes:
        found[one.match.path or one.match.prefix] = (one.route.cluster, one.route.timeout.seconds)
    return found


def test_a_route_brings_the_clusters_it_leads_to():
    """And only to proxies it selects; what they speak with is known as for an outbound."""
    only_one = route("r", "/db", "other", target_ref={"kind": "MeshService", "name": "api"})
    elsewhere = dataplane("other", [inbound("other", protocol="http2")], address="10.0.0.4")
    mesh = snapshot(ONE, WEB, dataplane("jobs", [inbound("jobs")], OUTBOUNDS), elsewhere, policies=[only_one])

    one, other = plan(mesh, "one"), plan(mesh, "jobs")

    assert set(one.outbounds.by_name(CLUSTER)) == {"web", "db", "other"}
    assert set(other.outbounds.by_name(CLUSTER)) == {"web", "db"}
    assert routes_of(one) == {"/db": ("other", 15), "/db/": ("other", 15), "/": ("web", 15)}
    assert routes_of(other) == {"/": ("web", 15)}


def test_a_timeout_for_a_route_holds_for_it_alone():
    """Whether it names the route in ``to`` or as its own target; what holds for the service stays below it."""
    policies = [
        route("fast", "/fast"),
        route("slow", "/slow", "db"),
        request_timeout("all", 5, {"kind": "Mesh"}),
        request_timeout("one", 1, {"kind": "MeshHTTPRoute", "name": "fast"}),
        request_timeout("two", 30, {"kind": "Mesh"}, target_ref={"kind": "MeshHTTPRoute", "name": "slow"}),
    ]

    made = plan(snapshot(ONE, WEB, policies=policies), "one")

    assert routes_of(made) == {
        "/fast": ("web", 1),
        "/fast/": ("web", 1),
        "/slow": ("db", 30),
        "/slow/": ("db", 30),
        "/": ("web", 5),
    }


def test_a_route_that_comes_and_goes_takes_along_the_policies_that_target_it():
    """Also when nothing else changed since the plan before."""
    of_route = request_timeout("t", 1, {"kind": "Mesh"}, target_ref={"kind": "MeshHTTPRoute", "name": "r"})
    making, bare = planner(), snapshot(ONE, WEB, policies=[of_route])
    first = plan(bare, "one", making)
    assert not first.selected["MeshTimeout"].policies

    routed = bare.apply(Changes(policies={"MeshHTTPRoute": (route("r", "/a"),)}), 2)
    second = plan(routed, "one", making, first)
    assert [one.meta.name for one in second.selected["MeshTimeout"].policies] == ["t"]
    assert routes_of(second)["/a"] == ("web", 1)

    third = plan(routed.apply(Changes(policies={"MeshHTTPRoute": ()}), 3), "one", making, second)
    assert not third.selected["MeshTimeout"].policies
    assert routes_of(third) == {"/": ("web", 15)}


def near(to="Mesh", target=None, **conf):
    """A load balancing policy; by default endpoints with the proxy's own rack come first."""
    awareness = conf or {"localityAwareness": {"localZone": {"affinityTags": [{"key": "rack"}]}}}
    ref = {"kind": "Mesh"} if to == "Mesh" else {"kind": "MeshService", "name": to}
    more = {} if target is None else {"target_ref": target}
    return policy("MeshLoadBalancingStrategy", "near", to=[{"targetRef": ref, "default": awareness}], **more)


def in_rack(name, rack, address, service="api"):
    """A proxy in a rack that calls both services."""
    return dataplane(name, [inbound(service, rack=rack)], OUTBOUNDS, address=address)


def weights(made, service="web"):
    """The weight of each group of endpoints, by its part of the zone."""
    found = ClusterLoadAssignment.FromString(made.desired().get(ENDPOINT, service).body).endpoints
    return {group.locality.sub_zone: group.load_balancing_weight.value for group in found}


RACKS = [
    in_rack("one", "r1", "10.0.0.1"),
    in_rack("two", "r1", "10.0.0.2"),
    in_rack("far", "r2", "10.0.0.3"),
    *(
        dataplane(f"web-{rack}", [inbound("web", rack=rack)], address=f"10.0.1.{i}")
        for i, rack in enumerate(["r1", "r2"])
    ),
    dataplane("db", [inbound("db")], address="10.0.2.1"),
]


def test_proxies_at_the_same_place_share_the_order_of_endpoints():
    """One layer for all in a rack; only the assignments of the services that the policy speaks of differ."""
    making, mesh = planner(), snapshot(*RACKS, policies=[near("web")])
    one, two, far = (plan(mesh, name, making) for name in ("one", "two", "far"))

    assert one.endpoints is two.endpoints
    assert weights(one) == {"rack=r1": 9, "": 1}
    assert weights(far) == {"rack=r2": 9, "": 1}
    assert one.desired().get(ENDPOINT, "db") is mesh.endpoints.by_name(ENDPOINT)["db"]


def test_a_proxy_without_such_a_policy_has_the_endpoints_of_the_mesh():
    """It shares them with all others, whatever other proxies have."""
    making, mesh = planner(), snapshot(*RACKS, policies=[near(target={"kind": "Dataplane", "name": "one"})])
    one, two = plan(mesh, "one", making), plan(mesh, "two", making)

    assert two.endpoints is mesh.endpoints
    assert one.endpoints is not mesh.endpoints


def test_an_order_that_says_nothing_new_is_that_of_the_mesh():
    """A policy that only chooses a balancer makes no endpoints of its own, so nothing more is sent."""
    mesh = snapshot(*RACKS, policies=[near(loadBalancer={"type": "Random"})])

    assert plan(mesh, "one").endpoints is mesh.endpoints


def test_an_endpoint_change_moves_the_order_of_endpoints_and_nothing_else():
    """Made from an earlier plan it is what would be made afresh; other services keep the very same assignment."""
    making, mesh = planner(), snapshot(*RACKS, policies=[near()])
    before = {name: plan(mesh, name, making) for name in ("one", "two", "far")}
    again = dataplane("web-again", [inbound("web", rack="r1")], address="10.0.1.9")

    later = mesh.apply(Changes(proxies(again)), 2)
    after = {name: plan(later, name, making, last) for name, last in before.items()}

    assert after["one"].endpoints is after["two"].endpoints
    for name, made in after.items():
        assert made.outbounds is before[name].outbounds
        assert made.desired().get(ENDPOINT, "db") is before[name].desired().get(ENDPOINT, "db")
        assert made.desired().get(ENDPOINT, "web") != before[name].desired().get(ENDPOINT, "web")
        assert shown(made.endpoints) == shown(plan(later, name).endpoints)


def test_an_order_comes_and_goes_with_its_policy():
    """Without it the endpoints are the mesh's own again."""
    making, bare = planner(), snapshot(*RACKS)
    first = plan(bare, "one", making)
    ordered = bare.apply(Changes(policies={"MeshLoadBalancingStrategy": (near(),)}), 2)
    second = plan(ordered, "one", making, first)
    third = plan(ordered.apply(Changes(policies={"MeshLoadBalancingStrategy": ()}), 3), "one", making, second)

    assert first.endpoints is bare.endpoints
    assert weights(second) == {"rack=r1": 9, "": 1}
    assert third.endpoints is ordered.endpoints


def test_a_route_to_another_service_orders_that_ones_endpoints_too():
    """Also where the proxy has no outbound for it."""
    caller = dataplane("one", [inbound("api", rack="r1")], [outbound("db", 10002)])
    away = policy(
        "MeshHTTPRoute",
        "r",
        to=[
            {
                "targetRef": {"kind": "MeshService", "name": "db"},
                "rules": [
                    {
                        "matches": [{"path": {"type": "PathPrefix", "value": "/"}}],
                        "default": {"backendRefs": [{"kind": "MeshService", "name": "web"}]},
                    }
                ],
            }
        ],
    )

    made = plan(snapshot(caller, *RACKS[3:], policies=[near("web"), away]), "one")

    assert weights(made) == {"rack=r1": 9, "": 1}


@pytest.mark.parametrize("to", [True, False])
def test_logs_divide_classes_only_where_calls_are_logged(to):
    """What a log says of its proxy is the proxy's own; proxies that log no calls still share their outbounds."""
    backends = {"default": {"backends": [{"type": "File", "file": {"path": "/a"}}]}}
    entries = {"to": [{"targetRef": {"kind": "Mesh"}, **backends}]} if to else {"rules": [backends]}
    logs = policy("MeshAccessLog", "logs", target_ref={"kind": "Dataplane", "name": "one"}, **entries)
    making, mesh = planner(), snapshot(*RACKS, policies=[logs])
    one, two, far = (plan(mesh, name, making) for name in ("one", "two", "far"))

    assert two.outbounds is far.outbounds
    assert (one.outbounds is two.outbounds) is not to


def test_logs_say_the_workload_by_its_identifier():
    """As in Kuma; nothing where the Dataplane belongs to none."""
    labels = {"kuma.io/workload": "clerk", "kuma.io/zone": "east", "k8s.kuma.io/namespace": "ns"}
    text = {"type": "Plain", "plain": "%KUMA_WORKLOAD%;"}
    backend = {"type": "File", "file": {"path": "/a", "format": text}}
    logs = policy("MeshAccessLog", "logs", to=[{"targetRef": {"kind": "Mesh"}, "default": {"backends": [backend]}}])
    callers = (
        dataplane("one", [inbound("api")], OUTBOUNDS, labels=labels),
        dataplane("two", [inbound("api")], OUTBOUNDS, address="10.0.0.2"),
    )
    mesh = snapshot(*callers, WEB, policies=[logs])

    one, two = (
        plan(mesh, name).outbounds.by_name(LISTENER)["outbound:127.0.0.1:10001"].body for name in ("one", "two")
    )

    assert b"kri_wl_default_east_ns_clerk_;" in one
    assert b"kri_wl" not in two


def patch(step, target=None):
    """A MeshProxyPatch with one step on clusters, for all proxies or for one by name."""
    ref = {"kind": "Mesh"} if target is None else {"kind": "Dataplane", "name": target}
    return policy("MeshProxyPatch", "p", default={"appendModifications": [{"cluster": step}]}, target_ref=ref)


def test_a_patch_for_one_proxy_changes_it_alone():
    """It leaves its class; whoever else is of it still shares all of its outbounds."""
    again = dataplane("again", [inbound("api")], OUTBOUNDS, address="10.0.0.5")
    making = planner()
    plain, mesh = snapshot(ONE, OTHER, again, WEB), snapshot(ONE, OTHER, again, WEB, policies=[patch(SLOWER, "one")])

    one, other, third = (plan(mesh, name, making) for name in ("one", "other", "again"))

    assert {timeout_of(one, name) for name in ("web", "db", "localhost:8080")} == {9}
    assert {timeout_of(third, name) for name in ("web", "db", "localhost:8080")} == {5}
    assert other.outbounds is third.outbounds
    assert shown(other.outbounds) == shown(plan(plain, "other").outbounds)


def test_proxies_with_the_same_patch_still_share_their_outbounds():
    """What is added whole goes to each proxy's own layer, so that the shared one stays shared."""
    making = planner()
    mesh = snapshot(ONE, OTHER, WEB, policies=[patch({"operation": "Add", "value": "name: web\ntype: STATIC"})])

    one, other = plan(mesh, "one", making), plan(mesh, "other", making)

    assert one.outbounds is other.outbounds
    assert set(one.outbounds.by_name(CLUSTER)) == {"db"}
    assert "web" in one.own.by_name(CLUSTER)
    assert one.desired().get(CLUSTER, "web") == other.desired().get(CLUSTER, "web")


def test_a_patch_comes_and_goes():
    """Both layers follow, also when nothing else changed since the plan before."""
    making, bare = planner(), snapshot(ONE, WEB)
    first = plan(bare, "one", making)

    patched = bare.apply(Changes(policies={"MeshProxyPatch": (patch(SLOWER),)}), 2)
    second = plan(patched, "one", making, first)
    assert {timeout_of(second, name) for name in ("web", "localhost:8080")} == {9}

    third = plan(patched.apply(Changes(policies={"MeshProxyPatch": ()}), 3), "one", making, second)
    assert shown(third.own) == shown(first.own)
    assert shown(third.outbounds) == shown(first.outbounds)


def test_a_patch_that_cannot_be_made_fails_for_its_proxies_alone():
    """Whoever it selects keeps what they have; others are planned."""
    wrong = {"op": "replace", "path": "/outlierDetection/interval", "value": "1s"}
    step = {"operation": "Patch", "match": {"origin": "outbound"}, "jsonPatches": [wrong]}
    making, mesh = planner(), snapshot(ONE, OTHER, WEB, policies=[patch(step, "one")])

    with pytest.raises(MeshError, match=r"appendModifications\[0\]\.cluster \(Patch\): web: jsonPatches\[0\]"):
        plan(mesh, "one", making)
    assert plan(mesh, "other", making).outbounds.by_name(CLUSTER)


def test_a_patch_that_cannot_be_made_is_told_by_its_own_name_and_step():
    """However many steps other policies have: the number is that of the document the operator wrote."""
    wrong = {"op": "replace", "path": "/outlierDetection/interval", "value": "1s"}
    step = {"operation": "Patch", "match": {"origin": "outbound"}, "jsonPatches": [wrong]}
    good = policy("MeshProxyPatch", "z-good", default={"appendModifications": [{"cluster": SLOWER}] * 3})
    bad = policy("MeshProxyPatch", "a-bad", default={"appendModifications": [{"cluster": step}]})

    with pytest.raises(CannotApply, match=r'^MeshProxyPatch "a-bad": appendModifications\[0\]\.cluster') as failed:
        plan(snapshot(ONE, WEB, policies=[good, bad]), "one")

    assert failed.value.policies == (bad.meta.key,)
