import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kuma.core.policies._kit.match import ProxyFacts, Routes, in_priority_order, is_shadow, select
from tests.unit.core.policies._kit.policies import BUILTIN, DELEGATED, WEB, policy, target

BOTH, FIRST, NONE = (0, 1), (0,), ()


def selected(ref, proxy, **fields):
    """Whether a policy with this targetRef selects a proxy, and which of its inbounds."""
    found = select([policy("p", target_ref=ref, **fields)], proxy)
    return bool(found.policies), tuple(i for i, some in enumerate(found.by_inbound) if some)


@pytest.mark.parametrize(
    ("ref", "expected"),
    [
        (None, (True, BOTH)),
        (target("Mesh"), (True, BOTH)),
        (target("Mesh", proxyTypes=[]), (True, BOTH)),
        (target("Mesh", proxyTypes=["Sidecar"]), (True, BOTH)),
        (target("Mesh", proxyTypes=["Gateway"]), (False, NONE)),
        (target("Mesh", proxyTypes=["Gateway", "Sidecar"]), (True, BOTH)),
        (target("Dataplane"), (True, BOTH)),
        (target("Dataplane", name="web-1"), (True, BOTH)),
        (target("Dataplane", name="web-2"), (False, NONE)),
        (target("Dataplane", labels={"app": "web"}), (True, BOTH)),
        (target("Dataplane", labels={"app": "db"}), (False, NONE)),
        (target("Dataplane", labels={"app": "web", "x": "y"}), (False, NONE)),
        (target("Dataplane", sectionName="main"), (True, FIRST)),
        (target("Dataplane", name="web-1", sectionName="9090"), (True, (1,))),
        (target("Dataplane", sectionName="8080"), (False, NONE)),
        (target("MeshSubset", tags={"version": "v1"}), (True, FIRST)),
        (target("MeshSubset", tags={"version": "v2"}), (False, NONE)),
        (target("MeshSubset", tags={}), (True, BOTH)),
        (target("MeshSubset", tags={"version": "v1"}, proxyTypes=["Gateway"]), (False, NONE)),
        (target("MeshService", name="web"), (True, FIRST)),
        (target("MeshService", name="db"), (False, NONE)),
        (target("MeshServiceSubset", name="web", tags={"version": "v1"}), (True, FIRST)),
        (target("MeshServiceSubset", name="web-admin", tags={"version": "v1"}), (False, NONE)),
        (target("MeshGateway", name="edge"), (False, NONE)),
        (target("MeshHTTPRoute", name="route"), (False, NONE)),
        (target("MeshExternalService", name="out"), (False, NONE)),
        (target("MeshMultiZoneService", name="multi"), (False, NONE)),
    ],
    ids=str,
)
def test_what_a_target_ref_selects(ref, expected):
    """Each kind of top-level targetRef selects the proxies and inbounds that spec/policies.md §1 says."""
    assert selected(ref, WEB) == expected


@pytest.mark.parametrize(
    ("ref", "delegated", "builtin"),
    [
        (target("Mesh"), True, True),
        (target("Mesh", proxyTypes=["Gateway"]), True, True),
        (target("Mesh", proxyTypes=["Sidecar"]), False, False),
        (target("Dataplane"), True, False),
        (target("MeshSubset", tags={"team": "edge"}), True, False),
        (target("MeshService", name="kong"), True, False),
        (target("MeshService", name="edge"), False, True),
    ],
    ids=str,
)
def test_gateways_are_selected_by_their_own_tags(ref, delegated, builtin):
    """``Gateway`` means both types; ``Dataplane`` never means a builtin one."""
    assert (selected(ref, DELEGATED)[0], selected(ref, BUILTIN)[0]) == (delegated, builtin)


@pytest.mark.parametrize(
    ("labels", "proxy_labels", "expected"),
    [
        ({}, {}, True),
        ({"kuma.io/origin": "zone", "kuma.io/zone": "east"}, {"kuma.io/zone": "east"}, True),
        ({"kuma.io/origin": "zone", "kuma.io/zone": "west"}, {"kuma.io/zone": "east"}, False),
        ({"kuma.io/origin": "zone", "kuma.io/zone": "west"}, {}, True),
        ({"kuma.io/origin": "zone"}, {"kuma.io/zone": "east"}, True),
        ({"kuma.io/origin": "global", "kuma.io/zone": "west"}, {"kuma.io/zone": "east"}, True),
        (
            {"kuma.io/origin": "zone", "kuma.io/zone": "west"},
            {"kuma.io/zone": "east", "kuma.io/origin": "global"},
            True,
        ),
        (
            {"kuma.io/origin": "zone", "kuma.io/zone": "west", "kuma.io/policy-role": "producer"},
            {"kuma.io/zone": "east"},
            True,
        ),
    ],
    ids=str,
)
def test_a_policy_of_another_zone_stays_there(labels, proxy_labels, expected):
    """A policy made in a zone holds for proxies of that zone, unless it speaks of its own service (producer)."""
    proxy = ProxyFacts(name="web-1", labels=proxy_labels)

    assert bool(select([policy("p", labels=labels)], proxy).policies) is expected


