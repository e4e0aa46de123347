import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kuma.core.policies.meshloadbalancingstrategy.locality import (
    DEFAULT_OVERPROVISIONING,
    has_weights,
    nearness,
)
from kuma.core.policies.meshloadbalancingstrategy.spec import LocalityAwareness
from kuma.core.xds.localities import Located, Place

HERE = Place("east", {"rack": ("r1",), "node": ("n2", "n1")})
ENDPOINTS = (
    Located("same-node", "east", {"rack": "r1", "node": "n1"}),
    Located("same-rack", "east", {"rack": "r1", "node": "n9"}),
    Located("same-zone", "east", {"rack": "r9"}),
    Located("west-1", "west", {"rack": "r1"}),
    Located("north-1", "north", {}),
    Located("west-2", "west", {}),
)
LARGEST = 2**32 - 1


def _aware(**fields):
    return LocalityAwareness.model_validate_json(json.dumps(fields))


def _local(*tags):
    """Affinity tags: names, or names with weights."""
    pairs = [{"key": tag} if isinstance(tag, str) else {"key": tag[0], "weight": tag[1]} for tag in tags]
    return {"affinityTags": pairs}


def _groups(conf, endpoints=ENDPOINTS, place=HERE):
    found = nearness(conf, place).grouped(endpoints).groups
    return [(group.priority, group.zone, group.sub_zone, group.weight, list(group.endpoints)) for group in found]


def _failover(*rules):
    return _aware(crossZone={"failover": rules})


def _priorities(conf, place=HERE):
    return {name: priority for priority, _, _, _, names in _groups(conf, place=place) for name in names}


@pytest.mark.parametrize("conf", [None, _aware(), _aware(disabled=False)])
def test_the_own_zone_is_preferred_when_nothing_is_said(conf):
    """Other zones follow when the own one fails; Envoy's own factor says when that is."""
    assert _groups(conf) == [
        (0, "east", "", None, ["same-node", "same-rack", "same-zone"]),
        (1, "north", "", None, ["north-1"]),
        (1, "west", "", None, ["west-1", "west-2"]),
    ]
    assert nearness(conf, HERE).grouped(ENDPOINTS).overprovisioning is None


def test_every_endpoint_is_equally_near_when_disabled():
    """Also when rules for zones are left from other policies."""
    conf = _aware(disabled=True, localZone=_local("rack"), crossZone={"failover": []})

    assert [group[:4] for group in _groups(conf)] == [(0, zone, "", None) for zone in ("east", "north", "west")]
    assert not has_weights(conf)


def test_near_endpoints_get_most_of_the_traffic():
    """By default 90 % go to the first tag, 9 % to the next and 1 % to the rest; other zones get none."""
    assert _groups(_aware(localZone=_local("node", "rack"))) == [
        (0, "east", "", 1, ["same-zone"]),
        (0, "east", "node=n1", 90, ["same-node"]),
        (0, "east", "rack=r1", 9, ["same-rack"]),
    ]


def test_weights_are_as_asked_for():
    """The first tag an endpoint has in common decides."""
    assert _groups(_aware(localZone=_local(("rack", 70), ("node", 30)))) == [
        (0, "east", "", 1, ["same-zone"]),
        (0, "east", "rack=r1", 70, ["same-node", "same-rack"]),
    ]


def test_a_tag_that_the_proxy_has_not_tells_nothing_near():
    """It keeps its place in the default weights."""
    assert _groups(_aware(localZone=_local("rack", "unknown"))) == [
        (0, "east", "", 1, ["same-zone"]),
        (0, "east", "rack=r1", 90, ["same-node", "same-rack"]),
    ]


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ([], {}),
        ([{"to": {"type": "Any"}}], {"west-1": 1, "west-2": 1, "north-1": 1}),
        ([{"to": {"type": "None"}}], {}),
        ([{"to": {"type": "AnyExcept", "zones": ["west"]}}], {"north-1": 1}),
        (
            [{"to": {"type": "Only", "zones": ["north"]}}, {"to": {"type": "Any"}}],
            {"north-1": 1, "west-1": 2, "west-2": 2},
        ),
        ([{"from": {"zones": ["west"]}, "to": {"type": "Any"}}], {}),
        (
            [
                {"from": {"zones": ["west"]}, "to": {"type": "Any"}},
                {"from": {"zones": ["east"]}, "to": {"type": "Any"}},
            ],
            {"north-1": 2, "west-1": 2, "west-2": 2},
        ),
    ],
)
def test_traffic_goes_to_other_zones_as_failover_rules_say(rules, expected):
    """The first rule that leads to a zone decides how late it comes; a zone without a rule gets nothing."""
    own = dict.fromkeys(("same-node", "same-rack", "same-zone"), 0)

    assert _priorities(_failover(*rules)) == {**own, **expected}


