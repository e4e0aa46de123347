import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kuma.core.model.resource import Key
from kuma.core.policies._kit.merge import merge
from kuma.core.policies._kit.rules import Merged, Towards
from kuma.core.policies.meshloadbalancingstrategy.apply import outbound
from kuma.core.policies.meshloadbalancingstrategy.spec import Conf, MeshLoadBalancingStrategy
from kuma.core.policies.meshloadbalancingstrategy.validate import validate
from kuma.envoy_api.envoy.config.cluster.v3.cluster_pb2 import Cluster

KEY = Key("MeshLoadBalancingStrategy", "default", "mine")
HASHES = [
    {"type": "Header", "header": {"name": "x-user"}, "terminal": True},
    {"type": "Cookie", "cookie": {"name": "session", "ttl": "1h", "path": "/a"}},
    {"type": "Cookie", "cookie": {"name": "plain"}},
    {"type": "Connection", "connection": {"sourceIP": True}},
    {"type": "Connection", "connection": {}},
    {"type": "SourceIP", "connection": {}},
    {"type": "QueryParameter", "queryParameter": {"name": "user"}},
    {"type": "FilterState", "filterState": {"key": "user"}},
]
AFFINE = {"localZone": {"affinityTags": [{"key": "rack"}]}}


def _conf(**fields):
    return Conf.model_validate_json(json.dumps(fields))


def _merged(conf):
    return Merged(conf, (KEY,))


def _written(drafts, conf, protocol="http"):
    draft = drafts.outbound(protocol)
    outbound(draft, Towards({"backend": _merged(conf)}, spoken=True))
    return draft


def _cluster(drafts, kind, **fields):
    return _written(drafts, _conf(loadBalancer={"type": kind, **fields})).clusters[0].cluster


def _hashes(draft):
    [route] = draft.chain.routes()
    return [one.header.header_name for one in route.route.hash_policy]


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("RoundRobin", Cluster.ROUND_ROBIN),
        ("LeastRequest", Cluster.LEAST_REQUEST),
        ("RingHash", Cluster.RING_HASH),
        ("Random", Cluster.RANDOM),
        ("Maglev", Cluster.MAGLEV),
    ],
)
def test_endpoints_are_chosen_as_asked_for(drafts, kind, expected):
    """The type alone picks Envoy's balancer, with Envoy's own values."""
    cluster = _cluster(drafts, kind)

    assert cluster.lb_policy == expected
    assert cluster.WhichOneof("lb_config") is None


def test_the_knobs_of_least_request_reach_envoy(drafts):
    """How many endpoints are drawn, and how much their requests count."""
    config = _cluster(drafts, "LeastRequest", leastRequest={"choiceCount": 4, "activeRequestBias": "1.5"})

    assert config.least_request_lb_config.choice_count.value == 4
    assert config.least_request_lb_config.active_request_bias.default_value == 1.5


def test_the_knobs_of_ring_hash_reach_envoy(drafts):
    """The function and the sizes of the ring."""
    ring = {"hashFunction": "MurmurHash2", "minRingSize": 10, "maxRingSize": 20}
    config = _cluster(drafts, "RingHash", ringHash=ring).ring_hash_lb_config

    assert config.hash_function == Cluster.RingHashLbConfig.MURMUR_HASH_2
    assert (config.minimum_ring_size.value, config.maximum_ring_size.value) == (10, 20)


@pytest.mark.parametrize(
    ("ring", "smallest"),
    [({}, None), ({"maxRingSize": 100}, 100), ({"maxRingSize": 2000}, None), ({"minRingSize": 9, "maxRingSize": 3}, 3)],
)
def test_a_ring_is_never_smaller_than_its_smallest_size(drafts, ring, smallest):
    """A largest size below Envoy's smallest, or below one of another policy, takes the smallest with it."""
    config = _cluster(drafts, "RingHash", ringHash=ring).ring_hash_lb_config

    assert (config.minimum_ring_size.value if config.HasField("minimum_ring_size") else None) == smallest


def test_the_size_of_the_table_reaches_envoy(drafts):
    """Maglev's only knob."""
    assert _cluster(drafts, "Maglev", maglev={"tableSize": 101}).maglev_lb_config.table_size.value == 101


def test_knobs_of_other_balancers_do_not_count(drafts):
    """They may be left from a policy that is overridden."""
    cluster = _cluster(drafts, "Random", ringHash={"minRingSize": 5}, maglev={"tableSize": 101}, leastRequest={})

    assert cluster.WhichOneof("lb_config") is None


def test_requests_that_are_alike_go_to_the_same_endpoint(drafts):
    """Each way to tell requests apart is written on the route, in the order given."""
    [route] = _written(drafts, _conf(hashPolicies=HASHES)).chain.routes()
    header, cookie, plain, address, nothing, source, parameter, state = route.route.hash_policy

    assert (header.header.header_name, header.terminal) == ("x-user", True)
    assert (cookie.cookie.name, cookie.cookie.ttl.seconds, cookie.cookie.path) == ("session", 3600, "/a")
    assert (plain.cookie.HasField("ttl"), plain.terminal) == (False, False)
    assert [one.connection_properties.source_ip for one in (address, nothing, source)] == [True, False, True]
    assert (parameter.query_parameter.name, state.filter_state.key) == ("user", "user")