def test_a_shadow_policy_is_known_by_its_label():
    """It only shows what it would do."""
    assert is_shadow(policy("p", labels={"kuma.io/effect": "shadow"}).meta)
    assert not is_shadow(policy("p", labels={"kuma.io/effect": "other"}).meta)


ZONE, GLOBAL = {"kuma.io/origin": "zone"}, {"kuma.io/origin": "global"}
ASCENDING = (
    # 1. the kind of the top-level targetRef
    policy("zz", target_ref=target("Mesh"), labels=GLOBAL),
    policy("z", target_ref=target("Mesh"), labels=GLOBAL),
    # 3. where it was made: global, unknown, zone
    policy("b-unknown"),
    policy("a-unknown"),
    # 5. the role; system is what has none
    policy("same", target_ref=target("Mesh"), labels={**ZONE, "kuma.io/policy-role": "system"}),
    policy("other", target_ref=target("Mesh"), labels={**ZONE, "kuma.io/policy-role": "producer"}),
    policy("more", target_ref=target("Mesh"), labels={**ZONE, "kuma.io/policy-role": "consumer"}),
    policy("many", target_ref=target("Mesh"), labels={**ZONE, "kuma.io/policy-role": "workload-owner"}),
    # 2. Dataplane: labels before a name, the whole proxy before a section
    policy("all", target_ref=target("Dataplane"), labels=ZONE),
    policy("section", target_ref=target("Dataplane", labels={"a": "b"}, sectionName="main")),
    policy("named", target_ref=target("Dataplane", name="web-1")),
    policy("named-section", target_ref=target("Dataplane", name="web-1", sectionName="main")),
    policy("subset", target_ref=target("MeshSubset", tags={"a": "b"})),
    policy("gateway", target_ref=target("MeshGateway", name="g")),
    # 7. the smaller name wins
    policy("service-b", target_ref=target("MeshService", name="a")),
    policy("service-a", target_ref=target("MeshService", name="b")),
    policy("service-subset", target_ref=target("MeshServiceSubset", name="a", tags={"a": "b"})),
    policy("route", target_ref=target("MeshHTTPRoute", name="r")),
)


@pytest.mark.parametrize(("lower", "higher"), list(itertools.pairwise(ASCENDING)), ids=lambda one: one.meta.name)
def test_which_of_two_policies_wins(lower, higher):
    """The rows of spec/policies.md §1, one by one, whichever was stored first."""
    assert in_priority_order([lower, higher]) == in_priority_order([higher, lower]) == (lower, higher)


@given(st.permutations(ASCENDING))
def test_priority_does_not_depend_on_the_order_of_creation(shuffled):
    """All of them at once."""
    assert in_priority_order(shuffled) == ASCENDING


def test_the_name_that_people_see_decides():
    """A policy that came from elsewhere is ranked by its display name; of equal ones the smaller real name wins."""
    copied = policy("x9k2", labels={"kuma.io/display-name": "a"})
    other = policy("x9k1", labels={"kuma.io/display-name": "a"})
    plain = policy("b")

    for some in itertools.permutations((plain, copied, other)):
        assert in_priority_order(some) == (plain, copied, other)


def test_policies_keep_their_priority_through_selection():
    """Each inbound has its policies in the order of priority."""
    ordered = in_priority_order(
        [
            policy("main", target_ref=target("Dataplane", sectionName="main")),
            policy("all"),
            policy("subset", target_ref=target("MeshSubset", tags={"version": "v1"})),
        ]
    )

    found = select(ordered, WEB)

    names = [[one.meta.name for one in some] for some in (found.policies, *found.by_inbound)]
    assert names == [["all", "main", "subset"], ["all", "main", "subset"], ["all"]]


@pytest.mark.parametrize(
    ("routes", "expected"),
    [(("r",), True), (("other", "r"), True), (("other",), False), ((), False)],
    ids=str,
)
def test_a_policy_for_a_route_selects_the_proxies_of_the_route(routes, expected):
    """It speaks of outgoing requests, so of no inbound. A route that is gone, or of other proxies, does not count."""
    of_proxy = Routes.of(policy(name).meta for name in routes)
    found = select([policy("p", target_ref=target("MeshHTTPRoute", name="r"))], WEB, of_proxy)

    assert bool(found.policies) is expected
    assert found.by_inbound == ((), ())


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ({"team": "shop"}, True),
        ({"team": "shop", "tier": "front"}, True),
        ({"team": "shop", "tier": "back"}, False),
        ({"team": "desk", "tier": "front"}, False),
        ({"none": ""}, False),
    ],
    ids=str,
)
def test_a_policy_for_routes_by_labels_selects_the_proxies_of_any_that_has_them_all(labels, expected):
    """One route has to have every label; other labels of it do not matter."""
    routes = (policy("r", labels={"team": "shop", "tier": "front"}), policy("s", labels={"team": "desk"}))
    by_labels = policy("p", target_ref=target("MeshHTTPRoute", labels=labels))

    assert bool(select([by_labels], WEB, Routes.of(one.meta for one in routes)).policies) is expected
