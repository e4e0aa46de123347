import json

import pytest
from pydantic import ValidationError

from kuma.core.model.spec import violations
from kuma.core.policies.meshfaultinjection.spec import MeshFaultInjection
from kuma.core.policies.meshfaultinjection.validate import validate, warnings

MESH = {"kind": "Mesh"}
SIDECARS = {"kind": "Mesh", "proxyTypes": ["Sidecar"]}
OK = {"http": [{"abort": {"httpStatus": 500, "percentage": "50.5"}}]}
NOT_WITH_GATEWAYS = (
    "must not be defined when the scope includes a Gateway, select only proxyType Sidecar or select only gateways and "
    "use spec.to"
)


def _parsed(spec):
    return MeshFaultInjection.model_validate_json(json.dumps(spec))


def _faults(spec):
    return [(found.field, found.reason) for found in validate(_parsed(spec))]


def _from(conf, ref=MESH, top=SIDECARS):
    return {"targetRef": top, "from": [{"targetRef": ref, "default": conf}]}


def _rules(conf, *matches):
    return {"rules": [{"default": conf, **({"matches": list(matches)} if matches else {})}]}


@pytest.mark.parametrize(
    "spec",
    [
        {},
        _rules(OK),
        _rules(OK, {}, {"spiffeID": {"type": "Prefix", "value": "spiffe://default"}}),
        _from(OK),
        _from(OK, {"kind": "MeshSubset", "tags": {"a": "b"}}),
        _from(OK, {"kind": "MeshService", "name": "web"}, {"kind": "Dataplane"}),
        {"to": [{"targetRef": MESH, "default": OK}]},
        {**_rules(OK), "to": [{"targetRef": MESH, "default": {}}]},
        _rules({}),
        _rules({"http": [{"responseBandwidth": {"limit": "50Gbps", "percentage": 1}}]}),
        _rules({"http": [{"delay": {"value": "0s", "percentage": 0}}]}),
    ],
)
def test_sound_policies_are_accepted(spec):
    """Faults of sidecars by `rules` or `from`, of gateways by `to`."""
    assert _faults(spec) == []


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (_from(OK, top=MESH), [("spec.from", NOT_WITH_GATEWAYS)]),
        (_from(OK, top={"kind": "MeshGateway", "name": "edge"}), [("spec.from", NOT_WITH_GATEWAYS)]),
        (
            {"targetRef": SIDECARS, "to": [{"targetRef": MESH, "default": OK}]},
            [("spec.to", "must not be defined")],
        ),
        ({**_rules(OK), **_from(OK)}, [("spec", "field 'from' must be empty when 'rules' is defined")]),
        (
            {"targetRef": {"kind": "MeshHTTPRoute", "name": "r"}},
            [("spec.targetRef.kind", "value 'MeshHTTPRoute' is not supported")],
        ),
        (
            _rules({"http": [{}, {"abort": {"httpStatus": 99, "percentage": 101}}]}),
            [
                ("spec.rules[0].default.http.abort[1].httpStatus", "must be in inclusive range [100, 599]"),
                ("spec.rules[0].default.http.abort[1].percentage", "must be in inclusive range [0.0, 100.0]"),
            ],
        ),
        (
            _rules({"http": [{"abort": {"httpStatus": 100, "percentage": "x"}}]}),
            [
                (
                    "spec.rules[0].default.http.abort[0].httpStatus",
                    "must be 200 or higher: Envoy cannot end a request with less",
                ),
                ("spec.rules[0].default.http.abort[0].percentage", "string must be a valid number"),
            ],
        ),
        (
            _from({"http": [{"delay": {"value": "-1s", "percentage": -1}}]}),
            [
                ("spec.from[0].default.http.delay[0].value", "must not be negative when defined"),
                ("spec.from[0].default.http.delay[0].percentage", "must be in inclusive range [0.0, 100.0]"),
            ],
        ),
        (
            _rules(
                {"http": [{"responseBandwidth": {"limit": limit, "percentage": 1}} for limit in ("", "5", "0kbps")]}
            ),
            [
                ("spec.rules[0].default.http.responseBandwidth[0].responseBandwidth", "must be defined"),
                (
                    "spec.rules[0].default.http.responseBandwidth[1].responseBandwidth",
                    "must be in kbps/Mbps/Gbps units",
                ),
                ("spec.rules[0].default.http.responseBandwidth[2].responseBandwidth", "must be greater than 0"),
            ],
        ),
    ],
)
def test_every_fault_is_named_where_it_is(spec, expected):
    """All violations at once, with the paths of Kuma; what Envoy would refuse is refused here."""
    assert _faults(spec) == expected


def test_the_schema_refuses_what_has_the_wrong_shape():
    """A percentage is an integer or text; a rule has a default."""
    with pytest.raises(ValidationError) as refused:
        _parsed({"rules": [{}, {"default": {"http": [{"abort": {"httpStatus": 500, "percentage": 1.5}}]}}]})

    assert [(v.field, v.reason) for v in violations(refused.value, "spec")] == [
        ("spec.rules[0].default", "in body is required"),
        ("spec.rules[1].default.http[0].abort.percentage", "in body must be of type integer or string"),
    ]


def test_the_writer_is_told_what_is_deprecated_or_has_no_effect():
    """`from` gives way to identities; faults of gateways come later."""
    assert list(warnings(_parsed(_rules(OK)))) == []
    assert list(warnings(_parsed(_from(OK)))) == [
        "'from' field is deprecated, use 'rules' with SPIFFE-based 'matches' instead"
    ]
    assert list(warnings(_parsed({"to": [{"targetRef": MESH, "default": OK}]}))) == [
        "spec.to: speaks of builtin gateways, which are not supported yet, it has no effect"
    ]
