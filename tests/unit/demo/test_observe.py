"""What the demo reads from the control plane's answers."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from kuma.demo.observe import Connections, ProxyState, read_connections, read_overview

ITEM = {
    "name": "web",
    "dataplaneInsight": {
        "subscriptions": [
            {"connectTime": "2026-03-01T10:00:00Z", "disconnectTime": "2026-03-01T11:00:00Z"},
            {"connectTime": "2026-03-01T12:00:00Z", "status": {"total": {"responsesRejected": "2"}}},
        ],
        "mTLS": {"certificateExpirationTime": "2026-03-02T12:00:00.5Z", "issuedBackend": "ca-1"},
    },
}


def test_newest_connection_counts():
    """A proxy that was away and came back is online, with its certificate and what its Envoy refused."""
    assert read_overview({"items": [ITEM]}) == {
        "web": ProxyState(
            online=True,
            certificate_ends=datetime(2026, 3, 2, 12, 0, 0, 500_000, tzinfo=UTC),
            backend="ca-1",
            refused=2,
        )
    }


@pytest.mark.parametrize(
    "insight",
    [None, {}, {"subscriptions": []}, {"subscriptions": [{"connectTime": "x", "disconnectTime": "y"}]}],
)
def test_without_an_open_connection_it_is_offline(insight):
    """Never connected, or no longer."""
    assert read_overview({"items": [{"name": "kv", "dataplaneInsight": insight}]}) == {"kv": ProxyState(online=False)}


@pytest.mark.parametrize("answer", [{}, {"items": 7}, {"items": [{"dataplaneInsight": {}}]}, {"items": ["web"]}])
def test_other_answers_are_told_apart(answer):
    """What is no overview is not taken for an empty one."""
    with pytest.raises(ValueError, match="not an overview"):
        read_overview(answer)


def test_connections_of_one_service_are_added_up():
    """Only clusters of that service count, and only its own counters."""
    stats = (
        "cluster.kv.ssl.handshake: 30\ncluster.kv.upstream_cx_total: 31\n"
        "cluster.kv-2a.ssl.handshake: 4\ncluster.kv-2a.upstream_cx_total: 4\n"
        "cluster.api.ssl.handshake: 9\ncluster.kv.upstream_cx_total_extra: 100\n"
    )

    assert read_connections(stats, "kv") == Connections(made=35, encrypted=34)
