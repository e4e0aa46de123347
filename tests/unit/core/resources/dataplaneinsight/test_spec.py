from kuma.core.resources.dataplaneinsight import DEFINITION
from kuma.core.resources.dataplaneinsight.spec import DataplaneInsight, Stats, Status

DOCUMENT = {
    "subscriptions": [
        {
            "id": "s1",
            "controlPlaneInstanceId": "cp-1",
            "connectTime": "2026-01-31T12:00:00Z",
            "disconnectTime": "2026-01-31T12:00:00.500Z",
            "status": {
                "lastUpdateTime": "2026-01-31T12:00:00.000001Z",
                "total": {"responsesSent": "5", "responsesAcknowledged": "4", "responsesRejected": "1"},
                "cds": {
                    "responsesRejected": "1",
                    "lastRejection": {"time": "2026-01-31T12:00:00Z", "version": "v", "message": "bad port"},
                },
                "eds": {},
            },
            "version": {
                "kumaDp": {"version": "2.14.3", "gitTag": "t", "kumaCpCompatible": True},
                "envoy": {"version": "1.40.0", "build": "b", "kumaDpCompatible": True},
                "dependencies": {"coredns": "1"},
            },
            "generation": 3,
        }
    ],
    "mTLS": {
        "certificateExpirationTime": "2026-02-01T12:00:00Z",
        "certificateRegenerations": 2,
        "issuedBackend": "ca-1",
        "supportedBackends": ["ca-1", "ca-2"],
    },
    "metadata": {"features": ["a"]},
    "openTelemetry": {"backends": [{"name": "o", "traces": {"enabled": True, "state": "ok"}}]},
}


def test_an_insight_is_printed_as_kuma_prints_it():
    """Counters are text, times end in Z, and the refusal of Envoy is there in its own words."""
    assert DEFINITION.spec.model_validate(DOCUMENT).to_json() == DOCUMENT


def test_a_new_stream_shows_empty_sections():
    """A section of counters is present from the start, also while all of them are zero."""
    assert Status(total=Stats(), cds=Stats()).to_json() == {"total": {}, "cds": {}}
    assert DataplaneInsight().to_json() == {}
