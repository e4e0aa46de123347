"""How each service of a mesh stands, from its proxies and their insights. Pure and independent of order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from kuma.core.model.labels import SERVICE_TAG, ZONE_TAG
from kuma.core.model.resource import Resource
from kuma.core.resources.dataplane.facts import is_unready, networking
from kuma.core.resources.dataplane.spec import Dataplane, GatewayType, State
from kuma.core.resources.dataplaneinsight.facts import ProxyStatus, is_online
from kuma.core.resources.dataplaneinsight.spec import DataplaneInsight
from kuma.core.resources.serviceinsight.spec import (
    DataplaneStat,
    Service,
    ServiceInsight,
    ServiceStatus,
    ServiceType,
)

VIP_PORT: Final = 80
DOMAIN: Final = "mesh"

_GATEWAYS: Final = {
    GatewayType.BUILTIN: ServiceType.GATEWAY_BUILTIN,
    GatewayType.DELEGATED: ServiceType.GATEWAY_DELEGATED,
}


@dataclass(frozen=True, slots=True)
class _Offer:
    """What one proxy contributes to one service."""

    type: ServiceType
    unready: tuple[bool, ...]
    zones: frozenset[str]


@dataclass(slots=True)
class _Sum:
    type: ServiceType = ServiceType.INTERNAL
    statuses: Counter[ProxyStatus] = field(default_factory=Counter)
    backends: Counter[str] = field(default_factory=Counter)
    zones: set[str] = field(default_factory=set)


def compute(dataplanes: Iterable[Resource[Dataplane]], insights: Mapping[str, DataplaneInsight]) -> ServiceInsight:
    """
    Every service that a proxy of the mesh offers.

    A proxy counts once per service however many inbounds offer it: online when it is connected and all of them are
    ready, offline when it is not connected or none is, and in between only in the total.
    """
    sums: dict[str, _Sum] = {}
    for dataplane in dataplanes:
        insight = insights.get(dataplane.meta.name)
        for name, offer in _offers(dataplane.spec):
            total = sums.setdefault(name, _Sum())
            # The type with the larger number wins: the answer must not depend on which proxy is seen first.
            total.type = max(total.type, offer.type, key=list(ServiceType).index)
            total.statuses[_status(offer, connected=is_online(insight))] += 1
            total.zones |= offer.zones
            if insight is not None and insight.mtls is not None and insight.mtls.issued_backend:
                total.backends[insight.mtls.issued_backend] += 1
    return ServiceInsight(services={name: _service(name, sums[name]) for name in sorted(sums)})


def service(insight: ServiceInsight, name: str) -> Service:
    """One service; one that no proxy offers has zero figures and no status."""
    return insight.services.get(name) or Service(dataplanes=DataplaneStat())


def _offers(dataplane: Dataplane) -> Iterator[tuple[str, _Offer]]:
    net = networking(dataplane)
    if net.gateway is not None and net.gateway.tags.get(SERVICE_TAG):
        tags = net.gateway.tags
        yield tags[SERVICE_TAG], _Offer(_GATEWAYS[net.gateway.type], (False,), _zones(tags))
    inbounds = [one for one in net.inbound if one.tags.get(SERVICE_TAG) and one.state is not State.IGNORED]
    for name in sorted({one.tags[SERVICE_TAG] for one in inbounds}):
        mine = [one for one in inbounds if one.tags[SERVICE_TAG] == name]
        zones = frozenset().union(*(_zones(one.tags) for one in mine))
        yield name, _Offer(ServiceType.INTERNAL, tuple(is_unready(one) for one in mine), zones)


def _zones(tags: Mapping[str, str]) -> frozenset[str]:
    return frozenset({tags[ZONE_TAG]}) if tags.get(ZONE_TAG) else frozenset()


def _status(offer: _Offer, *, connected: bool) -> ProxyStatus:
    if not connected or all(offer.unready):
        return ProxyStatus.OFFLINE
    return ProxyStatus.PARTIALLY_DEGRADED if any(offer.unready) else ProxyStatus.ONLINE


def _service(name: str, total: _Sum) -> Service:
    count, online = total.statuses.total(), total.statuses[ProxyStatus.ONLINE]
    offline = total.statuses[ProxyStatus.OFFLINE]
    if offline == count:
        status = ServiceStatus.OFFLINE
    else:
        status = ServiceStatus.ONLINE if online == count else ServiceStatus.PARTIALLY_DEGRADED
    return Service(
        status=status,
        dataplanes=DataplaneStat(total=count, online=online, offline=offline),
        issued_backends=dict(sorted(total.backends.items())),
        service_type=total.type,
        address_port=f"{name}.{DOMAIN}:{VIP_PORT}" if total.type is ServiceType.INTERNAL else "",
        zones=tuple(sorted(total.zones)),
    )
