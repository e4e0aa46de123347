import re
from datetime import timedelta

import pytest

from kuma.core.policies._kit.spec import Match, SpiffeIdMatch, TargetRef
from kuma.core.policies._kit.validation import (
    decimal_percentage,
    match_violations,
    not_negative_duration,
    positive_duration,
    reference_warnings,
    tags_violations,
    target_ref_violations,
    top_level_warnings,
    uri_san_pattern,
)

EVERY_KIND = (
    "Mesh",
    "MeshSubset",
    "MeshGateway",
    "MeshService",
    "MeshExternalService",
    "MeshMultiZoneService",
    "MeshServiceSubset",
    "MeshHTTPRoute",
    "Dataplane",
)
BAD_NAME = "invalid characters: must consist of lower case alphanumeric characters, '-', '.' and '_'."


def _ref(**fields):
    if "proxyTypes" in fields:
        fields["proxyTypes"] = tuple(fields["proxyTypes"])
    return TargetRef.model_validate(fields)


def _faults(target, **options):
    options.setdefault("kinds", EVERY_KIND)
    return [(found.field, found.reason) for found in target_ref_violations(target, "ref", **options)]


@pytest.mark.parametrize(
    "target",
    [
        {"kind": "Mesh", "proxyTypes": ["Sidecar"]},
        {"kind": "Dataplane"},
        {"kind": "Dataplane", "labels": {"app": "web"}},
        {"kind": "Dataplane", "name": "web-1", "namespace": "ns"},
        {"kind": "MeshSubset", "tags": {"kuma.io/zone": "east"}, "proxyTypes": ["Gateway"]},
        {"kind": "MeshService", "name": "web_ns_svc_80", "sectionName": "http"},
        {"kind": "MeshService", "labels": {"app": "web"}, "sectionName": "http"},
        {"kind": "MeshHTTPRoute", "name": "route"},
        {"kind": "MeshExternalService", "labels": {"app": "web"}},
        {"kind": "MeshServiceSubset", "name": "web", "tags": {"version": "*"}},
        {"kind": "MeshGateway", "name": "edge"},
        {"kind": "MeshMultiZoneService", "tags": {"": ""}, "mesh": "x", "proxyTypes": []},
    ],
)
def test_references_in_their_allowed_forms_are_accepted(target):
    """Each kind takes the fields that belong to it."""
    assert _faults(_ref(**target)) == []


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ({}, [("ref.kind", "must be defined")]),
        ({"kind": "Mesh", "name": "x"}, [("ref.name", "using name with kind Mesh is not yet supported")]),
        ({"kind": "Mesh", "proxyTypes": []}, [("ref.proxyTypes", "must be undefined or have at least one element")]),
        (
            {"kind": "Mesh", "tags": {"a": "b"}, "sectionName": "s"},
            [
                ("ref.tags", "must not be set with kind Mesh"),
                ("ref.sectionName", "must not be set with kind Mesh"),
            ],
        ),
        (
            {"kind": "Dataplane", "labels": {"a": "b"}, "name": "x", "proxyTypes": ["Sidecar"]},
            [
                ("ref.proxyTypes", "must not be set with kind Dataplane"),
                ("ref.labels", "either labels or name and namespace must be specified"),
            ],
        ),
        (
            {"kind": "Dataplane", "sectionName": "s"},
            [("ref.sectionName", "can only be used with inbound policies")],
        ),
        ({"kind": "MeshService"}, [("ref", "name or labels must be set when kind is MeshService")]),
        ({"kind": "MeshService", "name": "A b"}, [("ref.name", BAD_NAME)]),
        (
            {"kind": "MeshHTTPRoute", "name": "r", "labels": {"a": "b"}, "sectionName": "s"},
            [
                ("ref.sectionName", "must not be set with kind MeshHTTPRoute"),
                ("ref.labels", "either labels or name and namespace must be specified"),
            ],
        ),
        (
            {"kind": "MeshExternalService", "name": "r", "labels": {"a": "b"}},
            [("ref.labels", "either labels or name must be specified")],
        ),
        ({"kind": "MeshServiceSubset"}, [("ref.name", "must be set when kind is MeshServiceSubset")]),
        (
            {"kind": "MeshGateway", "name": "edge", "tags": {"port": "http"}},
            [("ref.tags", "must not be set with kind MeshGateway")],
        ),
        (
            {"kind": "MeshSubset", "tags": {"a": "*"}},
            [
                (
                    'ref.tags["a"]',
                    "tag value must consist of alphanumeric characters, dots, dashes and underscores",
                )
            ],
        ),
    ],
)
def test_every_fault_of_a_reference_is_named_where_it_is(target, expected):
    """Paths and sentences are those Kuma's users and tools know; all faults come at once."""
    assert _faults(_ref(**target)) == expected


