import json

import pytest
from pydantic import ValidationError

from kuma.core.model.spec import violations
from kuma.core.policies.meshaccesslog.spec import MeshAccessLog
from kuma.core.policies.meshaccesslog.validate import validate, warnings

MESH = {"kind": "Mesh"}
FILE = {"type": "File", "file": {"path": "/logs/a"}}
ONE = "spec.rules[0].default.backends[0]"


def _parsed(spec):
    return MeshAccessLog.model_validate_json(json.dumps(spec))


def _faults(spec):
    return [(found.field, found.reason) for found in validate(_parsed(spec))]


def _rules(*backends, **more):
    return {"rules": [{"default": {"backends": list(backends)}, **more}]}


def _to(*backends, **ref):
    return {"to": [{"targetRef": ref or MESH, "default": {"backends": list(backends)}}]}


def _file(**format):
    return {"type": "File", "file": {"path": "/a", "format": format}}


def _otel(**more):
    return {"type": "OpenTelemetry", "openTelemetry": more}


@pytest.mark.parametrize(
    "spec",
    [
        _rules(),
        _rules(FILE, matches=[{}, {"spiffeID": {"type": "Prefix", "value": "spiffe://default"}}]),
        {**_to(FILE), "from": [{"targetRef": MESH, "default": {"backends": []}}]},
        _to(FILE, kind="MeshService", name="backend"),
        _to(FILE, kind="MeshHTTPRoute", name="r"),
        _rules(_file(type="Plain", plain="100%% [%START_TIME(%Y/%m/%d %H:%M)%] %REQ(:PATH?X-A):20% %KUMA_ZONE%")),
        _rules(_file(type="Json", json=[{"key": "a", "value": "%KUMA_MESH%"}], omitEmptyValues=True)),
        _rules(*({"type": "Tcp", "tcp": {"address": at}} for at in ("127.0.0.1:5000", "logs.mesh", "[::1]:1"))),
        _rules(_otel(endpoint="collector"), _otel(endpoint="10.0.0.1:4317", body="%PROTOCOL%")),
        _rules(_otel(backendRef={"kind": "MeshOpenTelemetryBackend", "labels": {"a": "b"}})),
        _rules(_otel(endpoint="a:1", body={"kvlistValue": {"values": [{"key": "k", "value": {"stringValue": "1"}}]}})),
        _rules(_otel(endpoint="a:1", body={})),
    ],
)
def test_sound_policies_are_accepted(spec):
    """Every backend, text and JSON, placeholders and Envoy's commands."""
    assert _faults(spec) == []


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({}, [("spec", "at least one of 'from', 'to' or 'rules' has to be defined")]),
        ({**_rules(FILE), **_to(FILE)}, [("spec", "fields 'to' and 'from' must be empty when 'rules' is defined")]),
        ({"rules": [{"default": {}}]}, [("spec.rules[0].default.backends", "must be defined")]),
        (
            {"targetRef": {"kind": "MeshGateway", "name": "edge"}, **_to(FILE, kind="MeshService", name="x")},
            [("spec.to[0].targetRef.kind", "value 'MeshService' is not supported")],
        ),
        (
            {"targetRef": {"kind": "MeshHTTPRoute", "name": "r"}, **_to(FILE)},
            [("spec.targetRef.kind", "value 'MeshHTTPRoute' is not supported")],
        ),
        (
            _rules({"type": "File"}, {"type": "Tcp"}, {"type": "OpenTelemetry"}),
            [
                (f"spec.rules[0].default.backends[{index}].{name}", "must be defined")
                for index, name in enumerate(("file", "tcp", "openTelemetry"))
            ],
        ),
        (
            _rules({"type": "File", "file": {"path": "a.log"}}),
            [(f"{ONE}.file.path", "file backend requires a valid path")],
        ),
        (
            _rules({"type": "File", "file": {"path": "/var/log/"}}),
            [(f"{ONE}.file.path", "file backend requires a valid path")],
        ),
        *(
            (
                _rules(_file(type="Plain", plain=text)),
                [
                    (
                        f"{ONE}.file.format.plain",
                        "has a % at character 1 that starts no command; a percent sign is written %%",
                    )
                ],
            )
            for text in ("%%KUMA_MESH%%", "%REQ(x-%KUMA_ZONE%)%")
        ),
        (
            _rules({"type": "Tcp", "tcp": {"address": "http://x:1"}}),
            [(f"{ONE}.tcp.address", "tcp backend requires valid address")],
        ),
        (_rules(_file(type="Plain")), [(f"{ONE}.file.format.plain", "must be defined")]),
        (_rules(_file(type="Plain", plain="")), [(f"{ONE}.file.format.plain", "must not be empty")]),
        (_rules(_file(type="Json")), [(f"{ONE}.file.format.json", "must be defined")]),
        (_rules(_file(type="Json", json=[])), [(f"{ONE}.file.format.json", "must not be empty")]),
        (
            _rules(_file(type="Json", json=[{"key": "", "value": ""}, {"key": "a", "value": '"'}])),
            [
                (f"{ONE}.file.format.json[0].key", "key cannot be empty"),
                (f"{ONE}.file.format.json[0].value", "value cannot be empty"),
                (f"{ONE}.file.format.json[1]", "is not a valid JSON object"),
            ],
        ),
        (
            _rules(_file(type="Plain", plain="%KUMA_ZONE% 50% of %START_TIME%")),
            [
                (
                    f"{ONE}.file.format.plain",
                    "has a % at character 15 that starts no command; a percent sign is written %%",
                )
            ],
        ),
        (
            _rules(_otel(), _otel(endpoint="a:1", backendRef={"kind": "MeshOpenTelemetryBackend"})),
            [
                (f"{ONE}.openTelemetry", "openTelemetry must have exactly one defined: endpoint, backendRef"),
                (
                    "spec.rules[0].default.backends[1].openTelemetry",
                    "openTelemetry must have only one type defined: endpoint, backendRef",
                ),
                (
                    "spec.rules[0].default.backends[1].openTelemetry.backendRef",
                    "backendRef must have exactly one defined: labels",
                ),
            ],
        ),
        (
            _rules(_otel(endpoint="http://a:1")),
            [(f"{ONE}.openTelemetry.endpoint", "must be in host:port format, not a URL")],
        ),
        (
            _rules(_otel(endpoint="a:1", attributes=[{"key": "otel.x", "value": "%NO%"}], body="%NO%")),
            [
                (
                    f"{ONE}.openTelemetry.attributes[0].key",
                    "must not start with otel., which OpenTelemetry keeps for itself",
                ),
                (f"{ONE}.openTelemetry.attributes[0].value", "%NO% is no command that Envoy knows"),
                (f"{ONE}.openTelemetry.body", "%NO% is no command that Envoy knows"),
            ],
        ),
        (
            _rules(_otel(endpoint="a:1", body=5)),
            [(f"{ONE}.openTelemetry.body", "must be text or an OTLP AnyValue: an object or text is needed")],
        ),
    ],
)
def test_every_fault_is_named_where_it_is(spec, expected):
    """All violations at once, with the paths of Kuma; what Envoy would refuse is refused here."""
    assert _faults(spec) == expected


