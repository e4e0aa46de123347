"""Figures of a mesh from its proxies, their insights and the number of its resources.

Pure and independent of order: the same proxies in any order give equal insights, byte for byte once printed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final

from kuma.core.model.kinds import BY_NAME
from kuma.core.model.resource import Resource
from kuma.core.resources.dataplane.facts import gateway, service_tags
from kuma.core.resources.dataplane.spec import Dataplane, GatewayType
from kuma.core.resources.dataplaneinsight.facts import ProxyStatus, last_subscription, proxy_status
from kuma.core.resources.dataplaneinsight.spec import DataplaneInsight
from kuma.core.resources.meshinsight.spec import (
    Count,
    DataplanesByType,
    DataplaneStat,
    DpVersions,
    MeshInsight,
    Mtls,
    ServiceStat,
)

UNKNOWN: Final = "unknown"
"""Stands for a version that a proxy never told, and for an authority that was not recorded."""


class _Tally:
    """Proxies counted by status, per group."""

    def __init__(self) -> None:
        self._groups: dict[str, Counter[ProxyStatus]] = {}

    def add(self, group: str, status: ProxyStatus) -> None:
        self._groups.setdefault(group, Counter())[status] += 1

    def stat(self, *groups: str) -> DataplaneStat:
        """The sum over the groups."""
        count: Counter[ProxyStatus] = Counter()
        for group in groups:
            count.update(self._groups.get(group, {}))
        return DataplaneStat(
            total=count.total(),
            online=count[ProxyStatus.ONLINE],
            offline=count[ProxyStatus.OFFLINE],
            partially_degraded=count[ProxyStatus.PARTIALLY_DEGRADED],
        )

    def stats(self) -> dict[str, DataplaneStat]:
        return {group: self.stat(group) for group in sorted(self._groups)}


def compute(
    dataplanes: Iterable[Resource[Dataplane]],
    insights: Mapping[str, DataplaneInsight],
    resources: Mapping[str, int],
) -> MeshInsight:
    """
    Count one mesh.

    Args:
        dataplanes: the proxies of the mesh.
        insights: their insights by proxy name; a proxy without one was never connected.
        resources: how many resources of each kind the mesh has, by the kind's name.
    """
    kinds, kuma_dp, envoy, issued, supported = (_Tally() for _ in range(5))
    services: set[str] = set()
    for dataplane in dataplanes:
        insight = insights.get(dataplane.meta.name)
        status = proxy_status(dataplane.spec, insight)
        kinds.add(_type_of(dataplane.spec), status)
        services.update(service_tags(dataplane.spec))
        for tally, version in zip((kuma_dp, envoy), _versions(insight), strict=True):
            tally.add(version, status)
        if insight is not None and insight.mtls is not None:
            issued.add(insight.mtls.issued_backend or UNKNOWN, status)
            for backend in insight.mtls.supported_backends:
                supported.add(backend, status)
    counts = {name: Count(total=total) for name, total in sorted(resources.items()) if total}
    return MeshInsight(
        dataplanes=kinds.stat("standard", "builtin", "delegated"),
        dataplanes_by_type=DataplanesByType(
            standard=kinds.stat("standard"),
            gateway=kinds.stat("builtin", "delegated"),
            gateway_builtin=kinds.stat("builtin"),
            gateway_delegated=kinds.stat("delegated"),
        ),
        policies={name: count for name, count in counts.items() if name in BY_NAME and BY_NAME[name].policy},
        resources=counts,
        dp_versions=DpVersions(kuma_dp=kuma_dp.stats(), envoy=envoy.stats()),
        mTLS=Mtls(issued_backends=issued.stats(), supported_backends=supported.stats()),
        services=ServiceStat(total=len(services), internal=len(services)),
    )


def _type_of(dataplane: Dataplane) -> str:
    found = gateway(dataplane)
    if found is None:
        return "standard"
    return "builtin" if found.type is GatewayType.BUILTIN else "delegated"


def _versions(insight: DataplaneInsight | None) -> tuple[str, str]:
    """Versions of kuma-dp and Envoy, as told on the last stream."""
    subscription = last_subscription(insight)
    version = subscription.version if subscription is not None else None
    if version is None:
        return UNKNOWN, UNKNOWN
    return (
        (version.kuma_dp.version if version.kuma_dp else "") or UNKNOWN,
        (version.envoy.version if version.envoy else "") or UNKNOWN,
    )
