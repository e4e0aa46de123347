import json

import pytest
from pydantic import ValidationError

from kuma.core.model.spec import violations
from kuma.core.policies.meshproxypatch.spec import MeshProxyPatch
from kuma.core.policies.meshproxypatch.validate import validate, warnings

ONE = "spec.default.appendModifications[0]"
LUA = """
name: envoy.filters.http.lua
typedConfig:
  '@type': type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua
  default_source_code: {inlineString: "function envoy_on_request(h) end"}
"""
CLUSTER = "name: test\ntype: STRICT_DNS\nconnectTimeout: 5s"
VHOST = {"routeConfigurationName": "inbound:backend"}


def _parsed(spec):
    return MeshProxyPatch.model_validate_json(json.dumps(spec))


def _faults(*modifications, **top):
    spec = {**top, "default": {"appendModifications": list(modifications)}}
    return [(found.field, found.reason) for found in validate(_parsed(spec))]


def _json_patch(*patches):
    return {"cluster": {"operation": "Patch", "jsonPatches": list(patches)}}


@pytest.mark.parametrize(
    "modification",
    [
        {"cluster": {"operation": "Add", "value": CLUSTER}},
        {"cluster": {"operation": "Remove"}},
        {"cluster": {"operation": "Patch", "match": {"origin": "outbound"}, "value": "connect_timeout: 0.5s"}},
        {
            "listener": {
                "operation": "Patch",
                "match": {"tags": {"a": "b"}},
                "jsonPatches": [{"op": "remove", "path": "/x"}],
            }
        },
        {"listener": {"operation": "Remove", "match": {"name": "x"}}},
        {"httpFilter": {"operation": "AddFirst", "value": LUA}},
        {"httpFilter": {"operation": "AddBefore", "match": {"name": "envoy.filters.http.router"}, "value": LUA}},
        {"networkFilter": {"operation": "Remove", "match": {"listenerTags": {"a": "b"}}}},
        {"virtualHost": {"operation": "Add", "match": VHOST, "value": "name: x\ndomains: ['x']"}},
        _json_patch({"op": "add", "path": "/a~1b", "value": {"c": 1}}, {"op": "move", "from": "/a", "path": "/b"}),
        _json_patch({"op": "replace", "path": "", "value": {}}),
    ],
)
def test_sound_policies_are_accepted(modification):
    """Every kind of resource, every operation; field names in either of protobuf's spellings."""
    assert _faults(modification) == []


@pytest.mark.parametrize(
    ("modification", "expected"),
    [
        ({}, [(ONE, "exactly one modification can be defined at a time. Currently, 0 modifications are defined")]),
        (
            {"cluster": {"operation": "Remove"}, "listener": {"operation": "Remove"}},
            [(ONE, "exactly one modification can be defined at a time. Currently, 2 modifications are defined")],
        ),
        (
            {"cluster": {"operation": "Add", "match": {"name": "x"}}},
            [(f"{ONE}.cluster.match", "must not be defined"), (f"{ONE}.cluster.value", "must be defined")],
        ),
        (
            {"virtualHost": {"operation": "Add", "match": {"name": "x"}, "value": "name: x\ndomains: [x]"}},
            [(f"{ONE}.virtualHost.match.name", "must not be defined")],
        ),
        ({"listener": {"operation": "Remove", "value": "{}"}}, [(f"{ONE}.listener.value", "must not be defined")]),
        (
            {"cluster": {"operation": "Patch"}},
            [(f"{ONE}.cluster", "cluster must have exactly one defined: value, jsonPatches")],
        ),
        (
            {"cluster": {"operation": "Patch", "value": "{}", "jsonPatches": [{"op": "remove", "path": "/a"}]}},
            [(f"{ONE}.cluster", "cluster must have only one type defined: value, jsonPatches")],
        ),
        (
            {"httpFilter": {"operation": "Patch", "value": "{}"}},
            [(f"{ONE}.httpFilter.match.name", "must be defined")],
        ),
        (
            {"networkFilter": {"operation": "AddBefore", "value": "name: x"}},
            [
                (
                    f"{ONE}.networkFilter.match.name",
                    "must be defined. You need to pick a filter before which this one will be added",
                )
            ],
        ),
        (
            {"networkFilter": {"operation": "AddAfter", "match": {}, "value": "name: x"}},
            [
                (
                    f"{ONE}.networkFilter.match.name",
                    "must be defined. You need to pick a filter after which this one will be added",
                )
            ],
        ),
        (
            _json_patch(
                {"op": "add", "path": "a"},
                {"op": "move", "path": "/a~2", "value": 1},
                {"op": "remove", "path": "/", "from": "/b"},
            ),
            [
                (f"{ONE}.cluster.jsonPatches[0].value", 'must not be empty when "op" is one of ["add", "replace"]'),
                (f"{ONE}.cluster.jsonPatches[0].path", "must be empty or start with a / (a JSON pointer)"),
                (f"{ONE}.cluster.jsonPatches[1].from", 'must not be empty when "op" is one of ["move", "copy"]'),
                (f"{ONE}.cluster.jsonPatches[1].value", 'is allowed only when "op" is one of ["add", "replace"]'),
                (f"{ONE}.cluster.jsonPatches[1].path", "must write ~ as ~0 and / as ~1 (a JSON pointer)"),
                (f"{ONE}.cluster.jsonPatches[2].from", 'is allowed only when "op" is one of ["move", "copy"]'),
                (f"{ONE}.cluster.jsonPatches[2].path", "root path cannot be removed"),
            ],
        ),
    ],
)
def test_every_fault_is_named_where_it_is(modification, expected):
    """All violations at once, with the paths of Kuma."""
    assert _faults(modification) == expected


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("nam: x", 'Message type "envoy.config.cluster.v3.Cluster" has no field named "nam"'),
        ("- a", "an object is needed, with the fields of envoy.config.cluster.v3.Cluster"),
        ("a: [", "not valid YAML"),
        ("connectTimeout: soon", "connectTimeout"),
        (
            "transportSocket: {typedConfig: {'@type': type.googleapis.com/envoy.No}}",
            "envoy.No is no type of Envoy's API",
        ),
        ("transportSocket: {typedConfig: {'@type': 5}}", ""),
        ("a: &a [x]\nb: [*a, *a", "not valid YAML"),
    ],
)
def test_what_is_no_envoy_resource_is_refused_with_the_reason(value, reason):
    """The fault is known when the policy is written, not when proxies get it."""
    [(field, text)] = _faults({"cluster": {"operation": "Add", "value": value}})

    assert field == f"{ONE}.cluster.value"
    assert text.startswith("native Envoy resource is not valid: ")
    assert reason in text


