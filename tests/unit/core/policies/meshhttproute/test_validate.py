import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from kuma.core.errors import Violation
from kuma.core.model.spec import violations
from kuma.core.policies.meshhttproute import POLICY
from kuma.core.policies.meshhttproute.spec import MeshHTTPRoute
from kuma.core.policies.meshhttproute.validate import validate, warnings
from tests.policies.writer import Writer
from tests.unit.core.policies.test_policies import deciding, documents

RULE = "spec.to[0].rules[0]"
FILTER = f"{RULE}.default.filters[0]"
BACKENDS = f"{RULE}.default.backendRefs"
PREFIX = {"path": {"type": "PathPrefix", "value": "/v1"}}
GATEWAY = {"kind": "MeshGateway", "name": "edge"}
BACKEND = {"kind": "MeshService", "name": "web-v2"}


def _parsed(spec):
    return MeshHTTPRoute.model_validate_json(json.dumps(spec))


def _faults(spec):
    return [(found.field, found.reason) for found in validate(_parsed(spec))]


def _to(*rules, top=None, **fields):
    to = {"targetRef": {"kind": "Mesh"} if top else {"kind": "MeshService", "name": "web"}, "rules": rules, **fields}
    return {"targetRef": top, "to": [to]} if top else {"to": [to]}


def _rule(*matches, filters=(), backends=()):
    default = {"filters": filters} if filters else {}
    return {"matches": matches or [PREFIX], "default": {**default, **({"backendRefs": backends} if backends else {})}}


def _filter(kind, **fields):
    [(name, value)] = fields.items() if fields else [("type", kind)]
    return _to(_rule(filters=[{"type": kind, name: value}]))


def _values(count, kind="requestHeaderModifier"):
    return {"type": f"{kind[0].upper()}{kind[1:]}", kind: {"set": [{"name": "a", "value": "," * (count - 1)}]}}


