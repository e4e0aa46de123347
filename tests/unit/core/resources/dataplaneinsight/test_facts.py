import pytest

from kuma.core.resources.dataplane.spec import Dataplane
from kuma.core.resources.dataplaneinsight.facts import ProxyStatus, is_online, last_subscription, proxy_status
from kuma.core.resources.dataplaneinsight.spec import DataplaneInsight

OPEN = {"id": "open", "connectTime": "2026-01-31T12:00:00Z"}
CLOSED = {"id": "closed", "connectTime": "2026-01-31T12:00:00Z", "disconnectTime": "2026-01-31T12:01:00Z"}


def insight(*subscriptions):
    """An insight with these streams."""
    return DataplaneInsight.model_validate({"subscriptions": subscriptions})


@pytest.mark.parametrize(
    "one, online",
    [
        (None, False),
        (insight(), False),
        (insight(CLOSED), False),
        (insight({"id": "never"}), False),
        (insight(OPEN), True),
        (insight(OPEN, CLOSED), True),
    ],
)
def test_any_open_stream_means_online(one, online):
    """A proxy is online while one stream is open, also when a later one was closed."""
    assert is_online(one) is online


def test_the_last_stream_is_the_one_listed_last():
    """Versions are read from the latest stream."""
    assert last_subscription(insight(CLOSED, OPEN)).id == "open"
    assert last_subscription(insight()) is None
    assert last_subscription(None) is None


READY, DOWN = {"port": 80}, {"port": 81, "health": {"ready": False}}


@pytest.mark.parametrize(
    "networking, connected, status",
    [
        ({"inbound": [READY]}, True, ProxyStatus.ONLINE),
        ({"inbound": [READY]}, False, ProxyStatus.OFFLINE),
        ({"inbound": [READY, DOWN]}, True, ProxyStatus.PARTIALLY_DEGRADED),
        ({"inbound": [DOWN]}, True, ProxyStatus.OFFLINE),
        ({"inbound": [DOWN], "listeners": [{"port": 1}]}, True, ProxyStatus.PARTIALLY_DEGRADED),
        ({"inbound": [READY], "listeners": [{"state": "NotReady"}]}, True, ProxyStatus.PARTIALLY_DEGRADED),
        ({"inbound": [{"port": 1, "state": "Ignored"}]}, True, ProxyStatus.ONLINE),
        ({"gateway": {}}, True, ProxyStatus.ONLINE),
        ({"gateway": {}}, False, ProxyStatus.OFFLINE),
        ({}, True, ProxyStatus.ONLINE),
    ],
)
def test_a_proxy_is_judged_by_its_stream_and_its_inbounds(networking, connected, status):
    """The word an operator reads is the one Kuma's kumactl would print."""
    dataplane = Dataplane.model_validate({"networking": networking})
    assert proxy_status(dataplane, insight(OPEN if connected else CLOSED)) is status