@pytest.mark.parametrize(
    ("step", "lacks"),
    [
        ({"cluster": {"operation": "Add", "value": "type: EDS"}}, ["Cluster.Name"]),
        ({"listener": {"operation": "Add", "value": "statPrefix: x"}}, ["Listener.Name"]),
        ({"networkFilter": {"operation": "AddFirst", "value": "{}"}}, ["Filter.Name"]),
        ({"httpFilter": {"operation": "AddLast", "value": "disabled: true"}}, ["HttpFilter.Name"]),
        (
            {"virtualHost": {"operation": "Add", "match": {}, "value": "{}"}},
            ["VirtualHost.Name", "VirtualHost.Domains"],
        ),
    ],
)
def test_what_is_added_has_what_envoy_asks_of_it(step, lacks):
    """Envoy, or the protocol that brings it there, would refuse it."""
    faults = _faults(step)

    assert [reason.partition("invalid ")[2].partition(":")[0] for _, reason in faults] == lacks
    assert {field.rpartition(".")[2] for field, _ in faults} == {"value"}


@pytest.mark.parametrize("match", [{}, {"match": {"origin": "outbound"}}, {"match": {"name": "web"}}])
@pytest.mark.parametrize("what", ["cluster", "listener"])
def test_a_patch_does_not_change_names(what, match):
    """A name in the value chooses nothing; the same name as in the match is fine."""
    [(field, reason)] = _faults({what: {"operation": "Patch", "value": "name: api", **match}})

    assert (field, reason.partition(",")[0]) == (f"{ONE}.{what}.value", "a patch cannot change the name")
    assert _faults({what: {"operation": "Patch", "value": "name: api", "match": {"name": "api"}}}) == []


def test_a_policy_needs_modifications():
    """Nothing to do is a mistake."""
    assert [(v.field, v.reason) for v in validate(_parsed({}))] == [("spec.default", "in body is required")]
    assert _faults() == [("spec.default.appendModifications", "must not be empty")]


def test_gateways_are_named_without_tags():
    """A MeshGateway is patched as a whole."""
    assert _faults(
        {"cluster": {"operation": "Remove"}},
        targetRef={"kind": "MeshGateway", "name": "edge", "tags": {"a": "b"}},
    ) == [("spec.targetRef.tags", "must not be set with kind MeshGateway")]


def test_the_schema_refuses_what_has_the_wrong_shape():
    """Operations differ between resources and filters; a virtual host needs a match."""
    with pytest.raises(ValidationError) as refused:
        _parsed(
            {
                "default": {
                    "appendModifications": [
                        {"cluster": {"operation": "AddFirst"}},
                        {"virtualHost": {"operation": "Remove"}},
                    ]
                }
            }
        )

    assert [(v.field, v.reason) for v in violations(refused.value, "spec")] == [
        (f"{ONE}.cluster.operation", "in body should be one of [Add Remove Patch]"),
        ("spec.default.appendModifications[1].virtualHost.match", "in body is required"),
    ]


def test_deprecated_targets_are_named():
    """As for every policy."""
    spec = {"targetRef": {"kind": "MeshSubset"}, "default": {"appendModifications": []}}

    assert list(warnings(_parsed(spec))) == [
        "MeshSubset value for 'targetRef.kind' is deprecated, use Dataplane with labels instead"
    ]
