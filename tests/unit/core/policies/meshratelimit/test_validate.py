import json

import pytest
from pydantic import ValidationError

from kuma.core.model.spec import violations
from kuma.core.policies.meshratelimit.spec import MeshRateLimit
from kuma.core.policies.meshratelimit.validate import validate, warnings

MESH = {"kind": "Mesh"}
SIDECARS = {"kind": "Mesh", "proxyTypes": ["Sidecar"]}
OK = {"local": {"http": {"requestRate": {"num": 1, "interval": "1s"}}}}
ID = {"spiffeID": {"type": "Exact", "value": "spiffe://default/a"}}
NOT_WITH_GATEWAYS = (
    "must not be defined when the scope includes a Gateway, select only proxyType Sidecar or select only gateways and "
    "use spec.to"
)


def _parsed(spec):
    return MeshRateLimit.model_validate_json(json.dumps(spec))


def _faults(spec):
    return [(found.field, found.reason) for found in validate(_parsed(spec))]


def _rules(conf, *matches, top=SIDECARS):
    rule = {"default": conf, **({"matches": list(matches)} if matches else {})}
    return {"targetRef": top, "rules": [rule]}


@pytest.mark.parametrize(
    "spec",
    [
        {},
        _rules(OK),
        _rules(OK, ID),
        _rules(OK, top={"kind": "Dataplane", "labels": {"app": "x"}, "sectionName": "main"}),
        {"targetRef": SIDECARS, "from": [{"targetRef": MESH, "default": OK}]},
        {"to": [{"targetRef": MESH, "default": OK}]},
        {"targetRef": {"kind": "MeshHTTPRoute", "name": "r"}, "to": [{"targetRef": MESH, "default": OK}]},
        _rules({"local": {"tcp": {"disabled": True}, "http": {"disabled": False}}}),
    ],
)
def test_sound_policies_are_accepted(spec):
    """Limits of sidecars by `rules` or `from`, of gateways by `to`."""
    assert _faults(spec) == []


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"rules": [{"default": OK}]}, [("spec.rules", NOT_WITH_GATEWAYS)]),
        ({"from": [{"targetRef": MESH, "default": OK}]}, [("spec.from", NOT_WITH_GATEWAYS)]),
        (
            {"targetRef": SIDECARS, "to": [{"targetRef": MESH, "default": OK}]},
            [("spec.to", "must not be defined")],
        ),
        (
            {**_rules(OK), "from": [{"targetRef": MESH, "default": OK}]},
            [("spec", "fields 'to' and 'from' must be empty when 'rules' is defined")],
        ),
        (
            {"targetRef": SIDECARS, "from": [{"targetRef": {"kind": "MeshSubset"}, "default": OK}]},
            [("spec.from[0].targetRef.kind", "value 'MeshSubset' is not supported")],
        ),
        (_rules({}), [("spec.rules[0].default.local", "must be defined")]),
        (_rules({"local": {}}), [("spec.rules[0].default.local", "must have at least one defined: tcp, http")]),
        (
            _rules({"local": {"http": {}, "tcp": {}}}),
            [
                (
                    "spec.rules[0].default.local.http",
                    "must have at least one defined: disabled, requestRate, onRateLimit",
                ),
                ("spec.rules[0].default.local.tcp", "must have at least one defined: disabled, connectionRate"),
            ],
        ),
        (
            _rules({"local": {"http": {"requestRate": {"num": 0, "interval": "50ms"}, "onRateLimit": {"status": 0}}}}),
            [
                ("spec.rules[0].default.local.http.requestRate.num", "must be greater than 0"),
                ("spec.rules[0].default.local.http.requestRate.interval", "must be greater than: 50ms"),
                ("spec.rules[0].default.local.http.onRateLimit.status", "must be greater than 0"),
            ],
        ),
        (
            _rules({"local": {"tcp": {"connectionRate": {"num": 1, "interval": "2000000h"}}}}),
            [
                (
                    "spec.rules[0].default.local.tcp.connectionRate.interval",
                    "must not be longer than 876000h0m0s when defined",
                )
            ],
        ),
        (
            _rules({"local": {"http": {"onRateLimit": {"headers": {"add": [{"name": "a", "value": "x\n%NO%"}]}}}}}),
            [
                (
                    "spec.rules[0].default.local.http.onRateLimit.headers.add[0].value",
                    "must not contain line breaks or control characters",
                ),
                (
                    "spec.rules[0].default.local.http.onRateLimit.headers.add[0].value",
                    "%NO% is no command that Envoy knows",
                ),
            ],
        ),
        (
            _rules({"local": {"http": {"onRateLimit": {"headers": {"set": [{"name": "host", "value": "a"}]}}}}}),
            [
                (
                    "spec.rules[0].default.local.http.onRateLimit.headers.set[0].name",
                    "Envoy does not let the host header be changed; rewrite the hostname instead",
                )
            ],
        ),
        (
            _rules(
                {
                    "local": {
                        "http": {
                            "onRateLimit": {
                                "headers": {
                                    "set": [{"name": f"a-{number}", "value": "a"} for number in range(6)],
                                    "add": [{"name": f"b-{number}", "value": "b"} for number in range(5)],
                                }
                            }
                        }
                    }
                }
            ),
            [
                (
                    "spec.rules[0].default.local.http.onRateLimit.headers",
                    "must not have more than 10 headers in set and add together",
                )
            ],
        ),
        (
            _rules({"local": {"tcp": {"disabled": True}}}, ID, {}),
            [
                ("spec.rules[0].matches[1]", "must specify at least one of 'spiffeID' or 'sni'"),
                (
                    "spec.rules[0].default.local.tcp",
                    (
                        "can't be specified when matches contain spiffeID because this field cannot be conditioned on "
                        "source identity"
                    ),
                ),
            ],
        ),
    ],
)
def test_every_fault_is_named_where_it_is(spec, expected):
    """All violations at once, with the paths of Kuma; what Envoy would refuse is refused here."""
    assert _faults(spec) == expected


