import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from kuma.core.errors import Violation
from kuma.core.model.spec import violations
from kuma.core.policies._kit.merge import merge
from kuma.core.policies.meshtcproute import POLICY
from kuma.core.policies.meshtcproute.spec import Conf, MeshTCPRoute
from kuma.core.policies.meshtcproute.validate import validate, warnings
from tests.policies.writer import Writer
from tests.unit.core.policies.test_policies import deciding, documents

WEB = {"kind": "MeshService", "name": "web"}
BACKENDS = "spec.to[0].rules[0].default.backendRefs"
NEXT = {"kind": "MeshService", "name": "web-v2"}


def _parsed(spec):
    return MeshTCPRoute.model_validate_json(json.dumps(spec))


def _faults(spec):
    return [(found.field, found.reason) for found in validate(_parsed(spec))]


def _to(*backends, target=WEB, **top):
    return {**top, "to": [{"targetRef": target, "rules": [{"default": {"backendRefs": backends}}]}]}


@pytest.mark.parametrize(
    "spec",
    [
        {"to": [{"targetRef": WEB, "rules": []}]},
        _to(NEXT, {**NEXT, "weight": 0}, {"kind": "MeshServiceSubset", "name": "web", "tags": {"version": "v2"}}),
        _to(NEXT, target={"kind": "Mesh"}, targetRef={"kind": "MeshGateway", "name": "edge", "tags": {"port": "tcp"}}),
        _to({"kind": "MeshMultiZoneService", "name": "web", "port": 80}, targetRef={"kind": "Dataplane"}),
    ],
)
def test_sound_policies_are_accepted(spec):
    """Every kind of destination and backend."""
    assert _faults(spec) == []


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({}, [("spec.to", "needs at least one item")]),
        ({"to": []}, [("spec.to", "needs at least one item")]),
        (_to(), [(BACKENDS, "must be defined")]),
        ({"to": [{"targetRef": WEB, "rules": [{"default": {}}]}]}, [(BACKENDS, "must be defined")]),
        (_to(NEXT, target={"kind": "Mesh"}), [("spec.to[0].targetRef.kind", "value 'Mesh' is not supported")]),
        (
            _to({"kind": "MeshGateway", "name": "x"}, {"kind": "MeshMultiZoneService"}, {"kind": "MeshServiceSubset"}),
            [
                (f"{BACKENDS}[0].kind", "value 'MeshGateway' is not supported"),
                (f"{BACKENDS}[1].port", "must be defined with kind MeshMultiZoneService"),
                (f"{BACKENDS}[2].name", "must be set when kind is MeshServiceSubset"),
            ],
        ),
    ],
)
def test_every_fault_is_named_where_it_is(spec, expected):
    """All violations at once, with the paths and sentences of Kuma."""
    assert _faults(spec) == expected


def test_there_is_one_rule_at_most():
    """Connections cannot be told apart, so a second rule would never count."""
    rule = {"default": {"backendRefs": [NEXT]}}
    with pytest.raises(ValidationError):
        _parsed({"to": [{"targetRef": WEB, "rules": [rule, rule]}]})


def test_the_writer_is_told_what_has_no_effect():
    """Backends that cannot be reached are accepted and named."""
    assert list(warnings(_parsed(_to(NEXT)))) == []
    assert list(warnings(_parsed(_to({"kind": "MeshMultiZoneService", "name": "web", "port": 80})))) == [
        f"{BACKENDS}[0]: MeshMultiZoneService is not supported yet, this backend gets no traffic"
    ]


def test_the_strongest_policy_says_where_connections_go():
    """Backends of several policies are not mixed; a policy without a rule says nothing."""
    weak, strong, silent = (
        _parsed(spec).to[0].default for spec in (_to(WEB), _to(NEXT), {"to": [{"targetRef": WEB, "rules": []}]})
    )
    merged = merge(Conf, [(weak, "weak"), (strong, "strong"), (silent, "silent")])

    assert merged.conf == strong
    assert list(POLICY.destinations(merged.conf)) == [(("kuma.io/service", "web-v2"),)]
    assert list(POLICY.destinations(silent)) == []


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
