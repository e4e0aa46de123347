"""The state of a proxy is told from what the control plane knows, nothing is guessed."""

from datetime import UTC, datetime

import pytest

from kuma.ctl.overview import COLUMNS, row

NOW = datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)
OPEN = {"connectTime": "2023-11-14T22:00:00Z"}
CLOSED = {"connectTime": "2023-11-14T21:00:00Z", "disconnectTime": "2023-11-14T21:30:00Z"}
READY, DOWN = {"port": 80, "health": {"ready": True}}, {"port": 81, "health": {}, "tags": {"kuma.io/service": "web"}}


def _columns(networking, subscriptions, **insight) -> dict[str, str]:
    overview = {
        "mesh": "default",
        "name": "web-1",
        "dataplane": {"networking": networking},
        "dataplaneInsight": {"subscriptions": subscriptions, **insight},
    }
    return dict(zip(COLUMNS, row(overview, NOW), strict=True))


@pytest.mark.parametrize(
    "networking, subscriptions, status",
    [
        ({"inbound": [{"port": 80}]}, [CLOSED, OPEN], "Online"),
        ({"inbound": [{"port": 80}]}, [CLOSED], "Offline"),
        ({"inbound": [{"port": 80}]}, [], "Offline"),
        ({"inbound": [READY, DOWN]}, [OPEN], "Partially degraded"),
        ({"inbound": [READY, {"port": 81, "state": "NotReady"}]}, [OPEN], "Partially degraded"),
        ({"inbound": [DOWN]}, [OPEN], "Offline"),
        ({"inbound": [READY], "listeners": [{"port": 1, "state": "NotReady"}]}, [OPEN], "Partially degraded"),
        ({"gateway": {"type": "DELEGATED"}, "inbound": [DOWN]}, [OPEN], "Online"),
        ({"gateway": {"type": "DELEGATED"}}, [CLOSED], "Offline"),
        ({}, [OPEN], "Online"),
    ],
)
def test_status_joins_connection_and_health(networking, subscriptions, status):
    """Online needs an open connection and all inbounds ready; a gateway only the connection."""
    assert _columns(networking, subscriptions)["STATUS"] == status


def test_notes_say_what_is_not_ready():
    """Port and service of each inbound and listener."""
    notes = _columns(
        {"inbound": [READY, DOWN], "listeners": [{"port": 9, "type": "ZoneEgress", "state": "NotReady"}]}, []
    )
    assert notes["NOTES"] == "inbound[port=81,svc=web] is not ready;listener[port=9,type=ZoneEgress] is not ready"


def test_totals_and_times_come_from_the_subscriptions():
    """Counters are summed over all, times and versions are those of the latest connection."""
    first = {**CLOSED, "status": {"total": {"responsesSent": "5", "responsesRejected": "1"}}}
    last = {
        **OPEN,
        "status": {"lastUpdateTime": "2023-11-14T22:13:00Z", "total": {"responsesSent": "7"}},
        "version": {
            "kumaDp": {"version": "2.14.3"},
            "envoy": {"version": "1.40.0"},
            "dependencies": {"coredns": "1.8"},
        },
    }
    found = _columns({}, [last, first])
    assert (found["TOTAL UPDATES"], found["TOTAL ERRORS"]) == ("12", "1")
    assert (found["LAST CONNECTED AGO"], found["LAST UPDATED AGO"]) == ("13m", "20s")
    assert (found["KUMA-DP VERSION"], found["ENVOY VERSION"]) == ("2.14.3", "1.40.0")
    assert found["DEPENDENCIES VERSIONS"] == "coredns: 1.8"


def test_certificates_are_shown_when_there_are_some():
    """A dash without mTLS."""
    mtls = {
        "certificateExpirationTime": "2023-11-15T22:13:20.5+00:00",
        "lastCertificateRegeneration": "2023-11-14T22:12:20Z",
        "certificateRegenerations": 3,
        "issuedBackend": "ca-1",
        "supportedBackends": ["ca-1", "ca-2"],
    }
    names = COLUMNS[8:13]
    with_mtls, without = _columns({}, [], mTLS=mtls), _columns({}, [])
    assert [with_mtls[name] for name in names] == ["1m", "2023-11-15 22:13:20", "3", "ca-1", "ca-1,ca-2"]
    assert [without[name] for name in names] == ["never", "-", "0", "-", "-"]
    assert _columns({}, [], mTLS={"certificateRegenerations": 1})["CERT BACKEND"] == "unknown"


def test_an_empty_overview_is_a_row():
    """A proxy that never connected."""
    assert len(row({}, NOW)) == len(COLUMNS)
    assert row({"dataplaneInsight": {"subscriptions": [{"status": {"total": {"responsesSent": "x"}}}]}}, NOW)[6] == "0"