@pytest.mark.parametrize(
    "spec",
    [
        {},
        _to(),
        _to(_rule(filters=[_values(400), _values(400), _values(400, "responseHeaderModifier")])),
        _to(_rule(PREFIX, {}, {"method": "GET"}, {"path": {"type": "RegularExpression", "value": "a+"}})),
        _to(_rule({"path": {"type": "PathPrefix", "value": "/"}}, {"path": {"type": "Exact", "value": "/a/"}})),
        _to(_rule({"headers": [{"name": "a"}, {"name": "b", "type": "Prefix"}, {"name": "c", "type": "Absent"}]})),
        _to(_rule(backends=[BACKEND, {"kind": "MeshMultiZoneService", "name": "web", "port": 80, "weight": 0}])),
        _to(_rule(backends=[BACKEND]), top=GATEWAY, hostnames=["*.example.com"]),
        _to(_rule(filters=[{"type": "RequestRedirect", "requestRedirect": {}}]), top=GATEWAY),
        _filter("RequestHeaderModifier", requestHeaderModifier={"set": [{"name": "a", "value": "%PROTOCOL%, 9%%"}]}),
        _filter("URLRewrite", urlRewrite={"path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": ""}}),
        _filter("RequestMirror", requestMirror={"percentage": "12.5", "backendRef": BACKEND}),
    ],
)
def test_sound_policies_are_accepted(spec):
    """Every kind of match, filter and backend."""
    assert _faults(spec) == []


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (
            {"targetRef": {"kind": "MeshHTTPRoute", "name": "r"}},
            [("spec.targetRef.kind", "value 'MeshHTTPRoute' is not supported")],
        ),
        (
            {"to": [{"targetRef": {"kind": "Mesh"}, "rules": []}]},
            [("spec.to[0].targetRef.kind", "value 'Mesh' is not supported")],
        ),
        (
            {"targetRef": GATEWAY, "to": [{"targetRef": BACKEND, "rules": []}]},
            [("spec.to[0].targetRef.kind", "value 'MeshService' is not supported")],
        ),
        (_to(hostnames=["a.example.com"]), [("spec.to[0].hostnames", "must not be defined")]),
        (_to(_rule(), top=GATEWAY), [(BACKENDS, "must not be empty")]),
        (
            _to(_rule(filters=[_values(400), _values(400), _values(1)])),
            [(f"{RULE}.default.filters", "must not give more than 800 request header values together")],
        ),
        (
            _to(
                _rule(
                    {"path": {"type": "PathPrefix", "value": "v1/"}},
                    {"path": {"type": "Exact", "value": "v1"}},
                    {"path": {"type": "RegularExpression", "value": "x("}},
                )
            ),
            [
                (
                    f"{RULE}.matches[0].path.value",
                    "does not need a trailing slash because only a `/`-separated prefix or an entire path is matched",
                ),
                (f"{RULE}.matches[0].path.value", "must be an absolute path"),
                (f"{RULE}.matches[1].path.value", "must be an absolute path"),
                (f"{RULE}.matches[2].path.value", "must be a valid regular expression (RE2): missing ): x("),
            ],
        ),
        (
            _to(
                _rule(
                    {
                        "headers": [
                            {"name": "a", "type": "Present", "value": "x"},
                            {"name": "b", "type": "Absent", "value": "x"},
                            {"name": "c", "type": "RegularExpression"},
                        ],
                        "queryParams": [
                            {"name": "q", "type": "Exact", "value": "1"},
                            {"name": "q", "type": "RegularExpression", "value": "(?!x)"},
                        ],
                    }
                )
            ),
            [
                (f"{RULE}.matches[0].queryParams[1].name", "multiple entries for name q"),
                (
                    f"{RULE}.matches[0].queryParams[1].value",
                    "must be a valid regular expression (RE2): invalid perl operator: (?!",
                ),
                (f"{RULE}.matches[0].headers[0].value", "must not be defined"),
                (f"{RULE}.matches[0].headers[1].value", "must not be defined"),
                (f"{RULE}.matches[0].headers[2].value", "must be defined"),
            ],
        ),
        (
            _to(
                _rule(
                    backends=[
                        {"kind": "Mesh"},
                        {"kind": "MeshMultiZoneService", "name": "web"},
                        {"kind": "MeshService", "name": "Web"},
                    ]
                )
            ),
            [
                (f"{BACKENDS}[0].kind", "value 'Mesh' is not supported"),
                (f"{BACKENDS}[1].port", "must be defined with kind MeshMultiZoneService"),
                (
                    f"{BACKENDS}[2].name",
                    "invalid characters: must consist of lower case alphanumeric characters, '-', '.' and '_'.",
                ),
            ],
        ),
        (
            _to(_rule(backends=[{**BACKEND, "weight": 2**31 - 1}] * 3)),
            [(BACKENDS, "the weights must not add up to more than 4294967295")],
        ),
    ],
)
def test_every_fault_is_named_where_it_is(spec, expected):
    """All violations at once, with the paths and sentences of Kuma; what Envoy would refuse is refused here."""
    assert _faults(spec) == expected


@pytest.mark.parametrize(
    ("kind", "field"),
    [
        ("RequestHeaderModifier", "requestHeaderModifier"),
        ("ResponseHeaderModifier", "responseHeaderModifier"),
        ("RequestRedirect", "requestRedirect"),
        ("URLRewrite", "urlRewrite"),
        ("RequestMirror", "requestMirror"),
    ],
)
def test_a_filter_needs_the_part_of_its_type(kind, field):
    """The type alone says nothing."""
    assert _faults(_filter(kind)) == [(f"{FILTER}.{field}", "must be defined")]


