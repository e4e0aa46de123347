"""Labels: which a user may write, which the control plane adds, and which never change (spec/api-server.md §4.2)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from kuma.core.errors import Violation
from kuma.core.model import names
from kuma.core.model.kinds import Kind, Scope
from kuma.core.model.labels import DISPLAY_NAME_LABEL, ENV_LABEL, MESH_LABEL, ORIGIN_LABEL, ZONE_LABEL

ZONE_ORIGIN: Final = "zone"
GLOBAL_ORIGIN: Final = "global"
IMMUTABLE: Final = (ORIGIN_LABEL, ZONE_LABEL, DISPLAY_NAME_LABEL)


def validate(kind: Kind, mesh: str, zone: str, written: Mapping[str, str]) -> Iterator[Violation]:
    """What is wrong with the labels a user wrote."""
    yield from names.labels(written)
    origin = written.get(ORIGIN_LABEL)
    if origin not in {None, ZONE_ORIGIN, GLOBAL_ORIGIN}:
        yield Violation(_path(ORIGIN_LABEL), f'must be either "{GLOBAL_ORIGIN}" or "{ZONE_ORIGIN}"')
    if origin == GLOBAL_ORIGIN:
        return
    if written.get(ZONE_LABEL, zone) != zone:
        yield Violation(_path(ZONE_LABEL), f"{ZONE_LABEL} label should have {zone} value")
    if kind.scope is Scope.MESH and written.get(MESH_LABEL, mesh) != mesh:
        yield Violation(_path(MESH_LABEL), f"{MESH_LABEL} label must not differ from mesh set on resource")


def compute(
    kind: Kind, mesh: str, zone: str, environment: str, written: Mapping[str, str] | None = None
) -> dict[str, str]:
    """All labels of a resource: those written, and those that follow from where it is, in alphabetic order."""
    labels = dict(written or {})
    if kind.scope is Scope.MESH and kind.labelled:
        labels.setdefault(MESH_LABEL, mesh)
    if kind.zone_originated:
        origin = labels.setdefault(ORIGIN_LABEL, ZONE_ORIGIN)
        if origin != GLOBAL_ORIGIN:
            labels.setdefault(ZONE_LABEL, zone)
            labels.setdefault(ENV_LABEL, environment)
    return dict(sorted(labels.items()))


def changed(before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[Violation]:
    """Labels that are not what they were, although they say where the resource comes from."""
    for label in IMMUTABLE:
        was, now = before.get(label), after.get(label)
        if was is None or was == now:
            continue
        if now is None:
            yield Violation(_path(label), f'is immutable, cannot be removed (was "{was}")')
        else:
            yield Violation(_path(label), f'is immutable, cannot be changed from "{was}" to "{now}"')


def _path(label: str) -> str:
    return f'labels["{label}"]'
