"""What a step writes into one Envoy message: the text of users, merged into it or patched as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Final, Protocol, TypeVar

from google.protobuf.message import Message

from kuma.core.errors import MeshError
from kuma.core.policies.meshproxypatch.spec import JsonPatch
from kuma.core.xds.json_patch import JsonPatchFailed, patched_json
from kuma.core.xds.written import EnvoyTextInvalid, from_json, merge_into, parse_message, to_json
from kuma.envoy_api.envoy.config.cluster.v3.cluster_pb2 import Cluster
from kuma.envoy_api.envoy.config.listener.v3.listener_components_pb2 import Filter
from kuma.envoy_api.envoy.config.listener.v3.listener_pb2 import Listener
from kuma.envoy_api.envoy.config.route.v3.route_components_pb2 import VirtualHost
from kuma.envoy_api.envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import (
    HttpFilter,
)

_WRITTEN: Final[Mapping[str, type[Message]]] = {
    kind.DESCRIPTOR.full_name: kind for kind in (Cluster, Listener, Filter, HttpFilter, VirtualHost)
}

M = TypeVar("M", bound=Message)


class PatchFailed(MeshError):
    """A step cannot be done on a resource; the text names the step, the resource and the reason."""


class _Patch(Protocol):
    @property
    def value(self) -> str | None: ...
    @property
    def json_patches(self) -> tuple[JsonPatch, ...] | None: ...


def patched(step: _Patch, message: M, name: str) -> M:
    """A copy with a patch applied."""
    try:
        if step.json_patches:
            return from_json(
                patched_json(to_json(message), [one.to_json() for one in step.json_patches]), type(message)
            )
        changed = copied(message)
        merge_into(changed, parsed(step.value, type(message)))
    except (EnvoyTextInvalid, JsonPatchFailed) as error:
        raise PatchFailed(f"{name}: {error}") from None
    return changed


def parsed(value: str | None, kind: type[M]) -> M:
    """What a user wrote; the text is read once for all proxies."""
    return kind.FromString(_read(value or "", kind.DESCRIPTOR.full_name))


@lru_cache(maxsize=512)
def _read(value: str, kind: str) -> bytes:
    return parse_message(value, _WRITTEN[kind]).SerializeToString(deterministic=True)


def copied(message: M) -> M:
    """A message of its own with the same content."""
    copy = type(message)()
    copy.CopyFrom(message)
    return copy


def fits(wanted: str | None, present: str) -> bool:
    """Whether a field of a match, where it is given, is what a resource has."""
    return wanted is None or wanted == present
