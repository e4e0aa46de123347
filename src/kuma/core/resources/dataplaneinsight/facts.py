"""What an insight says about its proxy: whether it is connected, and how well it serves."""

from __future__ import annotations

from enum import Enum

from kuma.core.resources.dataplane.facts import is_unready, networking
from kuma.core.resources.dataplane.spec import Dataplane
from kuma.core.resources.dataplaneinsight.spec import DataplaneInsight, Subscription


class ProxyStatus(Enum):
    """How a proxy stands, as ``kumactl inspect dataplanes`` and the counters of a mesh see it."""

    ONLINE = "Online"
    OFFLINE = "Offline"
    PARTIALLY_DEGRADED = "Partially degraded"


def is_open(subscription: Subscription) -> bool:
    return subscription.connect_time is not None and subscription.disconnect_time is None


def is_online(insight: DataplaneInsight | None) -> bool:
    """Whether any stream of the proxy is open."""
    return insight is not None and any(is_open(subscription) for subscription in insight.subscriptions)


def last_subscription(insight: DataplaneInsight | None) -> Subscription | None:
    """The stream opened last, open or not."""
    return insight.subscriptions[-1] if insight is not None and insight.subscriptions else None


def proxy_status(dataplane: Dataplane, insight: DataplaneInsight | None) -> ProxyStatus:
    """
    Judge a proxy by its stream and by the readiness of what it serves.

    A gateway, and a proxy that serves nothing, is online while connected.
    """
    if not is_online(insight):
        return ProxyStatus.OFFLINE
    net = networking(dataplane)
    if net.gateway is not None:
        return ProxyStatus.ONLINE
    unready = [is_unready(inbound) for inbound in net.inbound] + [is_unready(listener) for listener in net.listeners]
    if not any(unready):
        return ProxyStatus.ONLINE
    return ProxyStatus.OFFLINE if all(unready) else ProxyStatus.PARTIALLY_DEGRADED
