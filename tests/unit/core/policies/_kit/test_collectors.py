import pytest

from kuma.core.policies._kit.collectors import backend_refs_status


def _to(**labels):
    ref = {"backendRef": {"kind": "MeshOpenTelemetryBackend", "labels": labels}} if labels else {"endpoint": "a:1"}
    return {"type": "OpenTelemetry", "openTelemetry": ref}


@pytest.mark.parametrize(
    ("spec", "status", "message"),
    [
        ({}, "True", "No MeshOpenTelemetryBackend references configured"),
        (
            {"to": [{"default": {"backends": [_to(), {"type": "File", "file": {"path": "/a"}}]}}], "from": [{}]},
            "True",
            "No MeshOpenTelemetryBackend references configured",
        ),
        (
            {"rules": [{"default": {"backends": [_to(b="2", a="1"), _to(a="1", b="2")]}}]},
            "False",
            "Unresolved MeshOpenTelemetryBackend references: labels:a=1,b=2",
        ),
        (
            {
                "to": [{"default": {"backends": [_to(b="2")]}}],
                "from": [{"default": {"backends": [_to(a="1")]}}],
                "default": {"backends": [_to(c="3")]},
            },
            "False",
            "Unresolved MeshOpenTelemetryBackend references: labels:a=1, labels:b=2, labels:c=3",
        ),
    ],
)
def test_a_policy_says_which_collectors_it_does_not_find(spec, status, message):
    """Each reference once, wherever it stands."""
    [condition] = backend_refs_status(spec)["conditions"]

    assert condition == {
        "type": "BackendRefsResolved",
        "status": status,
        "reason": "AllBackendRefsResolved" if status == "True" else "UnresolvedBackendRefs",
        "message": message,
    }
