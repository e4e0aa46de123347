"""What a kind adds to the writing of its resources: the type of the entries in ``table``."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from kuma.core.model.resource import NO_LABELS, Resource
from kuma.cp.store.port import Put, Reader, Record


@dataclass(frozen=True, slots=True)
class Setting:
    """
    Where resources are written. ``unsafe_delete`` lets a Mesh go while proxies are in it.

    ``admin_ports`` are those of the API where a caller from this host is the administrator.
    """

    store: Reader
    zone: str
    environment: str
    unsafe_delete: bool
    admin_ports: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Wanted:
    """
    A valid resource on its way into the store.

    ``record`` is what is stored under its key, ``stored`` the resource in it (None also where it cannot be read any
    more), ``mesh`` the Mesh it lives in, for mesh-scoped kinds.
    """

    resource: Resource[Any]
    record: Record | None
    stored: Resource[Any] | None
    mesh: Record | None
    now: datetime


@dataclass(frozen=True, slots=True)
class Prepared:
    """The spec to store, the writes that belong into the same batch, and sentences for the user."""

    spec: Any
    companions: tuple[Put, ...] = ()
    warnings: tuple[str, ...] = ()


async def _as_wanted(_: Setting, wanted: Wanted) -> Prepared:
    return Prepared(wanted.resource.spec)


async def _may_go(_setting: Setting, _mesh: str, _name: str) -> None:
    return None


def _whole(spec: Any) -> object:
    return spec


def _no_labels(_: Any) -> Mapping[str, str]:
    return NO_LABELS


@dataclass(frozen=True, slots=True)
class KindRules:
    """
    The rules of one kind beyond its ``Definition``, which needs nothing but the resource itself.

    ``prepare`` raises ``InvalidResource`` where the resource does not fit what else is stored. ``check_delete`` (given
    mesh and name) raises it where something still needs the resource. ``users_part`` is what a user decides of a spec:
    a write that changed only the rest does not count as someone else's change. ``labels`` are computed whatever the
    user wrote.
    """

    prepare: Callable[[Setting, Wanted], Awaitable[Prepared]] = _as_wanted
    check_delete: Callable[[Setting, str, str], Awaitable[None]] = _may_go
    users_part: Callable[[Any], object] = _whole
    labels: Callable[[Any], Mapping[str, str]] = _no_labels


PLAIN = KindRules()
"""A kind without rules of its own."""
