import json

import pytest

from kuma.core.policies.meshtimeout.spec import MeshTimeout
from kuma.core.policies.meshtimeout.validate import validate, warnings

MESH = {"kind": "Mesh"}
OK = {"connectionTimeout": "5s"}
NOT_BY_SOURCE = (
    "can't be specified when matches contain spiffeID because this field cannot be conditioned on source identity"
)
ONLY_FOR_ROUTES = "can't be specified when top-level TargetRef is referencing MeshHTTPRoute"


def _parsed(spec):
    return MeshTimeout.model_validate_json(json.dumps(spec))


def _faults(spec):
    return [(found.field, found.reason) for found in validate(_parsed(spec))]


def _to(conf, **ref):
    return {"to": [{"targetRef": ref or MESH, "default": conf}]}


@pytest.mark.parametrize(
    "spec",
    [
        _to(OK),
        _to({"http": {"requestTimeout": "0s"}}, kind="MeshService", name="web"),
        {"from": [{"targetRef": MESH, "default": {"idleTimeout": "0s"}}]},
        {"targetRef": {"kind": "Dataplane", "sectionName": "http"}, "rules": [{"default": OK}]},
        {
            "rules": [
                {
                    "matches": [{"spiffeID": {"type": "Prefix", "value": "spiffe://default"}}],
                    "default": {"http": {"streamIdleTimeout": "1s"}},
                }
            ]
        },
        {"targetRef": {"kind": "MeshGateway", "name": "edge", "tags": {"a": "b"}}, **_to(OK)},
    ],
)
def test_sound_policies_are_accepted(spec):
    """Every list, and references in their usual forms."""
    assert _faults(spec) == []


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({}, [("spec", "at least one of 'from', 'to' or 'rules' has to be defined")]),
        (
            {**_to(OK), "rules": [{"default": OK}]},
            [("spec", "fields 'to' and 'from' must be empty when 'rules' is defined")],
        ),
        (
            {**_to(OK), "targetRef": {"kind": "Dataplane", "sectionName": "s"}},
            [("spec.targetRef.sectionName", "can only be used with inbound policies")],
        ),
        (
            {"from": [{"targetRef": {"kind": "MeshService", "name": "web"}, "default": OK}]},
            [("spec.from[0].targetRef.kind", "value 'MeshService' is not supported")],
        ),
        (
            {"targetRef": {"kind": "MeshGateway", "name": "g"}, "from": [{"targetRef": MESH, "default": OK}]},
            [("spec.from", "must not be defined")],
        ),
        (
            {"targetRef": {"kind": "MeshHTTPRoute", "name": "r"}, **_to(OK, kind="MeshService", name="web")},
            [
                ("spec.to[0].targetRef.kind", "value 'MeshService' is not supported"),
                ("spec.to[0].default.connectionTimeout", ONLY_FOR_ROUTES),
            ],
        ),
        (_to({}), [("spec.to[0].default", "at least one timeout should be configured")]),
        (
            _to({"http": {"requestHeadersTimeout": "1s"}}),
            [("spec.to[0].default.http", "at least one timeout in this section should be configured")],
        ),
        (
            _to({"connectionTimeout": "0s", "idleTimeout": "-1s", "http": {"requestTimeout": "-1s"}}),
            [
                ("spec.to[0].default.connectionTimeout", "must be greater than zero when defined"),
                ("spec.to[0].default.idleTimeout", "must not be negative when defined"),
                ("spec.to[0].default.http.requestTimeout", "must not be negative when defined"),
            ],
        ),
        (
            {"rules": [{"matches": [{}], "default": OK}]},
            [("spec.rules[0].matches[0]", "must specify at least one of 'spiffeID' or 'sni'")],
        ),
        (
            {
                "rules": [
                    {
                        "matches": [{"spiffeID": {"type": "Exact", "value": "spiffe://d/a"}}],
                        "default": {**OK, "http": {"requestHeadersTimeout": "2s", "maxStreamDuration": "3s"}},
                    }
                ]
            },
            [
                ("spec.rules[0].default.connectionTimeout", NOT_BY_SOURCE),
                ("spec.rules[0].default.http.requestHeadersTimeout", NOT_BY_SOURCE),
                ("spec.rules[0].default.http.maxStreamDuration", NOT_BY_SOURCE),
            ],
        ),
    ],
)
def test_every_fault_is_named_where_it_is(spec, expected):
    """All violations at once, with the paths and sentences of Kuma."""
    assert _faults(spec) == expected


def test_the_writer_is_told_what_is_deprecated_or_without_effect():
    """Old forms work and say what replaces them; what cannot work yet says so."""
    old = {"targetRef": {"kind": "MeshSubset", "tags": {"a": "b"}}, "from": [{"targetRef": MESH, "default": OK}]}
    route = _to(OK, kind="MeshHTTPRoute", name="r")
    later = _to(OK, kind="MeshExternalService", name="x")
    match = {"sni": {"type": "Exact", "value": "a"}}

    assert list(warnings(_parsed(_to(OK)))) == []
    assert list(warnings(_parsed(old))) == [
        "MeshSubset value for 'targetRef.kind' is deprecated, use Dataplane with labels instead",
        "'from' field is deprecated, use 'rules' instead",
    ]
    assert list(warnings(_parsed(route))) == []
    assert list(warnings(_parsed(later))) == [
        "spec.to[0].targetRef: MeshExternalService is not supported yet, this entry has no effect"
    ]
    assert list(warnings(_parsed({"rules": [{"matches": [match], "default": OK}]}))) == [
        (
            "spec.rules[0].default.connectionTimeout: has no effect in a rule with matches, "
            "only http.requestTimeout and http.streamIdleTimeout can depend on the client"
        )
    ]
