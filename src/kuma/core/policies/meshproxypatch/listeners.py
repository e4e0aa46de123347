"""Steps of a MeshProxyPatch inside listeners: network filters, HTTP filters, virtual hosts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, TypeVar

from google.protobuf.message import Message

from kuma.core.policies.meshproxypatch.messages import PatchFailed, copied, fits, parsed, patched
from kuma.core.policies.meshproxypatch.spec import FilterModification, VirtualHostModification
from kuma.core.xds import names
from kuma.core.xds.complete import Originated
from kuma.core.xds.pack import as_any
from kuma.core.xds.written import merge_into, unpacked
from kuma.envoy_api.envoy.config.listener.v3.listener_components_pb2 import Filter
from kuma.envoy_api.envoy.config.listener.v3.listener_pb2 import Listener
from kuma.envoy_api.envoy.config.route.v3.route_components_pb2 import VirtualHost
from kuma.envoy_api.envoy.config.route.v3.route_pb2 import RouteConfiguration
from kuma.envoy_api.envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import (
    HttpConnectionManager,
    HttpFilter,
)

_TAGS_METADATA: Final = "io.kuma.tags"
_MANAGER: Final = HttpConnectionManager.DESCRIPTOR.full_name
_TERMINAL: Final = frozenset({names.HTTP_CONNECTION_MANAGER, names.TCP_PROXY, names.ROUTER})

F = TypeVar("F", bound=Filter | HttpFilter)


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
        if manager.HasField("route_config") and fits(step.match.route_configuration_name, manager.route_config.name):
            _patch_hosts(step, manager.route_config)

    return tuple(
        _changed(one, lambda listener: _each_manager(listener, change)) if fits(step.match.origin, one.origin) else one
        for one in listeners
    )


def has_tags(listener: Listener, tags: Mapping[str, str] | None) -> bool:
    """Whether a listener is of a service with these tags; the value ``*`` stands for any."""
    if not tags:
        return True
    present = listener.metadata.filter_metadata.get(_TAGS_METADATA)
    return present is not None and all(
        name in present.fields and value in {"*", present.fields[name].string_value} for name, value in tags.items()
    )


def _patch_filters(step: FilterModification, filters: Iterable[F], kind: type[F]) -> list[F]:
    present = list(filters)
    name = step.match.name if step.match is not None else None
    match step.operation:
        case "Remove":
            return [one for one in present if not fits(name, one.name)]
        case "Patch":
            return [_patched_filter(step, one) if fits(name, one.name) else one for one in present]
        case "AddFirst":
            return [parsed(step.value, kind), *present]
        case "AddLast":
            return _with_last(present, parsed(step.value, kind))
    at = next((index for index, one in enumerate(present) if one.name == name), None)
    if at is not None:
        present.insert(at if step.operation == "AddBefore" else at + 1, parsed(step.value, kind))
    return present


def _with_last(present: list[F], added: F) -> list[F]:
    """Envoy refuses a filter behind the one that ends a chain, so the last place is the one before that."""
    if present and present[-1].name in _TERMINAL and added.name not in _TERMINAL:
        return [*present[:-1], added, present[-1]]
    return [*present, added]


def _patched_filter(step: FilterModification, filter: F) -> F:
    """Patches of filters speak of what is inside their ``typedConfig``."""
    changed = copied(filter)
    if step.json_patches:
        changed.typed_config.CopyFrom(as_any(patched(step, unpacked(filter.typed_config), filter.name)))
        return changed
    given = parsed(step.value, type(filter)).typed_config
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
            hosts.append(parsed(step.value, VirtualHost))
        case "Remove":
            hosts = [host for host in hosts if not fits(name, host.name)]
        case "Patch":
            hosts = [patched(step, host, host.name) if fits(name, host.name) else host for host in hosts]
    _replace(routes.virtual_hosts, hosts)


def _listener_matches(step: FilterModification, listener: Originated[Listener]) -> bool:
    match = step.match
    return match is None or (
        fits(match.listener_name, listener.message.name)
        and fits(match.origin, listener.origin)
        and has_tags(listener.message, match.listener_tags)
    )


def _changed(one: Originated[Listener], change: Callable[[Listener], None]) -> Originated[Listener]:
    listener = copied(one.message)
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
    copies = [copied(item) for item in items]
    del target[:]
    target.extend(copies)
