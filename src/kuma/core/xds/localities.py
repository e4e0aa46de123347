"""Endpoints by nearness: what a load balancing policy makes of the endpoints of a cluster, before they are encoded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

E = TypeVar("E")


@dataclass(frozen=True, slots=True)
class Located(Generic[E]):
    """An endpoint, whatever it is to the caller, and where it is."""

    endpoint: E
    zone: str
    tags: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Place:
    """The proxy that asks: its zone, and the values of its tags over all its inbounds."""

    zone: str
    tags: Mapping[str, Sequence[str]]


@dataclass(frozen=True, slots=True)
class Group(Generic[E]):
    """Endpoints that are equally near. ``weight`` None leaves it to Envoy."""

    priority: int
    zone: str
    sub_zone: str
    weight: int | None
    endpoints: tuple[E, ...]


@dataclass(frozen=True, slots=True)
class Grouping(Generic[E]):
    """The groups of a cluster, by priority, then zone; ``overprovisioning`` None leaves Envoy's own factor."""

    groups: tuple[Group[E], ...]
    overprovisioning: int | None = None


class Nearness(Protocol):
    """A way to group endpoints, for one place. Compares by content: equal ones may share what they make."""

    def __hash__(self) -> int: ...

    def grouped(self, endpoints: Iterable[Located[E]]) -> Grouping[E]:
        """The endpoints in groups, those of a group in the order given."""
        ...