@pytest.mark.parametrize(
    "body",
    [
        {"intValue": 5},
        {"stringValueStrindex": 1},
        {"kvlistValue": {"values": [{"keyStrindex": 1, "value": {"stringValue": "a"}}]}},
        {"arrayValue": {"values": [{"stringValue": "a"}, {}]}},
        {"kvlistValue": {"values": [{"key": "a", "value": {"kvlistValue": {"values": [{"key": "b"}]}}}]}},
    ],
)
def test_a_body_envoy_does_not_take_is_refused(body):
    """It would refuse the whole listener, and later changes of it with that."""
    [(field, reason)] = _faults(_rules(_otel(endpoint="a:1", body=body)))

    assert field == f"{ONE}.openTelemetry.body"
    assert reason.endswith("Envoy takes texts, lists and key-value lists only; write other values as text")


def test_a_body_of_another_shape_is_refused_with_the_reason():
    """The reason is protobuf's."""
    [(field, reason)] = _faults(_rules(_otel(endpoint="a:1", body={"nope": 1})))

    assert field == f"{ONE}.openTelemetry.body"
    assert reason.startswith("must be text or an OTLP AnyValue: ")
    assert "nope" in reason


def test_the_schema_refuses_what_has_the_wrong_shape():
    """Enumerations, required fields and the form of attribute keys."""
    with pytest.raises(ValidationError) as refused:
        _parsed(_rules({"type": "Udp"}, _otel(attributes=[{"key": "A", "value": "x"}]), _file(plain="x")))

    found = {v.field: v.reason for v in violations(refused.value, "spec")}
    assert found[f"{ONE}.type"] == "in body should be one of [Tcp File OpenTelemetry]"
    assert "spec.rules[0].default.backends[1].openTelemetry.attributes[0].key" in found
    assert found["spec.rules[0].default.backends[2].file.format.type"] == "in body is required"


def test_schema_defaults_are_kept_with_the_policy():
    """An empty endpoint and `omitEmptyValues` are stored as Kuma's schema fills them in."""
    ref = {"kind": "MeshOpenTelemetryBackend", "labels": {"a": "b"}}
    [file, otel] = _parsed(_rules(_file(type="Plain", plain="x"), _otel(backendRef=ref))).to_json()["rules"][0][
        "default"
    ]["backends"]

    assert file["file"]["format"] == {"type": "Plain", "plain": "x", "omitEmptyValues": False}
    assert otel["openTelemetry"] == {"endpoint": "", "backendRef": ref}


def test_the_writer_is_told_what_is_deprecated_or_has_no_effect():
    """Endpoints inline, `from`, collectors as resources, servers without a port."""
    ref = {"kind": "MeshOpenTelemetryBackend", "labels": {"a": "b"}}
    spec = {
        "from": [{"targetRef": MESH, "default": {"backends": [{"type": "Tcp", "tcp": {"address": "logs"}}]}}],
        **_to(_otel(endpoint="a:1"), _otel(backendRef=ref)),
    }

    assert list(warnings(_parsed(_rules(FILE)))) == []
    assert list(warnings(_parsed(spec))) == [
        "'from' field is deprecated, use 'rules' instead",
        (
            "openTelemetry.endpoint is deprecated, use openTelemetry.backendRef with a "
            "MeshOpenTelemetryBackend resource instead"
        ),
        (
            "spec.to[0].default.backends[1].openTelemetry.backendRef: MeshOpenTelemetryBackend is not supported "
            "yet, this backend has no effect; use openTelemetry.endpoint"
        ),
        "spec.from[0].default.backends[0].tcp.address: has no port, so no line can be delivered",
    ]
