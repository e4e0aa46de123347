"""What Envoy gets from MeshProxyPatch (spec/policies.md §18).

Patches see whole Envoy resources, so they run after every other policy, on what is about to be serialised: users
patch transport sockets and typed configs that do not exist before. Nothing that comes in is changed; what goes out is
new where it differs. A step that matches nothing changes nothing; one that cannot be done stops the whole patch, so
that the proxy keeps what it has.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final, TypeVar

from kuma.core.policies.meshproxypatch.listeners import (
    has_tags,
    patch_http_filters,
    patch_network_filters,
    patch_virtual_hosts,
)
from kuma.core.policies.meshproxypatch.messages import PatchFailed, fits, parsed, patched
from kuma.core.policies.meshproxypatch.spec import (
    ClusterModification,
    Conf,
    FilterModification,
    ListenerModification,
    VirtualHostModification,
)
from kuma.core.policies.meshproxypatch.validate import KEEPS_ITS_NAME, steps
from kuma.core.xds.complete import Originated, Resources
from kuma.core.xds.json_patch import JsonPatchFailed
from kuma.core.xds.written import EnvoyTextInvalid
from kuma.envoy_api.envoy.config.cluster.v3.cluster_pb2 import Cluster
from kuma.envoy_api.envoy.config.listener.v3.listener_pb2 import Listener

ORIGIN: Final = "mesh-proxy-patch"
"""Where resources come from that a patch adds."""

R = TypeVar("R", bound=Cluster | Listener)


def patch(conf: Conf, resources: Resources) -> Resources:
    """
    The resources after all steps, in the order written.

    Raises:
        PatchFailed: a step cannot be done.
    """
    for index, modification in enumerate(conf.append_modifications or ()):
        for name, step in steps(modification):
            try:
                resources = _stepped(name, step, resources)
            except (EnvoyTextInvalid, JsonPatchFailed, PatchFailed) as error:
                raise PatchFailed(f"appendModifications[{index}].{name} ({step.operation}): {error}") from None
    return resources


def patch_clusters(
    step: ClusterModification, clusters: Sequence[Originated[Cluster]], *, adds: bool = True
) -> tuple[Originated[Cluster], ...]:
    """Clusters with one added, some removed or some changed."""
    match = step.match

    def matches(cluster: Originated[Cluster]) -> bool:
        return match is None or (fits(match.name, cluster.message.name) and fits(match.origin, cluster.origin))

    return _patch_resources(step, clusters, matches, Cluster, adds=adds)


def patch_listeners(
    step: ListenerModification, listeners: Sequence[Originated[Listener]], *, adds: bool = True
) -> tuple[Originated[Listener], ...]:
    """Listeners with one added, some removed or some changed."""
    match = step.match

    def matches(listener: Originated[Listener]) -> bool:
        return match is None or (
            fits(match.name, listener.message.name)
            and fits(match.origin, listener.origin)
            and has_tags(listener.message, match.tags)
        )

    return _patch_resources(step, listeners, matches, Listener, adds=adds)


def _stepped(name: str, step: object, resources: Resources) -> Resources:
    match step:
        case ClusterModification():
            clusters = patch_clusters(step, resources.clusters, adds=resources.takes_additions)
            return replace(resources, clusters=clusters)
        case ListenerModification():
            listeners = patch_listeners(step, resources.listeners, adds=resources.takes_additions)
            return replace(resources, listeners=listeners)
        case FilterModification() if name == "networkFilter":
            return replace(resources, listeners=patch_network_filters(step, resources.listeners))
        case FilterModification():
            return replace(resources, listeners=patch_http_filters(step, resources.listeners))
        case VirtualHostModification():
            return replace(resources, listeners=patch_virtual_hosts(step, resources.listeners))
    return resources


def _patch_resources(
    step: ClusterModification | ListenerModification,
    present: Sequence[Originated[R]],
    matches: Callable[[Originated[R]], bool],
    kind: type[R],
    *,
    adds: bool,
) -> tuple[Originated[R], ...]:
    match step.operation:
        case "Add":
            added = parsed(step.value, kind)
            others = tuple(one for one in present if one.message.name != added.name)
            return (*others, Originated(ORIGIN, added)) if adds else others
        case "Remove":
            return tuple(one for one in present if not matches(one))
    return tuple(_patched_resource(step, one) if matches(one) else one for one in present)


def _patched_resource(step: ClusterModification | ListenerModification, one: Originated[R]) -> Originated[R]:
    changed = patched(step, one.message, one.message.name)
    if changed.name != one.message.name:
        raise PatchFailed(f"{one.message.name}: {KEEPS_ITS_NAME}")
    return Originated(one.origin, changed)
