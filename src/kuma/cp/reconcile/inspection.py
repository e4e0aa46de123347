"""What proxies are given, answered by the same plan that feeds their streams."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message

from kuma.core.errors import BadRequest, NotFound
from kuma.core.model.resource import Key
from kuma.core.snapshot.plan import Planner, Traits
from kuma.core.xds.names import CLUSTER, ENDPOINT, LISTENER, ROUTE
from kuma.core.xds.resources import XdsResource
from kuma.cp.reconcile.meshes import Meshes
from kuma.cp.reconcile.streams import Streams
from kuma.envoy_api.envoy.config.cluster.v3.cluster_pb2 import Cluster
from kuma.envoy_api.envoy.config.endpoint.v3.endpoint_pb2 import ClusterLoadAssignment
from kuma.envoy_api.envoy.config.listener.v3.listener_pb2 import Listener
from kuma.envoy_api.envoy.config.route.v3.route_pb2 import RouteConfiguration

_MESSAGES: Final[Mapping[str, type[Message]]] = {
    CLUSTER: Cluster,
    ENDPOINT: ClusterLoadAssignment,
    LISTENER: Listener,
    ROUTE: RouteConfiguration,
}
"""The types shown. Secrets are left out: they hold private keys."""


class Inspection:
    """Answers for connected proxies and, with the traits of a plain proxy, for those that are away."""

    def __init__(self, meshes: Meshes, streams: Streams, planner: Planner) -> None:
        self._meshes = meshes
        self._streams = streams
        self._planner = planner

    async def config(self, mesh: str, dataplane: str, *, shadow: bool) -> Mapping[str, Any]:
        """
        The resources a proxy should have, by type and name.

        Raises:
            NotFound: no such proxy.
            BadRequest: shadow policies were asked for.
        """
        if shadow:
            raise BadRequest("bad request: shadow policies are not supported yet; ask again without 'shadow'")
        state = self._meshes.state(mesh)
        proxy = None if state is None else state.snapshot.proxies.get(dataplane)
        if state is None or proxy is None:
            raise NotFound(f'Dataplane "{dataplane}" in mesh "{mesh}" does not exist')
        stream = self._streams.get(Key("Dataplane", mesh, dataplane))
        plan = self._planner.plan(state.snapshot, proxy, stream.traits if stream is not None else Traits())
        desired = plan.desired()
        shown: dict[str, dict[str, Any]] = {}
        subscribed = desired.names(CLUSTER)
        for type_url in _MESSAGES:
            for resource in desired.of_type(type_url):
                if type_url != ENDPOINT or resource.name in subscribed:
                    shown.setdefault(type_url, {})[resource.name] = _as_json(resource)
        return shown


def _as_json(resource: XdsResource) -> Any:
    return MessageToDict(_MESSAGES[resource.type_url].FromString(resource.body))