def test_a_status_that_envoy_does_not_know_is_refused():
    """Envoy would refuse the whole listener."""
    assert _faults(_rules({"local": {"http": {"onRateLimit": {"status": 444}}}})) == [
        ("spec.rules[0].default.local.http.onRateLimit.status", "must be an HTTP status that Envoy knows")
    ]


def test_the_schema_refuses_what_has_the_wrong_shape():
    """Header names are lower case, rates are complete."""
    with pytest.raises(ValidationError) as refused:
        _parsed(
            _rules(
                {"local": {"http": {"requestRate": {"num": 1}, "onRateLimit": {"headers": {"set": [{"name": "A"}]}}}}}
            )
        )

    found = {v.field: v.reason for v in violations(refused.value, "spec")}
    assert found["spec.rules[0].default.local.http.requestRate.interval"] == "in body is required"
    assert found["spec.rules[0].default.local.http.onRateLimit.headers.set[0].value"] == "in body is required"
    assert "spec.rules[0].default.local.http.onRateLimit.headers.set[0].name" in found


def test_the_writer_is_told_what_is_deprecated_or_has_no_effect():
    """A status below 400 is not sent; limits of gateways come later; a server name tells no TCP client apart."""
    low = {"local": {"http": {"onRateLimit": {"status": 302}}}}
    sni = {"sni": {"type": "Exact", "value": "backend.mesh"}}

    assert list(warnings(_parsed(_rules(OK)))) == []
    assert list(warnings(_parsed({"targetRef": SIDECARS, "from": [{"targetRef": MESH, "default": low}]}))) == [
        "'from' field is deprecated, use 'rules' instead",
        "'spec.from[0].default.local.http.requestRate.status' must be 400 or higher. Please update your configuration.",
    ]
    assert list(warnings(_parsed({"to": [{"targetRef": MESH, "default": OK}]}))) == [
        "spec.to: speaks of builtin gateways, which are not supported yet, it has no effect"
    ]
    assert list(warnings(_parsed(_rules({"local": {"tcp": {"disabled": True}}}, sni)))) == [
        "spec.rules[0].default.local.tcp: has no effect in a rule with matches, only requests can be limited by client"
    ]