@pytest.mark.parametrize(
    ("kind", "field", "value", "expected"),
    [
        (
            "RequestHeaderModifier",
            "requestHeaderModifier",
            {},
            [("", "must have at least one defined: set, add, remove")],
        ),
        (
            "ResponseHeaderModifier",
            "responseHeaderModifier",
            {"set": [{"name": "a", "value": "1"}], "add": [{"name": "a", "value": "2"}], "remove": ["b", "b"]},
            [(".add[0].name", "duplicate header name"), (".remove[1].name", "duplicate header name")],
        ),
        (
            "RequestHeaderModifier",
            "requestHeaderModifier",
            {
                "set": [{"name": "host", "value": "100%"}],
                "add": [{"name": "a", "value": "x\ny"}],
                "remove": ["Host", ":x"],
            },
            [
                (".set[0].name", "Envoy does not let the host header be changed; rewrite the hostname instead"),
                (
                    ".set[0].value",
                    "has a % at character 4 that starts no command; a percent sign is written %%",
                ),
                (".add[0].value", "must not contain line breaks or control characters"),
                (".remove[0]", "Envoy does not let the host header be changed; rewrite the hostname instead"),
                (".remove[1]", "must be a header name of 1 to 256 characters"),
            ],
        ),
        (
            "RequestHeaderModifier",
            "requestHeaderModifier",
            {"add": [{"name": "a", "value": "," * 400}]},
            [(".add", "must not have more than 400 values")],
        ),
        (
            "RequestRedirect",
            "requestRedirect",
            {"hostname": "10.0.0.1", "path": {"type": "ReplaceFullPath"}},
            [(".path.replaceFullPath", "must be defined"), (".hostname", "cannot be an IP address")],
        ),
        (
            "URLRewrite",
            "urlRewrite",
            {"hostname": "a.example.com", "hostToBackendHostname": True, "path": {"type": "ReplacePrefixMatch"}},
            [
                (".path.replacePrefixMatch", "must be defined"),
                (".hostToBackendHostname", "can only be set with MeshGateway"),
                (".hostToBackendHostname", "cannot be set together with hostname"),
            ],
        ),
        (
            "RequestMirror",
            "requestMirror",
            {"percentage": 101, "backendRef": {"kind": "MeshExternalService", "name": "x"}},
            [
                (".backendRef.kind", "value 'MeshExternalService' is not supported"),
                (".percentage", "must be in inclusive range [0.0, 100.0]"),
            ],
        ),
    ],
)
def test_every_fault_of_a_filter_is_named_where_it_is(kind, field, value, expected):
    """Filters are refused when Kuma refuses them, and when Envoy would."""
    found = _faults(_filter(kind, **{field: value}))

    assert found == [(f"{FILTER}.{field}{path}", reason) for path, reason in expected]


@pytest.mark.parametrize(("kind", "field"), [("RequestRedirect", "requestRedirect"), ("URLRewrite", "urlRewrite")])
def test_a_prefix_can_only_be_replaced_where_every_match_has_one(kind, field):
    """Without a path there is no prefix, although every path matches."""
    rewrite = {"type": kind, field: {"path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/x"}}}
    sentence = "can only appear if all matches match a path prefix"

    assert _faults(_to(_rule(PREFIX, filters=[rewrite]))) == []
    assert _faults(_to(_rule(PREFIX, {"method": "GET"}, filters=[rewrite]))) == [
        (f"{FILTER}.{field}.path.replacePrefixMatch", sentence)
    ]


@pytest.mark.parametrize(
    ("spec", "field", "reason"),
    [
        ({"to": [{"targetRef": BACKEND}]}, "spec.to[0].rules", "in body is required"),
        (_to({"default": {}}), f"{RULE}.matches", "in body is required"),
        (_to({"matches": [], "default": {}}), f"{RULE}.matches", "in body should have at least 1 items"),
        (_to({"matches": [{}]}), f"{RULE}.default", "in body is required"),
        (
            _to(_rule({"method": "get"})),
            f"{RULE}.matches[0].method",
            "in body should be one of [CONNECT DELETE GET HEAD OPTIONS PATCH POST PUT TRACE]",
        ),
        (
            _filter("RequestRedirect", requestRedirect={"statusCode": 304}),
            f"{FILTER}.requestRedirect.statusCode",
            "in body should be one of [301 302 303 307 308]",
        ),
    ],
)
def test_the_schema_refuses_what_has_the_wrong_shape(spec, field, reason):
    """Required fields and enumerations are checked before anything else."""
    with pytest.raises(ValidationError) as refused:
        _parsed(spec)

    assert [(v.field, v.reason) for v in violations(refused.value, "spec")] == [(field, reason)]