def test_a_kind_that_does_not_belong_here_is_refused():
    """Only the kinds allowed at that place pass, and a refused kind is the only complaint."""
    assert _faults(_ref(kind="MeshService"), kinds=("Mesh",)) == [("ref.kind", "value 'MeshService' is not supported")]


def test_options_widen_what_is_allowed():
    """Sections of a proxy for inbound policies, listener tags where gateways have them."""
    assert _faults(_ref(kind="Dataplane", sectionName="s"), inbound_policy=True) == []
    assert _faults(_ref(kind="MeshGateway", name="edge", tags={"port": "http/2"}), tags_on_gateway=True) == []


def test_tags_are_checked_by_name_and_value():
    """Each bad tag is named; an empty name is reported at the map."""
    found = [(v.field, v.reason) for v in tags_violations({"": "v", "b c": "", "d": "e f"}, "tags", selector=True)]

    assert found == [
        ("tags", "tag name must be non-empty"),
        (
            'tags["b c"]',
            "tag name must consist of alphanumeric characters, dots, dashes, slashes and underscores",
        ),
        ('tags["b c"]', "tag value must be non-empty"),
        (
            'tags["d"]',
            'tag value must consist of alphanumeric characters, dots, dashes, slashes and underscores or be "*"',
        ),
    ]


@pytest.mark.parametrize("kind", ["Exact", "Prefix"])
@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("spiffe://default", None),
        ("spiffe://default.zone-1.mesh.local/ns/a_b/sa/C.d", None),
        ("", "cannot be empty"),
        ("default/web", "scheme is missing or invalid"),
        ("spiffe://", "trust domain is missing"),
        ("spiffe:///web", "trust domain is missing"),
        (
            "spiffe://Default/web",
            "trust domain characters are limited to lowercase letters, numbers, dots, dashes, and underscores",
        ),
        ("spiffe://default/", "path cannot have a trailing slash"),
        ("spiffe://default//web", "path cannot contain empty segments"),
        ("spiffe://default/../web", "path cannot contain dot segments"),
        (
            "spiffe://default/web,x",
            "path segment characters are limited to letters, numbers, dots, dashes, and underscores",
        ),
        (
            "spiffe://default/web\n",
            "path segment characters are limited to letters, numbers, dots, dashes, and underscores",
        ),
    ],
)
def test_a_spiffe_id_must_be_one(kind, value, problem):
    """Prefixes are held to the same grammar as whole ids."""
    match = Match(spiffe_id=SpiffeIdMatch(type=kind, value=value))
    found = [(v.field, v.reason) for v in match_violations(match, "m")]

    assert found == ([] if problem is None else [("m.spiffeID", f"must be a valid Spiffe ID: {problem}")])


@pytest.mark.parametrize(
    ("sni", "expected"),
    [
        ({"type": "Exact", "value": "backend.mesh"}, []),
        ({"type": "Exact"}, [("m.sni.value", "must be set")]),
        ({"value": "a"}, [("m.sni.type", "must be set")]),
        ({"type": "Exact", "value": "a" * 254}, [("m.sni.value", "must be no more than 253 characters")]),
    ],
)
def test_a_server_name_needs_type_and_value(sni, expected):
    """Both fields of an SNI match are required, and the name has an end."""
    found = [(v.field, v.reason) for v in match_violations(Match.model_validate({"sni": sni}), "m")]

    assert found == expected


