"""What a schema cannot say about a MeshProxyPatch: above all, whether the Envoy resources in it are any."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from google.protobuf.message import Message

from kuma.core.errors import Violation
from kuma.core.policies._kit.validation import (
    MUST_BE_DEFINED,
    MUST_NOT_BE_DEFINED,
    MUST_NOT_BE_EMPTY,
    TOP_LEVEL_KINDS,
    target_ref_violations,
    top_level_warnings,
)
from kuma.core.policies.meshproxypatch.spec import (
    ClusterModification,
    FilterModification,
    JsonPatch,
    ListenerModification,
    MeshProxyPatch,
    Modification,
    VirtualHostModification,
)
from kuma.core.xds.written import EnvoyTextInvalid, parse_message
from kuma.envoy_api.envoy.config.cluster.v3.cluster_pb2 import Cluster
from kuma.envoy_api.envoy.config.listener.v3.listener_components_pb2 import Filter
from kuma.envoy_api.envoy.config.listener.v3.listener_pb2 import Listener
from kuma.envoy_api.envoy.config.route.v3.route_components_pb2 import VirtualHost
from kuma.envoy_api.envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import (
    HttpFilter,
)

KEEPS_ITS_NAME: Final = "a patch cannot change the name, by which others know it; remove it and add another"

AnyModification = ClusterModification | ListenerModification | FilterModification | VirtualHostModification
"""What one of the fields of a modification may hold."""

_RESOURCES: Final[dict[str, type[Message]]] = {
    "cluster": Cluster,
    "listener": Listener,
    "networkFilter": Filter,
    "httpFilter": HttpFilter,
    "virtualHost": VirtualHost,
}
_NOT_VALID: Final = "native Envoy resource is not valid: "
_NEIGHBOURS: Final = {"AddBefore": "before", "AddAfter": "after"}
_FROM_OPERATIONS: Final = ("move", "copy")
_VALUE_OPERATIONS: Final = ("add", "replace")


def steps(modification: Modification) -> list[tuple[str, AnyModification]]:
    """What a modification changes, by the names users know; a valid one changes one thing."""
    found: tuple[tuple[str, AnyModification | None], ...] = (
        ("cluster", modification.cluster),
        ("listener", modification.listener),
        ("networkFilter", modification.network_filter),
        ("httpFilter", modification.http_filter),
        ("virtualHost", modification.virtual_host),
    )
    return [(name, step) for name, step in found if step is not None]


def validate(spec: MeshProxyPatch) -> Iterator[Violation]:
    """Every broken rule."""
    if spec.target_ref is not None:
        yield from target_ref_violations(spec.target_ref, "spec.targetRef", kinds=TOP_LEVEL_KINDS)
    if spec.default is None:
        yield Violation("spec.default", "in body is required")
        return
    if not spec.default.append_modifications:
        yield Violation("spec.default.appendModifications", MUST_NOT_BE_EMPTY)
    for index, modification in enumerate(spec.default.append_modifications or ()):
        path = f"spec.default.appendModifications[{index}]"
        match steps(modification):
            case [(name, step)]:
                yield from _step_violations(step, _RESOURCES[name], f"{path}.{name}")
            case found:
                yield Violation(
                    path,
                    "exactly one modification can be defined at a time. "
                    f"Currently, {len(found)} modifications are defined",
                )


def warnings(spec: MeshProxyPatch) -> Iterator[str]:
    """Deprecated forms, and what is accepted without effect."""
    yield from top_level_warnings(spec.target_ref)


def _step_violations(step: AnyModification, kind: type[Message], path: str) -> Iterator[Violation]:
    match step.operation:
        case "Add":
            yield from _add_violations(step, path)
            yield from _addition_violations(step.value, kind, f"{path}.value")
        case "AddFirst" | "AddLast":
            yield from _addition_violations(step.value, kind, f"{path}.value")
        case "AddBefore" | "AddAfter":
            if step.match is None or step.match.name is None:
                where = _NEIGHBOURS[step.operation]
                yield Violation(
                    f"{path}.match.name",
                    f"must be defined. You need to pick a filter {where} which this one will be added",
                )
            yield from _addition_violations(step.value, kind, f"{path}.value")
        case "Remove":
            if step.value is not None:
                yield Violation(f"{path}.value", MUST_NOT_BE_DEFINED)
        case "Patch":
            if isinstance(step, FilterModification) and (step.match is None or step.match.name is None):
                yield Violation(f"{path}.match.name", MUST_BE_DEFINED)
            yield from _patch_violations(step, kind, path)


def _add_violations(step: AnyModification, path: str) -> Iterator[Violation]:
    if isinstance(step, VirtualHostModification):
        if step.match.name is not None:
            yield Violation(f"{path}.match.name", MUST_NOT_BE_DEFINED)
    elif step.match is not None:
        yield Violation(f"{path}.match", MUST_NOT_BE_DEFINED)


def _patch_violations(step: AnyModification, kind: type[Message], path: str) -> Iterator[Violation]:
    field = path.rpartition(".")[2]
    if step.value is not None and step.json_patches:
        yield Violation(path, f"{field} must have only one type defined: value, jsonPatches")
    elif step.value is not None:
        yield from _merge_violations(step, step.value, kind, f"{path}.value")
    elif step.json_patches:
        yield from _json_patch_violations(step.json_patches, f"{path}.jsonPatches")
    else:
        yield Violation(path, f"{field} must have exactly one defined: value, jsonPatches")


def _addition_violations(value: str | None, kind: type[Message], path: str) -> Iterator[Violation]:
    """What is added is complete, so Envoy's own rules hold for it; these two are broken most easily."""
    if value is None:
        yield Violation(path, MUST_BE_DEFINED)
        return
    try:
        added: Any = parse_message(value, kind)
    except EnvoyTextInvalid as error:
        yield Violation(path, f"{_NOT_VALID}{error}")
        return
    if not added.name:
        yield Violation(path, f"{_NOT_VALID}invalid {kind.DESCRIPTOR.name}.Name: value length must be at least 1 runes")
    if isinstance(added, VirtualHost) and not added.domains:
        yield Violation(path, f"{_NOT_VALID}invalid VirtualHost.Domains: value must contain at least 1 item(s)")


