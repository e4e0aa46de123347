import json

import pytest

from kuma.core.policies.meshcircuitbreaker.spec import MeshCircuitBreaker
from kuma.core.policies.meshcircuitbreaker.validate import validate, warnings

MESH = {"kind": "Mesh"}
OK = {"connectionLimits": {"maxConnections": 1}}
NOTHING = "at least one of: 'connectionLimits' or 'outlierDetection' should be configured"


def _parsed(spec):
    return MeshCircuitBreaker.model_validate_json(json.dumps(spec))


def _faults(spec):
    return [(found.field, found.reason) for found in validate(_parsed(spec))]


def _to(conf, **ref):
    return {"to": [{"targetRef": ref or MESH, "default": conf}]}


def _detecting(**detectors):
    return _to({"outlierDetection": {"detectors": detectors}})


@pytest.mark.parametrize(
    "spec",
    [
        _to(OK),
        _to(OK, kind="MeshMultiZoneService", name="web"),
        {"from": [{"targetRef": MESH, "default": OK}]},
        {"targetRef": {"kind": "Dataplane", "sectionName": "http"}, "rules": [{"default": OK}]},
        _detecting(totalFailures={}),
        _detecting(successRate={"standardDeviationFactor": 2}, failurePercentage={"threshold": 0}),
    ],
)
def test_sound_policies_are_accepted(spec):
    """Every list, and detectors with their defaults."""
    assert _faults(spec) == []


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({}, [("spec", "at least one of 'from', 'to' or 'rules' has to be defined")]),
        (
            {**_to(OK), "rules": [{"default": OK}]},
            [("spec", "fields 'to' and 'from' must be empty when 'rules' is defined")],
        ),
        (_to({}), [("spec.to[0].default", NOTHING)]),
        ({"rules": [{"default": {}}]}, [("spec.from[0].default", NOTHING)]),
        (
            _to(OK, kind="MeshHTTPRoute", name="r"),
            [("spec.to[0].targetRef.kind", "value 'MeshHTTPRoute' is not supported")],
        ),
        (
            _to({"connectionLimits": {"maxConnections": 0, "maxRetries": 0}}),
            [
                ("spec.to[0].default.connectionLimits.maxConnections", "must be greater than 0"),
                ("spec.to[0].default.connectionLimits.maxRetries", "must be greater than 0"),
            ],
        ),
        (
            _to({"outlierDetection": {"disabled": True}}),
            [("spec.to[0].default.outlierDetection.detectors", "must be defined")],
        ),
        (
            _detecting(),
            [
                (
                    "spec.to[0].default.outlierDetection.detectors",
                    (
                        "must have at least one defined: "
                        "totalFailures, gatewayFailures, localOriginFailures, successRate, failurePercentage"
                    ),
                )
            ],
        ),
        (
            _to(
                {
                    "outlierDetection": {
                        "interval": "0s",
                        "baseEjectionTime": "-1s",
                        "maxEjectionPercent": 101,
                        "healthyPanicThreshold": "many",
                        "detectors": {
                            "totalFailures": {"consecutive": 0},
                            "successRate": {"minimumHosts": 0, "standardDeviationFactor": "-0.1"},
                            "failurePercentage": {"threshold": 200},
                        },
                    }
                }
            ),
            [
                (f"spec.to[0].default.outlierDetection.{field}", reason)
                for field, reason in (
                    ("interval", "must be greater than zero when defined"),
                    ("baseEjectionTime", "must be greater than zero when defined"),
                    ("maxEjectionPercent", "must be in inclusive range [0, 100]"),
                    ("healthyPanicThreshold", "string must be a valid number"),
                    ("detectors.totalFailures.consecutive", "must be greater than 0"),
                    ("detectors.successRate.minimumHosts", "must be greater than 0"),
                    ("detectors.successRate.standardDeviationFactor", "must be greater than 0"),
                    ("detectors.failurePercentage.threshold", "must be in inclusive range [0, 100]"),
                )
            ],
        ),
    ],
)
def test_every_fault_is_named_where_it_is(spec, expected):
    """All violations at once, with the paths and sentences of Kuma; faults of rules are shown under `from`."""
    assert _faults(spec) == expected


def test_the_writer_is_told_what_is_deprecated_or_without_effect():
    """Old forms work and say what replaces them; what cannot work yet says so."""
    old = {"from": [{"targetRef": MESH, "default": OK}]}

    assert list(warnings(_parsed(old))) == ["'from' field is deprecated, use 'rules' instead"]
    assert list(warnings(_parsed(_to(OK, kind="MeshService", name="web")))) == []
    assert list(warnings(_parsed(_to(OK, kind="MeshExternalService", name="web")))) == [
        "spec.to[0].targetRef: MeshExternalService is not supported yet, this entry has no effect"
    ]
