import json

import pytest
from pydantic import ValidationError

from kuma.core.model.spec import violations
from kuma.core.policies.meshretry.spec import MeshRetry
from kuma.core.policies.meshretry.validate import validate, warnings

MESH = {"kind": "Mesh"}
OK = {"http": {"numRetries": 1}}
CONF = "spec.to[0].default.conf"


def _parsed(spec):
    return MeshRetry.model_validate_json(json.dumps(spec))


def _faults(spec):
    return [(found.field, found.reason) for found in validate(_parsed(spec))]


def _to(conf, **ref):
    return {"to": [{"targetRef": ref or MESH, "default": conf}]}


@pytest.mark.parametrize(
    "spec",
    [
        _to(OK, kind="MeshHTTPRoute", name="r"),
        _to({"tcp": {"maxConnectAttempt": 5}}),
        _to({"grpc": {"retryOn": ["Canceled"], "backOff": {"maxInterval": "1s"}}}),
        _to({"http": {"retryOn": ["5xx", "503", "HttpMethodPatch"], "perTryTimeout": "0s"}}),
        {"targetRef": {"kind": "MeshGateway", "name": "edge"}, **_to(OK, kind="MeshExternalService", name="x")},
    ],
)
def test_sound_policies_are_accepted(spec):
    """Each protocol, and references in their usual forms."""
    assert _faults(spec) == []


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({}, [("spec.to", "needs at least one item")]),
        (
            {"targetRef": {"kind": "MeshHTTPRoute", "name": "r"}, **_to(OK, kind="MeshService", name="x")},
            [("spec.to[0].targetRef.kind", "value 'MeshService' is not supported")],
        ),
        (
            {"targetRef": {"kind": "Dataplane", "sectionName": "s"}, **_to(OK)},
            [("spec.targetRef.sectionName", "can only be used with inbound policies")],
        ),
        (_to({}), [(CONF, "at least one of the 'tcp', 'http', 'grpc' must be specified")]),
        (
            _to({"tcp": {}, "http": {"hostSelectionMaxAttempts": 1}, "grpc": {}}),
            [(f"{CONF}.{name}", "must not be empty") for name in ("tcp", "http", "grpc")],
        ),
        (_to({"tcp": {"maxConnectAttempt": 0}}), [(f"{CONF}.tcp.maxConnectAttempt", "must be greater than 0")]),
        (
            _to({"http": {"retryOn": ["x", "999", "5xx"]}}),
            [(f"{CONF}.http.retryOn[0]", "unknown item 'x'"), (f"{CONF}.http.retryOn[1]", "unknown item '999'")],
        ),
        (
            _to({"grpc": {"perTryTimeout": "-1s", "backOff": {}, "rateLimitedBackOff": {"maxInterval": "0s"}}}),
            [
                (f"{CONF}.grpc.perTryTimeout", "must not be negative when defined"),
                (f"{CONF}.grpc.backOff", "must not be empty"),
                (f"{CONF}.grpc.rateLimitedBackOff.maxInterval", "must be defined and greater than zero"),
                (f"{CONF}.grpc.rateLimitedBackOff.resetHeaders", "must be defined"),
            ],
        ),
        (
            _to({"http": {"backOff": {"baseInterval": "0s"}}}),
            [(f"{CONF}.http.backOff.baseInterval", "must be greater than zero when defined")],
        ),
        (
            _to(
                {
                    "http": {
                        "hostSelection": [
                            {"predicate": "OmitHostsWithTags"},
                            {"predicate": "OmitPreviousPriorities"},
                            {"predicate": "OmitPreviousPriorities", "updateFrequency": 0},
                        ]
                    }
                }
            ),
            [
                (f"{CONF}.http.hostSelection[0].tags", "must be defined"),
                (f"{CONF}.http.hostSelection[2].predicate", "OmitPreviousPriorities must only be specified once"),
                (f"{CONF}.http.hostSelection[2].updateFrequency", "must be defined and greater than zero"),
            ],
        ),
        (
            _to({"http": {"retriableRequestHeaders": [{"name": "a", "type": "RegularExpression", "value": "x("}]}}),
            [
                (
                    f"{CONF}.http.retriableRequestHeaders[0].value",
                    "must be a valid regular expression (RE2): missing ): x(",
                )
            ],
        ),
        (
            _to({"http": {"retriableResponseHeaders": [{"name": "a", "type": "Prefix"}]}}),
            [(f"{CONF}.http.retriableResponseHeaders[0].value", "must be defined")],
        ),
    ],
)
def test_every_fault_is_named_where_it_is(spec, expected):
    """All violations at once, with the paths of Kuma; what Envoy would refuse is refused here."""
    assert _faults(spec) == expected


@pytest.mark.parametrize(
    ("conf", "field", "reason"),
    [
        (
            {"grpc": {"retryOn": ["Nope"]}},
            "grpc.retryOn[0]",
            "in body should be one of [Canceled DeadlineExceeded Internal ResourceExhausted Unavailable]",
        ),
        ({"http": {"numRetries": -1}}, "http.numRetries", "must be a whole number from 0 to 2147483647"),
        ({"http": {"hostSelection": [{}]}}, "http.hostSelection[0].predicate", "in body is required"),
    ],
)
def test_the_schema_refuses_what_has_the_wrong_shape(conf, field, reason):
    """Types, enumerations and limits are checked before anything else."""
    with pytest.raises(ValidationError) as refused:
        _parsed(_to(conf))

    assert [(v.field, v.reason) for v in violations(refused.value, "spec")] == [(f"spec.to[0].default.{field}", reason)]


def test_schema_defaults_are_kept_with_the_policy():
    """The update frequency and the way to match a header are stored as Kuma's schema fills them in."""
    spec = _to(
        {"http": {"hostSelection": [{"predicate": "OmitPreviousHosts"}], "retriableRequestHeaders": [{"name": "a"}]}}
    )
    http = _parsed(spec).to_json()["to"][0]["default"]["http"]

    assert http["hostSelection"] == [{"predicate": "OmitPreviousHosts", "updateFrequency": 2}]
    assert http["retriableRequestHeaders"] == [{"type": "Exact", "name": "a"}]


def test_the_writer_is_told_what_has_no_effect():
    """References to kinds that come later are accepted and named; those to routes work."""
    assert list(warnings(_parsed(_to(OK)))) == []
    assert list(warnings(_parsed(_to(OK, kind="MeshHTTPRoute", name="r")))) == []
    assert list(warnings(_parsed(_to(OK, kind="MeshExternalService", name="x")))) == [
        "spec.to[0].targetRef: MeshExternalService is not supported yet, this entry has no effect"
    ]