@pytest.mark.parametrize(
    ("conf", "expected"),
    [
        (_conf(loadBalancer={"type": "RingHash", "ringHash": {"hashPolicies": HASHES[:1]}}), ["x-user"]),
        (_conf(loadBalancer={"type": "Maglev", "maglev": {"hashPolicies": HASHES[:1]}}), ["x-user"]),
        (_conf(loadBalancer={"type": "Random", "maglev": {"hashPolicies": HASHES[:1]}}), []),
        (_conf(loadBalancer={"type": "RingHash", "ringHash": {"hashPolicies": HASHES[:1]}}, hashPolicies=[]), []),
    ],
)
def test_hash_policies_at_their_old_place_still_count(drafts, conf, expected):
    """For the balancer in use, unless some stand at the new place."""
    assert _hashes(_written(drafts, conf)) == expected


def test_a_route_may_have_hash_policies_of_its_own(drafts):
    """What speaks of a route counts there instead of what speaks of its service."""
    own = {"type": "Header", "header": {"name": "x-own"}}
    draft = drafts.outbound()
    [first] = draft.chain.routes()
    first.name = "first"
    [host] = draft.chain.http.route_config.virtual_hosts
    host.routes.add(name="second").CopyFrom(first)
    host.routes[1].name = "second"
    host.routes.add(name="third").redirect.host_redirect = "a.example.com"
    outbound(
        draft,
        Towards(
            {"backend": _merged(_conf(hashPolicies=HASHES[:1]))},
            spoken=True,
            routes={"second": _merged(_conf(hashPolicies=[own]))},
        ),
    )
    names = [[one.header.header_name for one in route.route.hash_policy] for route in host.routes]

    assert names == [["x-user"], ["x-own"], []]
    assert host.routes[2].HasField("redirect")


@pytest.mark.parametrize(
    ("awareness", "expected"),
    [
        (AFFINE, True),
        ({**AFFINE, "disabled": True}, False),
        ({"localZone": {}}, False),
        ({"crossZone": {"failover": [{"to": {"type": "Any"}}]}}, False),
        ({}, False),
    ],
)
def test_weights_of_localities_count_where_there_are_some(drafts, awareness, expected):
    """Affinity tags give weights; nothing else does."""
    cluster = _written(drafts, _conf(localityAwareness=awareness)).clusters[0].cluster

    assert cluster.common_lb_config.HasField("locality_weighted_lb_config") == expected


def test_other_services_keep_their_balancer(drafts):
    """A conf for one service says nothing of another, nor of connections."""
    draft, untouched = drafts.outbound(), drafts.outbound()
    outbound(draft, Towards({"other": _merged(_conf(loadBalancer={"type": "Random"}, hashPolicies=HASHES))}))

    assert draft.clusters == untouched.clusters
    assert _hashes(draft) == []
    assert _written(drafts, _conf(hashPolicies=HASHES), "tcp").chain.tcp is not None


RINGS = st.fixed_dictionaries(
    {},
    optional={
        "hashFunction": st.sampled_from(["XXHash", "MurmurHash2"]),
        "minRingSize": st.integers(1, 8_000_000),
        "maxRingSize": st.integers(1, 8_000_000),
        "hashPolicies": st.lists(st.sampled_from(HASHES), max_size=2),
    },
)
BALANCERS = st.fixed_dictionaries(
    {"type": st.sampled_from(["RoundRobin", "LeastRequest", "RingHash", "Random", "Maglev"])},
    optional={
        "ringHash": RINGS,
        "maglev": st.fixed_dictionaries({}, optional={"tableSize": st.sampled_from([2, 3, 65537])}),
        "leastRequest": st.fixed_dictionaries(
            {}, optional={"choiceCount": st.integers(2, 9), "activeRequestBias": st.sampled_from([0, "0.5", "100"])}
        ),
    },
)
CONFS = st.fixed_dictionaries(
    {},
    optional={
        "loadBalancer": BALANCERS,
        "hashPolicies": st.lists(st.sampled_from(HASHES), max_size=3),
        "localityAwareness": st.sampled_from([{}, AFFINE]),
    },
)


@given(weak=CONFS, strong=CONFS)
def test_valid_policies_can_always_be_applied_together(drafts, weak, strong):
    """What was accepted never fails later, also when merged with others, and never makes a ring Envoy refuses."""
    specs = [
        MeshLoadBalancingStrategy.model_validate_json(
            json.dumps({"to": [{"targetRef": {"kind": "Mesh"}, "default": conf}]})
        )
        for conf in (weak, strong)
    ]
    valid = [spec.to[0].default for spec in specs if not list(validate(spec))]
    merged = merge(Conf, [(conf, KEY) for conf in valid])
    draft = drafts.outbound()
    outbound(draft, Towards({} if merged is None else {"backend": merged}, spoken=True))
    ring = draft.clusters[0].cluster.ring_hash_lb_config

    assert draft.clusters[0].cluster.SerializeToString(deterministic=True)
    if ring.HasField("maximum_ring_size"):
        assert (ring.minimum_ring_size.value or 1024) <= ring.maximum_ring_size.value


def test_envoy_accepts_every_knob(drafts, envoy):
    """Envoy takes each balancer with all that can be asked of it."""
    balancers = [
        {"type": "RoundRobin"},
        {"type": "LeastRequest", "leastRequest": {"choiceCount": 4, "activeRequestBias": "1.5"}},
        {"type": "RingHash", "ringHash": {"hashFunction": "MurmurHash2", "maxRingSize": 7}},
        {"type": "Random"},
        {"type": "Maglev", "maglev": {"tableSize": 101}},
    ]
    made = []
    for balancer in balancers:
        draft = drafts.outbound(service=f"to-{balancer['type']}")
        conf = _conf(loadBalancer=balancer, hashPolicies=HASHES, localityAwareness=AFFINE)
        outbound(draft, Towards({draft.view.service: _merged(conf)}, spoken=True))
        made.append(draft)

    assert envoy.accepts(*made)
