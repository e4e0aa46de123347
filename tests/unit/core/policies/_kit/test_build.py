import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kuma.core.policies import BY_KIND
from kuma.core.policies._kit import build
from kuma.core.policies._kit.build import (
    MAX_SUBSETS,
    TooManySubsets,
    has_outbound_rules,
    inbound_rules,
    outbound_parts,
    route_parts,
    subset_rules,
)
from kuma.core.policies._kit.match import Routes, in_priority_order
from kuma.core.policies._kit.merge import merge
from kuma.core.policies._kit.rules import InboundRules, TagMatch
from tests.unit.core.policies._kit.policies import policy, target

TIMEOUT, PERMISSION = BY_KIND["MeshTimeout"], BY_KIND["MeshTrafficPermission"]
MESH = target("Mesh")


def to(ref, seconds):
    """An entry of ``to``."""
    return {"targetRef": ref, "default": {"connectionTimeout": f"{seconds}s"}}


def entry(seconds, ref=MESH):
    """An entry of ``from``."""
    return {"targetRef": ref, "default": {"connectionTimeout": f"{seconds}s"}}


def rule(seconds, *matches):
    """An entry of ``rules``."""
    return (
        {"matches": list(matches), "default": {"connectionTimeout": f"{seconds}s"}}
        if matches
        else {"default": {"connectionTimeout": f"{seconds}s"}}
    )


def exact(value, **more):
    """A match of one SPIFFE id."""
    return {"spiffeID": {"type": "Exact", "value": value}, **more}


def prefix(value):
    """A match of many SPIFFE ids."""
    return {"spiffeID": {"type": "Prefix", "value": value}}


SNI = {"sni": {"type": "Exact", "value": "name"}}


# to


def test_to_speaks_of_the_mesh_and_of_services_by_name():
    """In ascending priority, within a policy in the order written."""
    ordered = in_priority_order(
        [
            policy("b", to=[to(MESH, 1), to(target("MeshService", name="db"), 2)]),
            policy("a", to=[to(target("MeshService", name="web"), 3), to(MESH, 4)]),
        ]
    )

    def confs(service):
        return [
            (int(part.connection_timeout.total_seconds()), key.name) for part, key in outbound_parts(ordered, service)
        ]

    assert confs("db") == [(1, "b"), (2, "b"), (4, "a")]
    assert confs("web") == [(1, "b"), (3, "a"), (4, "a")]
    assert confs("other") == [(1, "b"), (4, "a")]


@pytest.mark.parametrize(
    "ref",
    [
        target("MeshService", name="db", sectionName="http"),
        target("MeshService", labels={"app": "db"}),
        target("MeshExternalService", name="db"),
        target("MeshMultiZoneService", name="db"),
    ],
    ids=str,
)
def test_entries_for_real_resources_do_not_hold_for_service_tags(ref):
    """They speak of resources that an outbound by tags does not lead to."""
    assert outbound_parts([policy("p", to=[to(ref, 1)])], "db") == ()


def test_a_policy_with_an_entry_for_a_route_is_left_out():
    """All of its entries, and it does not count as a rule that could have matched."""
    mixed = policy("p", to=[to(target("MeshHTTPRoute", name="r"), 1), to(MESH, 2)])

    assert outbound_parts([mixed], "db") == ()
    assert not has_outbound_rules([mixed])


def test_what_speaks_of_a_route():
    """Entries for one of its policies, and policies that target one of them, where they speak of the service."""
    ordered = in_priority_order(
        [
            policy(
                "entry", to=[to(target("MeshHTTPRoute", name="r"), 1), to(target("MeshHTTPRoute", name="other"), 2)]
            ),
            policy("whole", target_ref=target("MeshHTTPRoute", name="r"), to=[to(MESH, 3)]),
            policy("one", target_ref=target("MeshHTTPRoute", name="r"), to=[to(target("MeshService", name="db"), 4)]),
            policy("another", target_ref=target("MeshHTTPRoute", name="other"), to=[to(MESH, 5)]),
            policy("service", to=[to(target("MeshService", name="db"), 6), to(MESH, 7)]),
        ]
    )

    def confs(service, *routes):
        parts = route_parts(ordered, service, Routes.of(policy(name).meta for name in routes))
        return [(int(part.connection_timeout.total_seconds()), key.name) for part, key in parts]

    assert confs("db", "r") == [(1, "entry"), (3, "whole"), (4, "one")]
    assert confs("web", "r") == [(1, "entry"), (3, "whole")]
    assert confs("db", "other") == [(2, "entry"), (5, "another")]
    assert confs("web", "r", "other") == [(1, "entry"), (2, "entry"), (3, "whole"), (5, "another")]
    assert confs("db") == confs("db", "missing") == []