@pytest.mark.parametrize(
    "spec",
    [
        _to(_rule({"path": {"type": "Exact", "value": ""}})),
        _to(_rule({"headers": [{"name": "Upper"}]})),
        _filter("RequestRedirect", requestRedirect={"port": 0}),
        _filter("URLRewrite", urlRewrite={"hostname": "a b"}),
        _filter("RequestHeaderModifier", requestHeaderModifier={"remove": ["a"] * 17}),
        _to(_rule(backends=[{**BACKEND, "weight": -1}])),
    ],
)
def test_the_schema_knows_the_limits(spec):
    """Lengths, ranges and patterns of Kuma's schema hold."""
    with pytest.raises(ValidationError):
        _parsed(spec)


def test_schema_defaults_are_kept_with_the_policy():
    """Weights, the way to match a header and the status of a redirect are stored as Kuma's schema fills them in."""
    redirect = {"type": "RequestRedirect", "requestRedirect": {}}
    spec = _parsed(_to(_rule({"headers": [{"name": "a"}]}, filters=[redirect], backends=[BACKEND])))
    [rule] = spec.to_json()["to"][0]["rules"]

    assert rule["matches"] == [{"headers": [{"type": "Exact", "name": "a"}]}]
    assert rule["default"]["filters"] == [{"type": "RequestRedirect", "requestRedirect": {"statusCode": 302}}]
    assert rule["default"]["backendRefs"] == [{**BACKEND, "weight": 1}]


def test_the_writer_is_told_what_has_no_effect():
    """Backends that cannot be reached and filters beside a redirect are accepted and named."""
    mirror = {"type": "RequestMirror", "requestMirror": {"backendRef": {"kind": "MeshService", "labels": {"a": "b"}}}}
    redirect = {"type": "RequestRedirect", "requestRedirect": {}}
    refs = [{**BACKEND, "port": 80}, {**BACKEND, "namespace": "ns"}, {"kind": "MeshExternalService", "name": "out"}]

    assert list(warnings(_parsed(_to(_rule(backends=[BACKEND]))))) == []
    assert list(warnings(_parsed(_to(_rule(filters=[mirror, redirect], backends=refs))))) == [
        f"{BACKENDS}: has no effect, because a filter redirects the requests",
        f"{FILTER}: has no effect, because another filter redirects the requests",
        (
            f"{FILTER}.requestMirror.backendRef: MeshService with labels needs a port or sectionName, "
            "this backend gets no traffic"
        ),
        (
            f"{BACKENDS}[0]: MeshService with port or sectionName is not supported yet, this backend gets no traffic; "
            "with name alone it stands for a kuma.io/service"
        ),
        f"{BACKENDS}[1].namespace: is ignored without port or sectionName, name is taken for a kuma.io/service",
        f"{BACKENDS}[2]: MeshExternalService is not supported yet, this backend gets no traffic",
    ]


def test_the_writer_is_told_of_rules_that_no_request_reaches():
    """A match of the prefix `/` comes before expressions and before matches without a path, and takes everything."""
    regex = {"path": {"type": "RegularExpression", "value": "/a.*"}}
    everything = {"path": {"type": "PathPrefix", "value": "/"}}
    spec = _to(_rule({"headers": [{"name": "a"}]}, regex), _rule(everything), _rule({**everything, "method": "GET"}))

    assert list(warnings(_parsed(spec))) == [
        f"spec.to[0].rules[0].matches[{index}]: is never reached, because spec.to[0].rules[1].matches[0] "
        "comes before it and takes every request"
        for index in (1, 0)
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
