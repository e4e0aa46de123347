import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from kuma.core.errors import Violation
from kuma.core.model.spec import violations
from kuma.core.policies.meshloadbalancingstrategy import POLICY
from kuma.core.policies.meshloadbalancingstrategy.spec import MeshLoadBalancingStrategy
from kuma.core.policies.meshloadbalancingstrategy.validate import validate, warnings
from tests.policies.writer import Writer
from tests.unit.core.policies.test_policies import deciding, documents

CONF = "spec.to[0].default"
HEADER = {"type": "Header", "header": {"name": "x-user"}}
ROUTE = {"kind": "MeshHTTPRoute", "name": "r"}
GATEWAY = {"kind": "MeshGateway", "name": "edge"}


def _parsed(spec):
    return MeshLoadBalancingStrategy.model_validate_json(json.dumps(spec))


def _faults(spec):
    return [(found.field, found.reason) for found in validate(_parsed(spec))]


def _to(conf, **ref):
    return {"to": [{"targetRef": ref or {"kind": "Mesh"}, "default": conf}]}


def _balancer(kind, **fields):
    return _to({"loadBalancer": {"type": kind, **fields}})


def _local(*tags):
    return _to({"localityAwareness": {"localZone": {"affinityTags": tags}}})


def _cross(**fields):
    return {"localityAwareness": {"crossZone": fields}}


@pytest.mark.parametrize(
    "spec",
    [
        _to({}),
        _balancer("RoundRobin", roundRobin={}),
        _balancer("LeastRequest", leastRequest={"choiceCount": 2, "activeRequestBias": "0"}),
        _balancer("RingHash", ringHash={"hashFunction": "XXHash", "minRingSize": 1, "maxRingSize": 8_000_000}),
        _balancer("Maglev", maglev={"tableSize": 5_000_011, "hashPolicies": [HEADER]}),
        _to({"hashPolicies": [HEADER, {"type": "SourceIP", "connection": {}}]}, **ROUTE),
        _local({"key": "a"}, {"key": "b"}),
        _to(
            _cross(
                failover=[{"from": {"zones": ["a"]}, "to": {"type": "Only", "zones": ["b"]}}, {"to": {"type": "Any"}}]
            )
        ),
        _to(_cross(failoverThreshold={"percentage": "0.1"}), kind="MeshService", name="web"),
        {"targetRef": GATEWAY, **_to({"hashPolicies": [HEADER]}, kind="MeshService", name="web")},
    ],
)
def test_sound_policies_are_accepted(spec):
    """Every balancer, hash and kind of nearness."""
    assert _faults(spec) == []


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({}, [("spec.to", "needs at least one item")]),
        (
            _to({}, kind="MeshExternalService", name="x"),
            [("spec.to[0].targetRef.kind", "value 'MeshExternalService' is not supported")],
        ),
        (
            {"targetRef": GATEWAY, **_to({}, **ROUTE)},
            [("spec.to[0].targetRef.kind", "value 'MeshHTTPRoute' is not supported")],
        ),
        (
            {"targetRef": GATEWAY, **_to({"loadBalancer": {"type": "Random"}}, kind="MeshService", name="web")},
            [("spec.to[0].targetRef.kind", "value is not supported, only Mesh is allowed if loadBalancer is set")],
        ),
        (
            _to(
                {"loadBalancer": {"type": "Random"}, "localityAwareness": {}, "hashPolicies": [{"type": "Cookie"}]},
                **ROUTE,
            ),
            [
                (f"{CONF}.hashPolicies[0].cookie", "must be defined"),
                *(
                    (
                        f"{CONF}.{field}",
                        "field is not allowed when targetRef.kind is MeshHTTPRoute, only hashPolicies is supported",
                    )
                    for field in ("loadBalancer", "localityAwareness")
                ),
            ],
        ),
        (
            _balancer("LeastRequest", leastRequest={"activeRequestBias": "-1"}),
            [(f"{CONF}.loadBalancer.leastRequest.activeRequestBias", "must be greater or equal then: 0")],
        ),
        (
            _balancer("LeastRequest", leastRequest={"activeRequestBias": "a lot"}),
            [(f"{CONF}.loadBalancer.leastRequest.activeRequestBias", "string must be a valid number")],
        ),
        (
            _balancer("RingHash", ringHash={"minRingSize": 2, "maxRingSize": 1, "hashPolicies": [{"type": "Header"}]}),
            [
                (f"{CONF}.loadBalancer.ringHash.hashPolicies[0].header", "must be defined"),
                (f"{CONF}.loadBalancer.ringHash.minRingSize", "must not be greater than maxRingSize"),
            ],
        ),
        (
            _balancer("Maglev", maglev={"tableSize": 65536}),
            [(f"{CONF}.loadBalancer.maglev.tableSize", "must be a prime number, such as 65537")],
        ),
        (
            _to(
                {
                    "hashPolicies": [HEADER],
                    "loadBalancer": {
                        "type": "RingHash",
                        "ringHash": {"hashPolicies": []},
                        "maglev": {"hashPolicies": [HEADER]},
                    },
                }
            ),
            [
                (f"{CONF}.loadBalancer.{name}.hashPolicies", "hashPolicies already specified in the root level")
                for name in ("ringHash", "maglev")
            ],
        ),
        (
            _local({"key": "", "weight": 0}, {"key": "b"}),
            [
                (f"{CONF}.localityAwareness.localZone.affinityTags[0].key", "must not be empty"),
                (f"{CONF}.localityAwareness.localZone.affinityTags[0].weight", "must be greater than 0"),
                (
                    f"{CONF}.localityAwareness.localZone.affinityTags",
                    "all or none affinity tags should have weight",
                ),
            ],
        ),
        (
            _to(
                _cross(
                    failover=[
                        {"from": {"zones": []}, "to": {"type": "Any", "zones": ["a"]}},
                        {"from": {"zones": ["a", ""]}, "to": {"type": "Only"}},
                        {"to": {"type": "None", "zones": ["a"]}},
                        {"to": {"type": "AnyExcept", "zones": []}},
                    ],
                    failoverThreshold={"percentage": 0},
                ),
                kind="MeshService",
                name="web",
                sectionName="http",
            ),
            [
                (f"{CONF}.localityAwareness.crossZone{field}", reason)
                for field, reason in (
                    ("", "must not be set: MeshService traffic is local"),
                    (".failover[0].from.zones", "must not be empty"),
                    (".failover[0].to.zones", "must be empty when type is Any"),
                    (".failover[1].from.zones[1]", "must not be empty"),
                    (".failover[1].to.zones", "must not be empty when type is Only"),
                    (".failover[2].to.zones", "must be empty when type is None"),
                    (".failover[3].to.zones", "must not be empty when type is AnyExcept"),
                    (".failoverThreshold.percentage", "must be greater than 0"),
                )
            ],
        ),
        (
            _to(_cross(failoverThreshold={"percentage": "100.1"})),
            [
                (
                    f"{CONF}.localityAwareness.crossZone.failoverThreshold.percentage",
                    "must be in inclusive range [0.0, 100.0]",
                )
            ],
        ),
    ],
)
def test_every_fault_is_named_where_it_is(spec, expected):
    """All violations at once, with the paths and sentences of Kuma; what Envoy would refuse is refused here."""
    assert _faults(spec) == expected