def test_what_speaks_of_routes_by_their_labels():
    """In an entry and as the top-level targetRef; a route that lacks one of the labels is not meant."""
    shop, both = {"team": "shop"}, {"team": "shop", "tier": "front"}
    ordered = in_priority_order(
        [
            policy("entry", to=[to(target("MeshHTTPRoute", labels=both), 1)]),
            policy("whole", target_ref=target("MeshHTTPRoute", labels=shop), to=[to(MESH, 2)]),
        ]
    )

    def names(labels):
        parts = route_parts(ordered, "db", Routes.of([policy("r", labels=labels).meta]))
        return [key.name for _, key in parts]

    assert names(both) == ["entry", "whole"]
    assert names(shop) == ["whole"]
    assert names({}) == []


def test_a_policy_that_targets_a_route_says_nothing_of_services():
    """Not even where its entries name one or the whole mesh; so it is no rule that an outbound could have missed."""
    of_route = policy("p", target_ref=target("MeshHTTPRoute", name="r"), to=[to(MESH, 1)])

    assert outbound_parts([of_route], "db") == ()
    assert not has_outbound_rules([of_route])


def test_whether_any_rule_could_have_matched():
    """An outbound with rules for others only keeps its base values; one with none at all gets defaults."""
    assert has_outbound_rules([policy("p", to=[to(target("MeshService", name="other"), 1)])])
    assert not has_outbound_rules([policy("p", to=[to(target("MeshExternalService", name="other"), 1)])])
    assert not has_outbound_rules([policy("p", rules=[rule(1)])])
    assert not has_outbound_rules([])


# rules, and from as rules


def test_no_policy_no_rules():
    """An inbound without policies is falsy, so that defaults can be told from rules."""
    assert inbound_rules(TIMEOUT, []) == InboundRules()
    assert not inbound_rules(TIMEOUT, [])


def test_rules_win_over_from_in_one_policy_and_from_stays_in_others():
    """``from`` of a kind whose entries are rules counts as a rule without a match."""
    ordered = in_priority_order([policy("b", from_=[entry(1)]), policy("a", from_=[entry(2)], rules=[rule(3)])])

    rules = inbound_rules(TIMEOUT, ordered)

    assert [one.conf.connection_timeout.total_seconds() for one in rules.rules] == [1, 3]
    assert rules.catch_all.conf.connection_timeout.total_seconds() == 3
    assert [key.name for key in rules.catch_all.origins] == ["b", "a"]


def test_a_rule_with_several_matches_stands_for_each_of_them():
    """And only rules without a match make up what holds for all."""
    rules = inbound_rules(TIMEOUT, [policy("p", rules=[rule(1, exact("spiffe://x"), SNI), rule(2)])])

    assert [one.conf.connection_timeout.total_seconds() for one in rules.rules] == [1, 1, 2]
    assert rules.catch_all.conf.connection_timeout.total_seconds() == 2


def test_specific_matches_come_first():
    """Exact id, prefix, none; and with a server name before without; of equals in ascending priority."""
    written = [
        rule(1),
        rule(2, SNI),
        rule(3, prefix("spiffe://x")),
        rule(4, exact("spiffe://x")),
        rule(5, exact("y", **SNI)),
    ]
    ordered = in_priority_order([policy("b", rules=written), policy("a", rules=[rule(6, exact("spiffe://x"))])])

    rules = inbound_rules(TIMEOUT, ordered)

    assert [one.conf.connection_timeout.total_seconds() for one in rules.rules] == [5, 4, 6, 3, 2, 1]


def test_rules_are_known_by_the_name_of_their_policy():
    """The KRI ends up in Envoy's statistics."""
    rules = inbound_rules(TIMEOUT, [policy("p", labels={"kuma.io/zone": "east"}, rules=[rule(1)])])

    assert rules.rules[0].kri == "kri_mt_default_east__p_"


def test_rules_of_any_policy_switch_from_entries_off():
    """An inbound with identity rules ignores what is told apart by tags."""
    by_tags = policy("a", kind=PERMISSION.kind, from_=[{"targetRef": MESH, "default": {"action": "Allow"}}])
    by_identity = policy("b", kind=PERMISSION.kind, rules=[{"default": {"allow": [exact("spiffe://x")]}}])

    assert len(inbound_rules(PERMISSION, [by_tags]).subsets) == 1
    assert inbound_rules(PERMISSION, [by_tags, by_identity]).subsets == ()


# from with tags


def permission(name, *entries):
    """A MeshTrafficPermission with these sources and actions."""
    return policy(
        name,
        kind=PERMISSION.kind,
        from_=[{"targetRef": ref, "default": {"action": action}} for ref, action in entries],
    )


def service(name):
    """The source with this service tag."""
    return target("MeshService", name=name)


def subset(**tags):
    """The sources with these tags."""
    return target("MeshSubset", tags=tags)


def covers(one, source):
    """Whether a group holds for a source, from the meaning of its tags."""
    return all(
        ((tag.value == "*" and tag.key in source) or source.get(tag.key) == tag.value) is not tag.negated
        for tag in one.subset
    )


