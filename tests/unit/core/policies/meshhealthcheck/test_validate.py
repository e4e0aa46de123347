import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from kuma.core.errors import Violation
from kuma.core.model.spec import violations
from kuma.core.policies.meshhealthcheck import POLICY
from kuma.core.policies.meshhealthcheck.spec import MeshHealthCheck
from kuma.core.policies.meshhealthcheck.validate import validate, warnings
from tests.policies.writer import Writer
from tests.unit.core.policies.test_policies import deciding, documents

CONF = "spec.to[0].default"
OK = {"tcp": {}}


def _parsed(spec):
    return MeshHealthCheck.model_validate_json(json.dumps(spec))


def _faults(spec):
    return [(found.field, found.reason) for found in validate(_parsed(spec))]


def _to(conf, **ref):
    return {"to": [{"targetRef": ref or {"kind": "Mesh"}, "default": conf}]}


@pytest.mark.parametrize(
    "spec",
    [
        {},
        _to(OK),
        _to({"grpc": {"disabled": True}}, kind="MeshService", name="web"),
        _to({"http": {"path": "/", "expectedStatuses": [100, 599]}, "healthyPanicThreshold": "0.5"}),
        _to({**OK, "eventLogPath": "/var/log/probes.log", "intervalJitterPercent": 100}),
    ],
)
def test_sound_policies_are_accepted(spec):
    """Every kind of probe."""
    assert _faults(spec) == []


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (_to({}), [(CONF, "must have at least one defined: http, tcp, grpc")]),
        (
            _to(OK, kind="MeshHTTPRoute", name="r"),
            [("spec.to[0].targetRef.kind", "value 'MeshHTTPRoute' is not supported")],
        ),
        (
            _to(
                {
                    "interval": "0s",
                    "timeout": "-1s",
                    "unhealthyThreshold": 0,
                    "healthyThreshold": 0,
                    "initialJitter": "0s",
                    "intervalJitter": "0s",
                    "intervalJitterPercent": 101,
                    "healthyPanicThreshold": "100.1",
                    "noTrafficInterval": "0s",
                    "eventLogPath": "probes.log",
                    "http": {
                        "path": "",
                        "expectedStatuses": [200, 99, 600],
                        "requestHeadersToAdd": {"set": [{"name": "host", "value": "%"}]},
                    },
                    "grpc": {"authority": "a\nb"},
                }
            ),
            [
                (f"{CONF}.{field}", reason)
                for field, reason in (
                    ("interval", "must be greater than zero when defined"),
                    ("timeout", "must be greater than zero when defined"),
                    ("unhealthyThreshold", "must be greater than zero when defined"),
                    ("healthyThreshold", "must be greater than zero when defined"),
                    ("initialJitter", "must be greater than zero when defined"),
                    ("intervalJitter", "must be greater than zero when defined"),
                    ("intervalJitterPercent", "must be in inclusive range [0, 100]"),
                    ("healthyPanicThreshold", "must be in inclusive range [0.0, 100.0]"),
                    ("noTrafficInterval", "must be greater than zero when defined"),
                    ("eventLogPath", "must be a valid path when defined"),
                    ("http.path", "must be defined"),
                    (
                        "http.requestHeadersToAdd.set[0].name",
                        "Envoy does not let the host header be changed; rewrite the hostname instead",
                    ),
                    (
                        "http.requestHeadersToAdd.set[0].value",
                        "has a % at character 1 that starts no command; a percent sign is written %%",
                    ),
                    ("http.expectedStatuses[1]", "must be in inclusive range [100, 599]"),
                    ("http.expectedStatuses[2]", "must be in inclusive range [100, 599]"),
                    ("grpc.authority", "must not contain line breaks or control characters"),
                )
            ],
        ),
    ],
)
def test_every_fault_is_named_where_it_is(spec, expected):
    """All violations at once, with the paths and sentences of Kuma; what Envoy would refuse is refused here."""
    assert _faults(spec) == expected


def test_the_writer_is_told_what_is_deprecated_or_without_effect():
    """The panic threshold has moved to MeshCircuitBreaker; references to kinds that come later are named."""
    assert list(warnings(_parsed(_to(OK)))) == []
    assert list(warnings(_parsed(_to({**OK, "healthyPanicThreshold": 1}, kind="MeshExternalService", name="x")))) == [
        "spec.to[0].targetRef: MeshExternalService is not supported yet, this entry has no effect",
        (
            "healthyPanicThreshold for 'to[].default' is deprecated. The setting has been moved to MeshCircuitBreaker "
            "policy, please use MeshCircuitBreaker policy instead."
        ),
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
