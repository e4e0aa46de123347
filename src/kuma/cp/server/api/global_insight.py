"""Counters over all meshes: ``/global-insight``, and ``/global-insights`` for older clients."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, Final

from starlette.responses import Response

from kuma.core.model.kinds import KINDS, Scope
from kuma.core.resources.serviceinsight.spec import Service, ServiceStatus, ServiceType
from kuma.cp.server.api.call import Call, json_reply
from kuma.cp.server.api.derived import Derived, Figures
from kuma.cp.server.api.envelope import time_text
from kuma.cp.server.api.ports import Backends
from kuma.cp.server.api.routing import Route

_TITLE: Final = "Could not retrieve the global insight"
_GLOBAL_KINDS: Final = tuple(kind for kind in KINDS if kind.scope is Scope.GLOBAL and not kind.read_only)
_NOBODY: Final = {"online": 0, "total": 0}


class GlobalInsightRoutes:
    """See the module."""

    def __init__(self, backends: Backends, derived: Derived) -> None:
        self._backends = backends
        self._derived = derived

    def routes(self) -> Iterator[Route]:
        yield Route("GET", "/global-insight", self._insight, _TITLE)
        yield Route("GET", "/global-insights", self._legacy, _TITLE)

    async def _insight(self, _: Call) -> Response:
        return json_reply(global_insight(await self._derived.figures(), await self._global_counts()))

    async def _legacy(self, _: Call) -> Response:
        counts = await self._global_counts()
        return json_reply(
            {
                "type": "GlobalInsights",
                "creationTime": time_text(self._backends.now()),
                "resources": {name: {"total": counts[name]} for name in sorted(counts)},
            }
        )

    async def _global_counts(self) -> dict[str, int]:
        return {kind.name: len(await self._backends.store.list(kind.name)) for kind in _GLOBAL_KINDS}


def global_insight(figures: Figures, global_counts: dict[str, int]) -> dict[str, Any]:
    """The sum of all meshes. Keys stand in alphabetical order."""
    by_type = [mesh.spec.dataplanes_by_type for mesh in figures.meshes]
    counts = Counter({name: count for name, count in global_counts.items() if name != "Mesh"})
    policies = 0
    for mesh in figures.meshes:
        counts.update({name: count.total for name, count in mesh.spec.resources.items()})
        policies += sum(count.total for count in mesh.spec.policies.values())
    services = [one for insight in figures.services.values() for one in insight.spec.services.values()]
    return {
        "createdAt": time_text(figures.time),
        "dataplanes": {
            "gatewayBuiltin": _sum(one.gateway_builtin for one in by_type if one),
            "gatewayDelegated": _sum(one.gateway_delegated for one in by_type if one),
            "standard": _sum(one.standard for one in by_type if one),
        },
        "meshes": {"total": len(figures.meshes)},
        "policies": {"total": policies},
        "resources": {name: {"total": counts[name]} for name in sorted(counts) if counts[name]},
        "services": {
            "external": {"total": sum(one.service_type is ServiceType.EXTERNAL for one in services)},
            "gatewayBuiltin": _statuses(services, ServiceType.GATEWAY_BUILTIN),
            "gatewayDelegated": _statuses(services, ServiceType.GATEWAY_DELEGATED),
            "internal": _statuses(services, ServiceType.INTERNAL),
            "total": len(services),
        },
        # Zones above and beside this one are not this control plane's to count.
        "zones": {"controlPlanes": _NOBODY, "zoneEgresses": _NOBODY, "zoneIngresses": _NOBODY},
    }


def _sum(stats: Iterable[Any]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for stat in stats:
        if stat is not None:
            total.update(
                offline=stat.offline, online=stat.online, partiallyDegraded=stat.partially_degraded, total=stat.total
            )
    return {name: total[name] for name in ("offline", "online", "partiallyDegraded", "total")}


def _statuses(services: Iterable[Service], type: ServiceType) -> dict[str, int]:
    count = Counter(one.status for one in services if one.service_type is type)
    return {
        "offline": count[ServiceStatus.OFFLINE],
        "online": count[ServiceStatus.ONLINE],
        "partiallyDegraded": count[ServiceStatus.PARTIALLY_DEGRADED],
        "total": count.total(),
    }