def _merge_violations(step: AnyModification, value: str, kind: type[Message], path: str) -> Iterator[Violation]:
    try:
        patch = parse_message(value, kind)
    except EnvoyTextInvalid as error:
        yield Violation(path, f"{_NOT_VALID}{error}")
        return
    wanted = step.match.name if step.match is not None else None
    if isinstance(patch, Cluster | Listener) and patch.name not in {"", wanted}:
        yield Violation(path, f"{KEEPS_ITS_NAME}; match.name says which one is patched")


def _json_patch_violations(patches: Sequence[JsonPatch], path: str) -> Iterator[Violation]:
    for index, patch in enumerate(patches):
        here = f"{path}[{index}]"
        if patch.op in _FROM_OPERATIONS:
            if patch.from_ is None:
                yield Violation(f"{here}.from", _only_with(MUST_NOT_BE_EMPTY, _FROM_OPERATIONS))
            else:
                yield from _pointer_violations(patch.from_, f"{here}.from")
        elif patch.from_ is not None:
            yield Violation(f"{here}.from", _only_with("is allowed only", _FROM_OPERATIONS))
        if patch.op in _VALUE_OPERATIONS and patch.value is None:
            yield Violation(f"{here}.value", _only_with(MUST_NOT_BE_EMPTY, _VALUE_OPERATIONS))
        elif patch.op not in _VALUE_OPERATIONS and patch.value is not None:
            yield Violation(f"{here}.value", _only_with("is allowed only", _VALUE_OPERATIONS))
        if patch.op == "remove" and patch.path in {"", "/"}:
            yield Violation(f"{here}.path", "root path cannot be removed")
        else:
            yield from _pointer_violations(patch.path, f"{here}.path")


def _pointer_violations(pointer: str, path: str) -> Iterator[Violation]:
    if pointer and not pointer.startswith("/"):
        yield Violation(path, "must be empty or start with a / (a JSON pointer)")
    if "~" in pointer.replace("~0", "").replace("~1", ""):
        yield Violation(path, "must write ~ as ~0 and / as ~1 (a JSON pointer)")


def _only_with(message: str, operations: tuple[str, ...]) -> str:
    quoted = ", ".join(f'"{name}"' for name in operations)
    return f'{message} when "op" is one of [{quoted}]'