def test_a_denied_service_is_no_part_of_an_allowed_mesh():
    """The textbook case: allow all, deny one."""
    rules = subset_rules(PERMISSION, [permission("p", (MESH, "Allow"), (service("web"), "Deny"))])

    assert [(one.subset, one.merged.conf.action) for one in rules] == [
        ((TagMatch("kuma.io/service", "web"),), "Deny"),
        ((TagMatch("kuma.io/service", "web", negated=True),), "Allow"),
    ]


def test_sources_no_entry_speaks_of_are_left_out():
    """Nothing is said about them."""
    rules = subset_rules(PERMISSION, [permission("p", (service("web"), "Allow"))])

    assert [one.subset for one in rules] == [(TagMatch("kuma.io/service", "web"),)]


def test_many_services_make_as_many_groups():
    """Entries on different values of one tag do not multiply, and a thousand of them are no trouble."""
    rules = subset_rules(PERMISSION, [permission("p", *((service(f"s{n}"), "Allow") for n in range(1500)))])

    assert len(rules) == 1500
    assert all(len(one.subset) == 1 for one in rules)


def test_too_many_groups_are_refused():
    """Twenty independent tags make a million groups: the text says which policies and what to do."""
    entries = [(subset(**{f"t{n}": "1"}), "Allow") for n in range(20)]

    with pytest.raises(TooManySubsets, match=f"the 'from' entries of p tell .* over {MAX_SUBSETS} groups; use fewer"):
        subset_rules(PERMISSION, [permission("p", *entries)])


def test_the_limit_itself_is_allowed(monkeypatch):
    """The limit is what is allowed, one more is refused."""
    monkeypatch.setattr(build, "MAX_SUBSETS", 4)
    two = [(subset(a="1"), "Allow"), (subset(b="1"), "Deny")]
    assert len(subset_rules(PERMISSION, [permission("p", *two)])) == 3

    with pytest.raises(TooManySubsets):
        subset_rules(PERMISSION, [permission("p", *two, (subset(c="1"), "Allow"))])


VALUES = st.sampled_from(["1", "2", "*"])
REFS = st.one_of(
    st.just(MESH),
    st.sampled_from(["1", "2"]).map(service),
    st.dictionaries(st.sampled_from(["a", "b"]), VALUES, max_size=2).map(lambda tags: target("MeshSubset", tags=tags)),
    st.builds(
        lambda name, tags: target("MeshServiceSubset", name=name, tags=tags),
        st.sampled_from(["1", "2"]),
        st.dictionaries(st.sampled_from(["a", "b"]), VALUES, max_size=1),
    ),
)
ENTRIES = st.tuples(REFS, st.sampled_from(["Allow", "Deny", "AllowWithShadowDeny"]))
SOURCES = [
    {key: value for key, value in zip(("kuma.io/service", "a", "b"), values, strict=True) if value}
    for values in itertools.product((None, "1", "2", "3"), repeat=3)
]


def speaks_of(ref, source):
    """Whether a targetRef holds for a source, from its meaning."""
    wanted = {**ref.get("tags", {}), **({"kuma.io/service": ref["name"]} if "name" in ref else {})}
    return all(key in source and value in {"*", source[key]} for key, value in wanted.items())


@given(st.lists(st.lists(ENTRIES, min_size=1, max_size=4), min_size=1, max_size=3))
def test_every_source_gets_what_all_entries_that_speak_of_it_say(written):
    """Compared with asking each entry about each source, one by one."""
    ordered = in_priority_order(permission(f"p{n}", *entries) for n, entries in enumerate(written))
    rules = subset_rules(PERMISSION, ordered)

    for source in SOURCES:
        parts = [
            (item.default, one.meta.key)
            for one in ordered
            for item in one.spec.from_
            if speaks_of(item.target_ref.to_json(), source)
        ]
        found = [one.merged for one in rules if covers(one, source)]
        assert found == ([merge(PERMISSION.conf, parts)] if parts else []), source


@given(st.lists(ENTRIES, min_size=1, max_size=5))
def test_groups_with_more_tags_come_first(entries):
    """As Kuma lists them."""
    counts = [
        sum(not tag.negated for tag in one.subset) for one in subset_rules(PERMISSION, [permission("p", *entries)])
    ]

    assert counts == sorted(counts, reverse=True)


@pytest.mark.parametrize(
    "sources",
    [
        [{"kind": "MeshSubset", "tags": {f"t{number}": "v"}} for number in range(5000)],
        [{"kind": "MeshSubset", "tags": {f"t{number}": "v", "x": str(number)}} for number in range(1000)],
    ],
    ids=["many entries", "many tags"],
)
def test_sources_without_number_are_refused_at_once(monkeypatch, sources):
    """Nobody else has to wait while groups are looked for that would be too many anyway."""
    entries = [{"targetRef": source, "default": {"action": "Allow"}} for source in sources]
    monkeypatch.setattr(build, "_MOST_LOOKED_AT", 100_000)

    with pytest.raises(TooManySubsets, match="use fewer tags"):
        subset_rules(BY_KIND["MeshTrafficPermission"], [policy("p", kind="MeshTrafficPermission", from_=entries)])
