"""The REST API of the control plane on 5681 and 5682 (spec/api-server.md).

``rest_api`` makes the ASGI application; ``kuma.cp.server.listening`` serves it. What it needs stands in ``ports``.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry

from kuma.cp.server.api.application import Api
from kuma.cp.server.api.changes import ChangeRoutes
from kuma.cp.server.api.derived import Derived
from kuma.cp.server.api.effective import EffectiveRoutes
from kuma.cp.server.api.global_insight import GlobalInsightRoutes
from kuma.cp.server.api.insights import MeshInsightRoutes, OverviewRoutes, ServiceInsightRoutes
from kuma.cp.server.api.inspection import InspectionRoutes
from kuma.cp.server.api.matching import Matching
from kuma.cp.server.api.metrics import ApiMetrics
from kuma.cp.server.api.ports import Backends
from kuma.cp.server.api.proxies import Proxies
from kuma.cp.server.api.reading import Reading
from kuma.cp.server.api.resources import ResourceRoutes
from kuma.cp.server.api.rollout import RolloutRoutes
from kuma.cp.server.api.system import SystemRoutes
from kuma.cp.server.api.tokens import TokenRoutes

__all__ = ["rest_api"]


def rest_api(backends: Backends, registry: CollectorRegistry, *, answer_within: float = 10.0) -> Api:
    """The application; one serves both ports. Its metrics go to ``registry``; ``answer_within`` is in seconds."""
    store = backends.store
    proxies = Proxies(store)
    derived = Derived(store, proxies, backends.now, backends.config.metrics.mesh.min_resync_interval)
    reading = Reading(backends)
    matching = Matching(reading, proxies)
    resources = ResourceRoutes(backends, reading, proxies)
    tokens = TokenRoutes(backends)
    routes = [
        *SystemRoutes(backends, resources).routes(),
        *GlobalInsightRoutes(backends, derived).routes(),
        *OverviewRoutes(store, reading, resources).routes(),
        *MeshInsightRoutes(reading, derived, resources).routes(),
        *ServiceInsightRoutes(reading, derived, resources).routes(),
        *RolloutRoutes(backends).routes(),
        *ChangeRoutes(backends, reading).routes(),
        *InspectionRoutes(backends, reading, matching).routes(),
        *EffectiveRoutes(backends, matching).routes(),
        *resources.routes(),
        *tokens.routes(),
    ]
    return Api(backends, routes, tokens.root_routes(), ApiMetrics(registry), answer_within)
