"""What Envoy gets from MeshProxyPatch (spec/policies.md §18).

Patches see whole Envoy resources, so they run after every other policy, on what is about to be serialised: users
patch transport sockets and typed configs that do not exist before. Nothing that comes in is changed; what goes out is
new where it differs. A step that matches nothing changes nothing; one that cannot be done stops the whole patch, so
that the proxy keeps what it has.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any, Final, Protocol, TypeVar

from google.protobuf.message import Message

from kuma.core.errors import MeshError
from kuma.core.policies.meshproxypatch.spec import (
    ClusterModification,
    Conf,
    FilterModification,
    JsonPatch,
    ListenerModification,
    VirtualHostModification,
)
from kuma.core.policies.meshproxypatch.validate import KEEPS_ITS_NAME, steps
from kuma.core.xds import names
from kuma.core.xds.complete import Originated, Resources
from kuma.core.xds.json_patch import JsonPatchFailed, patched_json
from kuma.core.xds.pack import as_any
from kuma.core.xds.written import EnvoyTextInvalid, from_json, merge_into, parse_message, to_json, unpacked
from kuma.envoy_api.envoy.config.cluster.v3.cluster_pb2 import Cluster
from kuma.envoy_api.envoy.config.listener.v3.listener_components_pb2 import Filter
from kuma.envoy_api.envoy.config.listener.v3.listener_pb2 import Listener
from kuma.envoy_api.envoy.config.route.v3.route_components_pb2 import VirtualHost
from kuma.envoy_api.envoy.config.route.v3.route_pb2 import RouteConfiguration
from kuma.envoy_api.envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import (
    HttpConnectionManager,
    HttpFilter,
)

ORIGIN: Final = "mesh-proxy-patch"
"""Where resources come from that a patch adds."""
_TAGS_METADATA: Final = "io.kuma.tags"
_MANAGER: Final = HttpConnectionManager.DESCRIPTOR.full_name
_TERMINAL: Final = frozenset({names.HTTP_CONNECTION_MANAGER, names.TCP_PROXY, names.ROUTER})

_WRITTEN: Final[Mapping[str, type[Message]]] = {
    kind.DESCRIPTOR.full_name: kind for kind in (Cluster, Listener, Filter, HttpFilter, VirtualHost)
}

R = TypeVar("R", bound=Cluster | Listener)
M = TypeVar("M", bound=Message)
F = TypeVar("F", bound=Filter | HttpFilter)


class PatchFailed(MeshError):
    """A step cannot be done on a resource; the text names the step, the resource and the reason."""


class _Patch(Protocol):
    @property
    def value(self) -> str | None: ...
    @property
    def json_patches(self) -> tuple[JsonPatch, ...] | None: ...


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
        return match is None or (_is(match.name, cluster.message.name) and _is(match.origin, cluster.origin))

    return _patch_resources(step, clusters, matches, Cluster, adds=adds)


def patch_listeners(
    step: ListenerModification, listeners: Sequence[Originated[Listener]], *, adds: bool = True
) -> tuple[Originated[Listener], ...]:
    """Listeners with one added, some removed or some changed."""
    match = step.match

    def matches(listener: Originated[Listener]) -> bool:
        return match is None or (
            _is(match.name, listener.message.name)
            and _is(match.origin, listener.origin)
            and _has_tags(listener.message, match.tags)
        )

    return _patch_resources(step, listeners, matches, Listener, adds=adds)


def patch_network_filters(
    step: FilterModification, listeners: Sequence[Originated[Listener]]
) -> tuple[Originated[Listener], ...]:
    """Listeners with changes in the filters of every chain."""

    def change(listener: Listener) -> None:
        for chain in listener.filter_chains:
            _replace(chain.filters, _patch_filters(step, chain.filters, Filter))

    return tuple(_changed(one, change) if _listener_matches(step, one) else one for one in listeners)


def patch_http_filters(
    step: FilterModification, listeners: Sequence[Originated[Listener]]
) -> tuple[Originated[Listener], ...]:
    """Listeners with changes in the HTTP filters of every connection manager."""

    def change(manager: HttpConnectionManager) -> None:
        _replace(manager.http_filters, _patch_filters(step, manager.http_filters, HttpFilter))

    return tuple(
        _changed(one, lambda listener: _each_manager(listener, change)) if _listener_matches(step, one) else one
        for one in listeners
    )


def patch_virtual_hosts(
    step: VirtualHostModification, listeners: Sequence[Originated[Listener]]
) -> tuple[Originated[Listener], ...]:
    """Listeners with changes in the virtual hosts of their inline route configurations."""

    def change(manager: HttpConnectionManager) -> None:
        if manager.HasField("route_config") and _is(step.match.route_configuration_name, manager.route_config.name):
            _patch_hosts(step, manager.route_config)

    return tuple(
        _changed(one, lambda listener: _each_manager(listener, change)) if _is(step.match.origin, one.origin) else one
        for one in listeners
    )


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
            added = _parsed(step.value, kind)
            others = tuple(one for one in present if one.message.name != added.name)
            return (*others, Originated(ORIGIN, added)) if adds else others
        case "Remove":
            return tuple(one for one in present if not matches(one))
    return tuple(_patched_resource(step, one) if matches(one) else one for one in present)


def _patched_resource(step: ClusterModification | ListenerModification, one: Originated[R]) -> Originated[R]:
    changed = _patched(step, one.message, one.message.name)
    if changed.name != one.message.name:
        raise PatchFailed(f"{one.message.name}: {KEEPS_ITS_NAME}")
    return Originated(one.origin, changed)


def _patched(step: _Patch, message: M, name: str) -> M:
    """A copy with a patch applied."""
    try:
        if step.json_patches:
            return from_json(
                patched_json(to_json(message), [one.to_json() for one in step.json_patches]), type(message)
            )
        changed = _copy(message)
        merge_into(changed, _parsed(step.value, type(message)))
    except (EnvoyTextInvalid, JsonPatchFailed) as error:
        raise PatchFailed(f"{name}: {error}") from None
    return changed


def _patch_filters(step: FilterModification, filters: Iterable[F], kind: type[F]) -> list[F]:
    present = list(filters)
    name = step.match.name if step.match is not None else None
    match step.operation:
        case "Remove":
            return [one for one in present if not _is(name, one.name)]
        case "Patch":
            return [_patched_filter(step, one) if _is(name, one.name) else one for one in present]
        case "AddFirst":
            return [_parsed(step.value, kind), *present]
        case "AddLast":
            return _with_last(present, _parsed(step.value, kind))
    at = next((index for index, one in enumerate(present) if one.name == name), None)
    if at is not None:
        present.insert(at if step.operation == "AddBefore" else at + 1, _parsed(step.value, kind))
    return present


def _with_last(present: list[F], added: F) -> list[F]:
    """Envoy refuses a filter behind the one that ends a chain, so the last place is the one before that."""
    if present and present[-1].name in _TERMINAL and added.name not in _TERMINAL:
        return [*present[:-1], added, present[-1]]
    return [*present, added]


def _patched_filter(step: FilterModification, filter: F) -> F:
    """Patches of filters speak of what is inside their ``typedConfig``."""
    changed = _copy(filter)
    if step.json_patches:
        changed.typed_config.CopyFrom(as_any(_patched(step, unpacked(filter.typed_config), filter.name)))
        return changed
    given = _parsed(step.value, type(filter)).typed_config
    if given.type_url != filter.typed_config.type_url:
        raise PatchFailed(
            f"{filter.name}: the value has typedConfig of type '{given.TypeName()}', "
            f"the filter is '{filter.typed_config.TypeName()}'"
        )
    whole = unpacked(filter.typed_config)
    merge_into(whole, unpacked(given))
    changed.typed_config.CopyFrom(as_any(whole))
    return changed


def _patch_hosts(step: VirtualHostModification, routes: RouteConfiguration) -> None:
    hosts = list(routes.virtual_hosts)
    name = step.match.name
    match step.operation:
        case "Add":
            hosts.append(_parsed(step.value, VirtualHost))
        case "Remove":
            hosts = [host for host in hosts if not _is(name, host.name)]
        case "Patch":
            hosts = [_patched(step, host, host.name) if _is(name, host.name) else host for host in hosts]
    _replace(routes.virtual_hosts, hosts)


def _listener_matches(step: FilterModification, listener: Originated[Listener]) -> bool:
    match = step.match
    return match is None or (
        _is(match.listener_name, listener.message.name)
        and _is(match.origin, listener.origin)
        and _has_tags(listener.message, match.listener_tags)
    )


def _has_tags(listener: Listener, tags: Mapping[str, str] | None) -> bool:
    if not tags:
        return True
    present = listener.metadata.filter_metadata.get(_TAGS_METADATA)
    return present is not None and all(
        name in present.fields and value in {"*", present.fields[name].string_value} for name, value in tags.items()
    )


def _is(wanted: str | None, present: str) -> bool:
    return wanted is None or wanted == present


def _changed(one: Originated[Listener], change: Callable[[Listener], None]) -> Originated[Listener]:
    listener = _copy(one.message)
    change(listener)
    return Originated(one.origin, listener)


def _each_manager(listener: Listener, change: Callable[[HttpConnectionManager], None]) -> None:
    for chain in listener.filter_chains:
        for one in chain.filters:
            if one.typed_config.TypeName() == _MANAGER:
                manager = HttpConnectionManager()
                one.typed_config.Unpack(manager)
                change(manager)
                one.typed_config.CopyFrom(as_any(manager))


def _replace(target: Any, items: Sequence[Message]) -> None:
    """Give a repeated field other items; they may be its own, which end with it."""
    copies = [_copy(item) for item in items]
    del target[:]
    target.extend(copies)


def _parsed(value: str | None, kind: type[M]) -> M:
    """What a user wrote; the text is read once for all proxies."""
    return kind.FromString(_read(value or "", kind.DESCRIPTOR.full_name))


@lru_cache(maxsize=512)
def _read(value: str, kind: str) -> bytes:
    return parse_message(value, _WRITTEN[kind]).SerializeToString(deterministic=True)


def _copy(message: M) -> M:
    copy = type(message)()
    copy.CopyFrom(message)
    return copy