@pytest.mark.parametrize(
    ("kind", "field"),
    [
        ("Header", "header"),
        ("Cookie", "cookie"),
        ("Connection", "connection"),
        ("SourceIP", "connection"),
        ("QueryParameter", "queryParameter"),
        ("FilterState", "filterState"),
    ],
)
def test_a_hash_policy_needs_the_part_of_its_type(kind, field):
    """The type alone says nothing."""
    assert _faults(_to({"hashPolicies": [{"type": kind}]})) == [(f"{CONF}.hashPolicies[0].{field}", "must be defined")]


def test_a_cookie_that_no_browser_would_send_is_refused():
    """Its path is absolute, its life not negative, and nothing breaks out of the header it ends in."""
    cookie = {"name": "a\n", "ttl": "-1s", "path": "x\r"}

    assert _faults(_to({"hashPolicies": [{"type": "Cookie", "cookie": cookie}]})) == [
        (f"{CONF}.hashPolicies[0].cookie.name", "must not contain line breaks or control characters"),
        (f"{CONF}.hashPolicies[0].cookie.ttl", "must not be negative when defined"),
        (f"{CONF}.hashPolicies[0].cookie.path", "must not contain line breaks or control characters"),
        (f"{CONF}.hashPolicies[0].cookie.path", "must be an absolute path"),
    ]


@pytest.mark.parametrize(
    "spec",
    [
        _balancer("LeastRequest", leastRequest={"choiceCount": 1}),
        _balancer("RingHash", ringHash={"maxRingSize": 8_000_001}),
        _balancer("Maglev", maglev={"tableSize": 0}),
        _balancer("Fastest"),
        _to({"hashPolicies": [{"type": "Header", "header": {"name": ""}}]}),
        _to(_cross(failover=[{}])),
    ],
)
def test_the_schema_knows_the_limits(spec):
    """Ranges, enumerations and required fields of Kuma's schema hold."""
    with pytest.raises(ValidationError):
        _parsed(spec)


def test_the_writer_is_told_what_is_deprecated():
    """Hash policies have moved out of the balancers, and SourceIP has become Connection."""
    old = {"hashPolicies": [HEADER, {"type": "SourceIP", "connection": {"sourceIP": True}}]}
    path = "spec.to[0].default.loadBalancer"

    assert list(warnings(_parsed(_to({"hashPolicies": [HEADER]})))) == []
    assert list(warnings(_parsed(_balancer("RingHash", ringHash=old)))) == [
        f"configuration '{path}.ringHash.hashPolicies' is deprecated, use 'spec.to[0].default.hashPolicies' instead",
        f"SourceIP type for '{path}.ringHash.hashPolicies[1].type' is deprecated, use Connection instead",
    ]
    assert list(warnings(_parsed(_balancer("Maglev", maglev={"hashPolicies": []})))) == [
        f"configuration '{path}.maglev.hashPolicies' is deprecated, use 'spec.to[0].default.hashPolicies' instead",
    ]


@given(data=st.data(), careful=st.booleans())
def test_nothing_a_user_sends_makes_the_policy_fail(data, careful):
    """Arbitrary JSON is parsed or refused with its faults; validating, warning and printing never raise."""
    document = (
        data.draw(documents(POLICY)) if data.draw(st.booleans()) else Writer(deciding(data), careful).policy(POLICY)
    )
    try:
        spec = _parsed(document)
    except ValidationError as error:
        faults, sentences = [*violations(error, "spec")], ["not asked for"]
    else:
        faults, sentences = [Violation("spec", "none is needed"), *validate(spec)], list(warnings(spec))
        assert _parsed(spec.to_json()) == spec

    assert faults
    assert all(found.field.startswith("spec") and found.reason for found in faults)
    assert all(sentences)
