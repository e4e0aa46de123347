"""What proxies are given, answered by the same plan that feeds their streams."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message

from kuma.core.errors import NotFound
from kuma.core.model.labels import EFFECT_LABEL
from kuma.core.model.resource import Key, Resource
from kuma.core.policies._kit.match import is_shadow
from kuma.core.snapshot.mesh import Changes, MeshSnapshot
from kuma.core.snapshot.plan import Planner, Traits
from kuma.core.snapshot.proxy import Proxy
from kuma.core.xds.names import CLUSTER, ENDPOINT, LISTENER, ROUTE
from kuma.core.xds.resources import XdsResource
from kuma.cp.reconcile.meshes import Meshes, MeshState
from kuma.cp.reconcile.stream import Stream
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


@dataclass(frozen=True, slots=True)
class Refusal:
    """
    Why a proxy keeps its last configuration; ``type`` is that of the resources, empty when none could be made.

    ``blamed`` are the policies that ask for what cannot be done, where that is known. Envoy does not say.
    """

    type: str
    message: str
    blamed: tuple[Key, ...] = ()


class Inspection:
    """
    Answers for connected proxies and, with the traits of a plain proxy, for those that are away.

    ``planner`` is its own, because it plans in threads.
    """

    def __init__(self, meshes: Meshes, streams: Streams, planner: Planner) -> None:
        self._meshes = meshes
        self._streams = streams
        self._planner = planner
        self._planning = asyncio.Lock()

    async def config(self, mesh: str, dataplane: str, *, shadow: bool) -> Mapping[str, Any]:
        """
        The resources a proxy should have, by type and name.

        With ``shadow``, as if the policies that only show their effect were in force.

        Raises:
            NotFound: no such proxy.
            MeshError: its configuration cannot be made; the text says why.
        """
        state = self._meshes.state(mesh)
        proxy = None if state is None else state.snapshot.proxies.get(dataplane)
        if state is None or proxy is None:
            raise NotFound(f'Dataplane "{dataplane}" in mesh "{mesh}" does not exist')
        stream = self._streams.get(Key("Dataplane", mesh, dataplane))
        snapshot = _with_shadows(state) if shadow else state.snapshot
        traits = stream.traits if stream is not None else Traits()
        # In a thread: a proxy of thousands of services takes seconds. A planner is for one caller at a time.
        async with self._planning:
            return await asyncio.to_thread(self._shown, snapshot, proxy, traits)

    def _shown(self, snapshot: MeshSnapshot, proxy: Proxy, traits: Traits) -> Mapping[str, Any]:
        desired = self._planner.plan(snapshot, proxy, traits).desired()
        shown: dict[str, dict[str, Any]] = {}
        subscribed = desired.names(CLUSTER)
        for type_url in _MESSAGES:
            for resource in desired.of_type(type_url):
                if type_url != ENDPOINT or resource.name in subscribed:
                    shown.setdefault(type_url, {})[resource.name] = _as_json(resource)
        return shown

    def refusals(self, mesh: str) -> Mapping[str, tuple[Refusal, ...]]:
        """What connected proxies do not take of their configuration now, by the name of the Dataplane."""
        found = {stream.key.name: tuple(_refusals(stream)) for stream in self._streams.of_mesh(mesh)}
        return {name: refusals for name, refusals in found.items() if refusals}


def _refusals(stream: Stream) -> Iterator[Refusal]:
    if stream.problem:
        yield Refusal("", stream.problem, stream.blamed)
    for type_url, message in sorted(stream.rejections.items()):
        yield Refusal(type_url.rpartition(".")[2], message)


def _with_shadows(state: MeshState) -> MeshSnapshot:
    """The mesh as if its shadow policies were in force."""
    policies = {
        kind: tuple(_in_force(one) for one in some.values())
        for kind, some in state.policies.items()
        if any(is_shadow(one.meta) for one in some.values())
    }
    return state.snapshot.apply(Changes(policies=policies), state.snapshot.revision) if policies else state.snapshot


def _in_force(policy: Resource[Any]) -> Resource[Any]:
    if not is_shadow(policy.meta):
        return policy
    labels = {key: value for key, value in policy.meta.labels.items() if key != EFFECT_LABEL}
    return replace(policy, meta=replace(policy.meta, labels=labels))


def _as_json(resource: XdsResource) -> Any:
    return MessageToDict(_MESSAGES[resource.type_url].FromString(resource.body))
