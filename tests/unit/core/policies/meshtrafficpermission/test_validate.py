import json

import pytest

from kuma.core.policies.meshtrafficpermission.spec import MeshTrafficPermission
from kuma.core.policies.meshtrafficpermission.validate import validate, warnings

ALLOW_ALL = {"targetRef": {"kind": "Mesh"}, "default": {"action": "Allow"}}
BAD_ID = {"spiffeID": {"type": "Exact", "value": "web"}}


def _parsed(spec):
    return MeshTrafficPermission.model_validate_json(json.dumps(spec))


def _faults(spec):
    return [(found.field, found.reason) for found in validate(_parsed(spec))]


@pytest.mark.parametrize(
    "spec",
    [
        {"from": [ALLOW_ALL]},
        {"targetRef": {"kind": "Dataplane", "labels": {"app": "web"}, "sectionName": "http"}, "from": [ALLOW_ALL]},
        {"from": [{**ALLOW_ALL, "targetRef": {"kind": "MeshSubset", "tags": {"kuma.io/service": "web"}}}]},
        {"rules": [{"default": {"allow": [{}]}}]},
        {"rules": [{"default": {"deny": [{"spiffeID": {"type": "Prefix", "value": "spiffe://d/ns"}}]}}]},
    ],
)
def test_sound_permissions_are_accepted(spec):
    """By tags or by identity."""
    assert _faults(spec) == []


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({}, [("spec", "at least one of 'from' or 'rules' has to be defined")]),
        (
            {"from": [ALLOW_ALL], "rules": [{"default": {"allow": [{}]}}]},
            [("spec", "field 'from' must be empty when 'rules' is defined")],
        ),
        (
            {"targetRef": {"kind": "MeshGateway", "name": "g"}, "from": [ALLOW_ALL]},
            [("spec.targetRef.kind", "value 'MeshGateway' is not supported")],
        ),
        (
            {"from": [{"targetRef": {"kind": "Dataplane"}}]},
            [
                ("spec.from[0].targetRef.kind", "value 'Dataplane' is not supported"),
                ("spec.from[0].default.action", "must be defined"),
            ],
        ),
        (
            {"rules": [{"default": {"deny": []}}]},
            [("spec.rules[0]", "at least one of 'allow', 'allowWithShadowDeny', 'deny' has to be defined")],
        ),
        (
            {"rules": [{"default": {name: [BAD_ID] for name in ("allow", "allowWithShadowDeny", "deny")}}]},
            [
                (f"spec.rules[0].{name}[0].spiffeID", "must be a valid Spiffe ID: scheme is missing or invalid")
                for name in ("allow", "allowWithShadowDeny", "deny")
            ],
        ),
    ],
)
def test_every_fault_is_named_where_it_is(spec, expected):
    """All violations at once, with the paths and sentences of Kuma."""
    assert _faults(spec) == expected


def test_the_writer_is_told_what_is_deprecated():
    """Permissions by tags work, and say what replaces them."""
    by_service = {"from": [{**ALLOW_ALL, "targetRef": {"kind": "MeshService", "name": "web"}}]}

    assert list(warnings(_parsed({"rules": [{"default": {"allow": [{}]}}]}))) == []
    assert list(warnings(_parsed(by_service))) == [
        "'from' field is deprecated and will be removed in 3.0, use 'rules' with MeshIdentity (spiffeId) instead",
        "MeshService value for 'from[].targetRef.kind' is deprecated, use MeshSubset with 'kuma.io/service' instead",
    ]
