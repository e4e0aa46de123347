"""A mesh that is kept up to date is the mesh that would be made from scratch."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from kuma.core.snapshot.mesh import Changes, MeshSettings, MeshSnapshot
from kuma.core.snapshot.plan import Traits
from kuma.core.snapshot.proxy import proxy_of
from tests.unit.core.snapshot.meshes import (
    OFF,
    PERMISSIVE,
    STRICT,
    dataplane,
    inbound,
    outbound,
    planner,
    policy,
    shown_all,
    timeout_to,
)

NAMES = ("p1", "p2", "p3")
SERVICES = st.sampled_from(["web", "db"])
INBOUNDS = st.builds(
    lambda service, port, protocol, ready, version, rack: inbound(
        service, port, protocol=protocol, ready=ready, rack=rack, **({"version": version} if version else {})
    ),
    SERVICES,
    st.sampled_from([8080, 9090]),
    st.sampled_from(["http", "http2", "grpc", "tcp"]),
    st.booleans(),
    st.sampled_from(["", "v1", "v2"]),
    st.sampled_from(["r1", "r2"]),
)
OUTBOUNDS = st.builds(
    lambda service, version, port: outbound(service, port, **({"version": version} if version else {})),
    st.sampled_from(["web", "db", "nowhere"]),
    st.sampled_from(["", "v1"]),
    st.sampled_from([10001, 10002]),
)
DATAPLANES = st.tuples(
    st.lists(INBOUNDS, max_size=2, unique_by=lambda one: one["port"]),
    st.lists(OUTBOUNDS, max_size=2, unique_by=lambda one: one["port"]),
    st.sampled_from(["10.0.0.1", "10.0.0.2"]),
)


def route(kind: str, *backends: str, path: str = "/a") -> Any:
    """A route for calls to ``web``."""
    refs = [{"kind": "MeshService", "name": one} for one in backends]
    rule: dict[str, Any] = {"default": {"backendRefs": refs}}
    if kind == "MeshHTTPRoute":
        rule["matches"] = [{"path": {"type": "PathPrefix", "value": path}}]
    return policy(kind, "r", to=[{"targetRef": {"kind": "MeshService", "name": "web"}, "rules": [rule]}])


def to_all(kind: str, conf: dict[str, Any], **spec: Any) -> tuple[Any, ...]:
    """A policy towards every service."""
    return (policy(kind, "one", to=[{"targetRef": {"kind": "Mesh"}, "default": conf}], **spec),)


def patch(step: dict[str, Any], **spec: Any) -> Any:
    """A patch of clusters."""
    return policy("MeshProxyPatch", "one", default={"appendModifications": [{"cluster": step}]}, **spec)


SIDECARS = {"kind": "Mesh", "proxyTypes": ["Sidecar"]}
WEB = {"kind": "MeshService", "name": "web"}
LIMIT = {"local": {"http": {"requestRate": {"num": 1, "interval": "1s"}}}}
FAULT = {"http": [{"abort": {"httpStatus": 503, "percentage": 1}}]}
NEAR = {"localityAwareness": {"localZone": {"affinityTags": [{"key": "rack"}]}}}
LOGS = {"backends": [{"type": "Tcp", "tcp": {"address": "10.0.9.9:5000"}}]}
POLICIES: dict[str, list[tuple[Any, ...]]] = {
    "MeshLoadBalancingStrategy": [
        to_all("MeshLoadBalancingStrategy", NEAR),
        to_all("MeshLoadBalancingStrategy", NEAR, target_ref={"kind": "MeshSubset", "tags": {"rack": "r1"}}),
        to_all("MeshLoadBalancingStrategy", {"loadBalancer": {"type": "Random"}}),
        (),
    ],
    "MeshAccessLog": [
        to_all("MeshAccessLog", LOGS),
        (policy("MeshAccessLog", "one", rules=[{"default": LOGS}], target_ref={"kind": "Dataplane", "name": "p1"}),),
        (),
    ],
    "MeshHealthCheck": [to_all("MeshHealthCheck", {"http": {}, "tcp": {}}), ()],
    "MeshTimeout": [
        (timeout_to("t1", "web", 3),),
        (timeout_to("t1", "web", 4), policy("MeshTimeout", "t2", rules=[{"default": {"idleTimeout": "7s"}}])),
        (timeout_to("t3", "db", 5, target_ref={"kind": "MeshService", "name": "web"}),),
        (
            policy(
                "MeshTimeout",
                "t4",
                target_ref={"kind": "MeshHTTPRoute", "name": "r"},
                to=[{"targetRef": {"kind": "Mesh"}, "default": {"http": {"requestTimeout": "6s"}}}],
            ),
        ),
        (),
    ],
    "MeshHTTPRoute": [(route("MeshHTTPRoute", "db"),), (route("MeshHTTPRoute", "db", "web", path="/b"),), ()],
    "MeshTCPRoute": [(route("MeshTCPRoute", "db"),), (route("MeshTCPRoute", "nowhere", "web"),), ()],
    "MeshRateLimit": [(policy("MeshRateLimit", "one", rules=[{"default": LIMIT}], target_ref=SIDECARS),), ()],
    "MeshFaultInjection": [
        (
            policy(
                "MeshFaultInjection", "one", rules=[{"default": FAULT}], target_ref={"kind": "Dataplane", "name": "p1"}
            ),
        ),
        (policy("MeshFaultInjection", "one", from_=[{"targetRef": WEB, "default": FAULT}], target_ref=SIDECARS),),
        (),
    ],
    "MeshProxyPatch": [
        (patch({"operation": "Patch", "value": "altStatName: x"}),),
        (
            patch(
                {"operation": "Add", "value": "name: web\ntype: STATIC"}, target_ref={"kind": "Dataplane", "name": "p1"}
            ),
        ),
        (
            patch(
                {"operation": "Remove", "match": {"origin": "outbound"}}, target_ref={"kind": "Dataplane", "name": "p2"}
            ),
        ),
        (),
    ],
    "MeshTrafficPermission": [
        (
            policy(
                "MeshTrafficPermission",
                "allow",
                from_=[{"targetRef": {"kind": "Mesh"}, "default": {"action": "Allow"}}],
            ),
        ),
        (),
    ],
}
CHANGES = st.one_of(
    st.tuples(st.just("proxy"), st.sampled_from(NAMES), DATAPLANES | st.none()),
    st.tuples(st.just("proxy"), st.sampled_from(NAMES), DATAPLANES),
    st.sampled_from(sorted(POLICIES)).flatmap(
        lambda kind: st.tuples(st.just("policies"), st.just(kind), st.sampled_from(POLICIES[kind]))
    ),
    st.tuples(st.just("issued"), st.sampled_from(NAMES), st.booleans()),
    st.tuples(st.just("joining"), st.sampled_from(NAMES), st.booleans()),
    st.tuples(st.just("settings"), st.just(""), st.sampled_from([OFF, PERMISSIVE, STRICT])),
)


def as_changes(steps: list[tuple[str, str, Any]]) -> Changes:
    """Steps as one batch; of two for the same thing the later counts."""
    found: dict[str, dict[str, Any]] = {"proxies": {}, "policies": {}, "issued": {}, "joining": {}}
    settings = None
    for what, name, value in steps:
        if what == "settings":
            settings = value
        elif what == "proxy":
            written = value and dataplane(name, value[0], value[1], address=value[2])
            found["proxies"][name] = written and proxy_of(written)
        else:
            found[what][name] = value
    return Changes(**found, settings=settings)


def final(steps: list[tuple[str, str, Any]]) -> list[tuple[str, str, Any]]:
    """Only the last word on each thing; what is said of a proxy that is gone is forgotten."""
    last = {(what, name): value for what, name, value in steps}
    return [(what, name, value) for (what, name), value in last.items()]


@given(data=st.data())
def test_a_mesh_kept_up_to_date_equals_one_made_from_scratch(data):
    """Byte for byte, for every proxy, whatever order changes came in and however they were batched."""
    steps = data.draw(st.lists(CHANGES, max_size=12))
    # A proxy is known before anything is observed of it, and what was observed goes with it.
    known: set[str] = set()
    told: list[tuple[str, str, Any]] = []
    for what, name, value in steps:
        if what == "proxy":
            (known.discard if value is None else known.add)(name)
            told.append((what, name, value))
            if value is None:
                told += [("issued", name, False), ("joining", name, False)]
        elif what in {"policies", "settings"} or name in known:
            told.append((what, name, value))
    sizes = data.draw(st.lists(st.integers(1, 4), min_size=len(told), max_size=len(told)))

    mesh, making, plans = MeshSnapshot(MeshSettings("default")), planner(), {}
    position = 0
    for revision, size in enumerate(sizes, start=1):
        batch, position = told[position : position + size], position + size
        mesh = mesh.apply(as_changes(batch), revision)
        plans = {name: making.plan(mesh, proxy, Traits(), plans.get(name)) for name, proxy in mesh.proxies.items()}

    once = data.draw(st.permutations(final(told)))
    scratch = MeshSnapshot(MeshSettings("default")).apply(as_changes(once), 1)
    fresh = planner()

    assert mesh.proxies.keys() == scratch.proxies.keys()
    assert mesh.offers.keys() == scratch.offers.keys()
    assert mesh.wanted == scratch.wanted
    assert mesh.destinations == scratch.destinations
    assert mesh.issued == scratch.issued
    assert mesh.joining == scratch.joining
    for name, proxy in scratch.proxies.items():
        expected = fresh.plan(scratch, proxy, Traits()).desired()
        assert shown_all(plans[name].desired()) == shown_all(expected)


@given(st.lists(CHANGES, max_size=8))
def test_saying_the_same_again_changes_nothing(steps):
    """What is told again, of Dataplanes too, leaves every shared part the same object: nobody is sent anything."""
    known = [step for step in final(steps) if step[0] in {"proxy", "policies", "settings"}]
    mesh = MeshSnapshot(MeshSettings("default")).apply(as_changes(known), 1)

    again = mesh.apply(as_changes(known), 2)

    assert again.settings is mesh.settings
    assert again.endpoints is mesh.endpoints
    assert again.destinations is mesh.destinations
    assert again.trust is mesh.trust
    assert again.policies is mesh.policies
    assert again.joining is mesh.joining