def test_a_server_name_must_be_a_domain_name():
    """Anything but a lower-case DNS name is refused, with Kubernetes' sentence."""
    [found] = match_violations(Match.model_validate({"sni": {"type": "Exact", "value": "not_valid"}}), "m")

    assert found.field == "m.sni.value"
    assert found.reason.startswith("a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters")


@pytest.mark.parametrize(
    ("kind", "sans", "matches"),
    [
        ("Exact", "spiffe://d/web", True),
        ("Exact", "spiffe://d/web,kuma://version/1", True),
        ("Exact", "spiffe://d/api,spiffe://d/web,kuma://version/1", True),
        ("Exact", "spiffe://d/web-2", False),
        ("Exact", "kuma://spiffe://d/web,spiffe://d/api", False),
        ("Exact", "spiffe://dxweb", False),
        ("Prefix", "spiffe://d/web-2,kuma://version/1", True),
        ("Prefix", "spiffe://d/api,spiffe://d/web-2", True),
        ("Prefix", "kuma://spiffe://d/web/x", False),
    ],
)
def test_an_identity_is_found_among_all_uris_of_a_certificate(kind, sans, matches):
    """Any URI of the certificate counts, and none can be smuggled in as a part of another."""
    pattern = uri_san_pattern(SpiffeIdMatch(type=kind, value="spiffe://d/web"))

    assert bool(re.fullmatch(pattern, sans)) is matches


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, []),
        ("99.5", []),
        (None, []),
        ("x", ["string must be a valid number"]),
        ("100.1", ["must be in inclusive range [0.0, 100.0]"]),
    ],
)
def test_percentages_may_have_decimals(value, expected):
    """Numbers and numbers in text, between 0 and 100."""
    assert [found.reason for found in decimal_percentage(value, "p")] == expected


def test_deprecated_ways_to_select_proxies_are_named():
    """The writer learns what to use instead."""
    assert list(top_level_warnings(_ref(kind="MeshSubset"))) == [
        "MeshSubset value for 'targetRef.kind' is deprecated, use Dataplane with labels instead"
    ]
    assert list(top_level_warnings(_ref(kind="MeshHTTPRoute", name="r"))) == [
        "MeshHTTPRoute value for 'targetRef.kind' is deprecated, use MeshHTTPRoute in spec.to[].targetRef"
    ]
    assert list(top_level_warnings(_ref(kind="MeshGateway", name="edge"))) == [
        "spec.targetRef: MeshGateway is not supported yet, this policy has no effect"
    ]
    assert list(top_level_warnings(None)) == []


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ({"kind": "Mesh"}, []),
        ({"kind": "MeshService", "name": "web"}, []),
        ({"kind": "MeshHTTPRoute", "labels": {"a": "b"}}, []),
        (
            {"kind": "MeshMultiZoneService", "name": "web"},
            ["to: MeshMultiZoneService is not supported yet, this entry has no effect"],
        ),
        (
            {"kind": "MeshService", "labels": {"a": "b"}},
            ["to: MeshService with labels is not supported yet, this entry has no effect"],
        ),
        (
            {"kind": "MeshService", "name": "web", "sectionName": "http"},
            ["to: MeshService with sectionName is not supported yet, this entry has no effect"],
        ),
        (
            {"kind": "MeshService", "name": "web", "namespace": "ns"},
            ["to.namespace: is not supported yet, it is ignored and name is taken for a kuma.io/service"],
        ),
    ],
)
def test_a_reference_without_effect_is_never_accepted_in_silence(target, expected):
    """Kinds that come later are accepted, and the writer is told what they do today."""
    assert list(reference_warnings(_ref(**target), "to")) == expected


def test_an_endless_number_is_no_number():
    """A number too long to print is refused like any other text that is none."""
    assert [found.reason for found in decimal_percentage(10**5000, "p")] == ["string must be a valid number"]


@pytest.mark.parametrize("check", [positive_duration, not_negative_duration])
def test_a_duration_envoy_cannot_hold_is_refused(check):
    """Go writes up to 292 years, Envoy refuses the whole configuration for it; a century is enough."""
    found = [(v.field, v.reason) for v in check(timedelta(seconds=9223372036), "d")]

    assert found == [("d", "must not be longer than 876000h0m0s when defined")]
    assert list(check(timedelta(days=36_500), "d")) == []
