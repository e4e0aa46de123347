"""What a user may write in a MeshProxyPatch."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from kuma.core.model.spec import Spec
from kuma.core.policies._kit.spec import PolicySpec


class JsonPatch(Spec):
    """One step of RFC 6902."""

    op: Literal["add", "remove", "replace", "move", "copy"]
    path: str
    value: Any = None
    from_: Annotated[str | None, Field(alias="from")] = None


class ClusterMatch(Spec):
    """Which clusters; all fields given must hold."""

    origin: str | None = None
    name: str | None = None


class ListenerMatch(Spec):
    """Which listeners; all fields given must hold."""

    origin: str | None = None
    name: str | None = None
    tags: dict[str, str] | None = None


class FilterMatch(Spec):
    """Which filters, of which listeners; all fields given must hold."""

    origin: str | None = None
    name: str | None = None
    listener_name: str | None = None
    listener_tags: dict[str, str] | None = None


class VirtualHostMatch(Spec):
    """Which virtual hosts, of which route configurations; all fields given must hold."""

    origin: str | None = None
    name: str | None = None
    route_configuration_name: str | None = None


class _Modification(Spec):
    """``value`` is YAML of an Envoy resource: what is added, or what is merged into what matches."""

    value: str | None = None
    json_patches: tuple[JsonPatch, ...] | None = None


class ClusterModification(_Modification):
    """A change of clusters."""

    operation: Literal["Add", "Remove", "Patch"]
    match: ClusterMatch | None = None


class ListenerModification(_Modification):
    """A change of listeners."""

    operation: Literal["Add", "Remove", "Patch"]
    match: ListenerMatch | None = None


class FilterModification(_Modification):
    """A change of network filters or of HTTP filters."""

    operation: Literal["Remove", "Patch", "AddFirst", "AddBefore", "AddAfter", "AddLast"]
    match: FilterMatch | None = None


class VirtualHostModification(_Modification):
    """A change of virtual hosts."""

    operation: Literal["Add", "Remove", "Patch"]
    match: VirtualHostMatch


class Modification(Spec):
    """One step; exactly one field is set."""

    cluster: ClusterModification | None = None
    listener: ListenerModification | None = None
    network_filter: FilterModification | None = None
    http_filter: FilterModification | None = None
    virtual_host: VirtualHostModification | None = None


class Conf(Spec):
    """The steps, in order; those of several policies follow one another."""

    append_modifications: tuple[Modification, ...] | None = None


class MeshProxyPatch(PolicySpec):
    """The spec of a MeshProxyPatch."""

    default: Conf | None = None