def test_both_kinds_of_rules_work_together():
    """Near endpoints first, then the other zones."""
    conf = _aware(localZone=_local("rack"), crossZone={"failover": [{"to": {"type": "Any"}}]})

    assert [group[:4] for group in _groups(conf)] == [
        (0, "east", "", 1),
        (0, "east", "rack=r1", 9),
        (1, "north", "", None),
        (1, "west", "", None),
    ]


@pytest.mark.parametrize(
    ("percentage", "factor"), [(100, 100), (70, 100), (50, 200), ("33.3", 300), (1, 10_000), ("0.00000001", LARGEST)]
)
def test_a_failover_threshold_becomes_envoys_factor(percentage, factor):
    """In steps of 100 as in Kuma, and never more than Envoy can hold."""
    conf = _aware(crossZone={"failoverThreshold": {"percentage": percentage}})

    assert nearness(conf, HERE).grouped(ENDPOINTS).overprovisioning == factor


def test_without_a_threshold_half_of_the_endpoints_may_fail():
    """Where zones have rules, Kuma's factor replaces Envoy's."""
    assert nearness(_aware(localZone={}), HERE).grouped(ENDPOINTS).overprovisioning == DEFAULT_OVERPROVISIONING == 200


@pytest.mark.parametrize("tags", [[f"t{n}" for n in range(15)], [(f"t{n}", 2**31 - 1) for n in range(15)]])
def test_weights_stay_within_what_envoy_can_add_up(tags):
    """Too large ones shrink together; none becomes nothing."""
    place = Place("east", {f"t{n}": ("x",) for n in range(15)})
    endpoints = [Located(n, "east", {f"t{n}": "x"}) for n in range(15)]
    found = nearness(_aware(localZone=_local(*tags)), place).grouped([*endpoints, Located("rest", "east", {})]).groups

    assert len(found) == 16
    assert sum(group.weight for group in found) <= LARGEST
    assert min(group.weight for group in found) >= 1


def test_priorities_stay_within_what_envoy_knows():
    """Rules beyond the 128th share the last priority."""
    rules = [{"to": {"type": "Only", "zones": [f"z{n}"]}} for n in range(200)]
    endpoints = [Located(n, f"z{n}", {}) for n in range(200)]
    found = nearness(_failover(*rules), HERE).grouped(endpoints).groups

    assert max(group.priority for group in found) == 128
    assert [group.priority for group in found if group.zone == "z4"] == [5]


ZONES = st.sampled_from(["east", "west", "north"])
TAGS = st.dictionaries(st.sampled_from(["rack", "node"]), st.sampled_from(["r1", "n1"]))
FAILOVERS = st.builds(
    lambda kind, zones, only: {
        "to": {"type": kind, **({"zones": zones} if kind in {"Only", "AnyExcept"} else {})},
        **({"from": {"zones": only}} if only else {}),
    },
    st.sampled_from(["Any", "None", "Only", "AnyExcept"]),
    st.lists(ZONES, min_size=1, max_size=2),
    st.lists(ZONES, max_size=2),
)
CONFS = st.fixed_dictionaries(
    {},
    optional={
        "disabled": st.booleans(),
        "localZone": st.sampled_from([{}, _local("rack"), _local("node", "rack"), _local(("rack", 5), ("node", 7))]),
        "crossZone": st.fixed_dictionaries({"failover": st.lists(FAILOVERS, max_size=3)}),
    },
)


@given(conf=CONFS, places=st.lists(st.tuples(ZONES, TAGS), max_size=8), data=st.data())
def test_no_endpoint_is_in_two_groups_and_the_order_does_not_matter(conf, places, data):
    """Groups are told apart by priority and place, hold each endpoint at most once, all of the own zone included."""
    endpoints = [Located(number, zone, tags) for number, (zone, tags) in enumerate(places)]
    shuffled = data.draw(st.permutations(endpoints))
    found, again = (nearness(_aware(**conf), HERE).grouped(order).groups for order in (endpoints, shuffled))
    placed = [number for group in found for number in group.endpoints]

    assert len({(group.priority, group.zone, group.sub_zone) for group in found}) == len(found)
    assert len(placed) == len(set(placed))
    assert {one.endpoint for one in endpoints if one.zone == "east"} <= set(placed)
    assert [(g.priority, g.zone, g.sub_zone, g.weight, sorted(g.endpoints)) for g in again] == [
        (g.priority, g.zone, g.sub_zone, g.weight, sorted(g.endpoints)) for g in found
    ]
