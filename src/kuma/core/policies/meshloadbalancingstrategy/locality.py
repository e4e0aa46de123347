"""
Which endpoints are near to a proxy (spec/policies.md §12): endpoints in groups, each with a priority and a weight.

What a conf means at a place is settled first (``nearness``): proxies for which it means the same share the groups.
Equal input gives equal groups, in one order. The groups of a result fit into an Envoy assignment: priorities and the
sum of weights stay within its limits.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, TypeVar

from kuma.core.policies.meshloadbalancingstrategy.spec import (
    AffinityTag,
    CrossZone,
    Failover,
    LocalityAwareness,
    LocalZone,
)
from kuma.core.units import parse_decimal
from kuma.core.xds.localities import Group, Grouping, Located, Place

DEFAULT_OVERPROVISIONING: Final = 200
_LARGEST: Final = 2**32 - 1
_LOWEST_PRIORITY: Final = 128
_REST: Final = 1

E = TypeVar("E")


def has_weights(conf: LocalityAwareness | None) -> bool:
    """Whether the weights of groups count, which the cluster must say too."""
    zone = _rules(conf)[0]
    return zone is not None and bool(zone.affinity_tags)


@dataclass(frozen=True, slots=True)
class _Affinity:
    key: str
    value: str
    weight: int


@dataclass(frozen=True, slots=True)
class Localities:
    """
    A conf as it holds at one place.

    ``affinities`` are the tags that the place itself has; ``failovers`` the rules that hold for its zone, each with its
    priority. ``plain`` adds no rule of its own: the own zone is preferred and all others follow, or, when ``flat``,
    every endpoint is equally near.
    """

    zone: str
    plain: bool = False
    flat: bool = False
    affinities: tuple[_Affinity, ...] = ()
    failovers: tuple[tuple[int, Failover], ...] = ()
    overprovisioning: int | None = None

    def grouped(self, endpoints: Iterable[Located[E]]) -> Grouping[E]:
        """The endpoints in groups by nearness, those of a group in the order given."""
        if self.plain:
            return Grouping(_collected((_plain(one, self.zone, flat=self.flat), one) for one in endpoints))
        placed = ((_near(one, self), one) for one in endpoints)
        groups = _collected((key, one) for key, one in placed if key is not None)
        return Grouping(_fitting(groups), self.overprovisioning)


def nearness(conf: LocalityAwareness | None, place: Place) -> Localities:
    """
    What a conf means at a place.

    Without a conf the own zone is preferred and all others follow. With a ``localZone`` or a ``crossZone``, other
    zones are left out unless a failover rule leads there. Disabled, every endpoint is equally near.
    """
    local, cross = _rules(conf)
    if local is None and cross is None:
        return Localities(place.zone, plain=True, flat=conf is not None and bool(conf.disabled))
    return Localities(
        place.zone,
        affinities=tuple(_affinities(local, place)),
        failovers=tuple(_failovers(cross, place.zone)),
        overprovisioning=overprovisioning(cross),
    )


def overprovisioning(conf: CrossZone | None) -> int:
    """
    Envoy's factor for a failover threshold: it moves on when fewer than ``100 / factor`` of the endpoints are well.

    The factor is a multiple of 100, as in Kuma: a threshold of 70 % counts as 100 %.
    """
    if conf is None or conf.failover_threshold is None:
        return DEFAULT_OVERPROVISIONING
    percentage = parse_decimal(str(conf.failover_threshold.percentage))
    if percentage <= 0:
        return DEFAULT_OVERPROVISIONING
    return min(int(100 / percentage) * 100, _LARGEST)


@dataclass(frozen=True, slots=True, order=True)
class _Key:
    """What tells groups apart, in the order of the result."""

    priority: int
    zone: str
    sub_zone: str = ""
    weight: int = 0


def _rules(conf: LocalityAwareness | None) -> tuple[LocalZone | None, CrossZone | None]:
    if conf is None or conf.disabled:
        return None, None
    return conf.local_zone, conf.cross_zone


def _plain(one: Located[E], zone: str, *, flat: bool) -> _Key:
    return _Key(0 if flat or one.zone == zone else 1, one.zone)


def _near(one: Located[E], here: Localities) -> _Key | None:
    """Where an endpoint belongs; None where it is left out."""
    if one.zone == here.zone:
        for tag in here.affinities:
            if one.tags.get(tag.key) == tag.value:
                return _Key(0, one.zone, f"{tag.key}={tag.value}", tag.weight)
        return _Key(0, one.zone, weight=_REST)
    for priority, rule in here.failovers:
        if _leads_to(rule, one.zone):
            return _Key(priority, one.zone)
    return None


def _affinities(local: LocalZone | None, place: Place) -> Iterator[_Affinity]:
    """The tags that the proxy itself has. Of several values the smallest counts."""
    tags: tuple[AffinityTag, ...] = local.affinity_tags or () if local is not None else ()
    for index, tag in enumerate(tags):
        values = place.tags.get(tag.key)
        if values:
            default = 9 * 10 ** (len(tags) - index - 1)
            yield _Affinity(tag.key, min(values), default if tag.weight is None else tag.weight)


def _failovers(cross: CrossZone | None, zone: str) -> Iterator[tuple[int, Failover]]:
    """The rules that hold for a zone. The priority is the place in the whole list, holding or not."""
    rules: tuple[Failover, ...] = cross.failover or () if cross is not None else ()
    for index, rule in enumerate(rules):
        if rule.from_ is None or zone in rule.from_.zones:
            yield min(index + 1, _LOWEST_PRIORITY), rule


def _leads_to(rule: Failover, zone: str) -> bool:
    zones = rule.to.zones or ()
    match rule.to.type:
        case "Any":
            return True
        case "AnyExcept":
            return zone not in zones
        case "Only":
            return zone in zones
    return False


def _collected(placed: Iterable[tuple[_Key, Located[E]]]) -> tuple[Group[E], ...]:
    found: dict[_Key, list[E]] = {}
    for key, one in placed:
        found.setdefault(key, []).append(one.endpoint)
    return tuple(
        Group(key.priority, key.zone, key.sub_zone, key.weight or None, tuple(found[key])) for key in sorted(found)
    )


def _fitting(groups: tuple[Group[E], ...]) -> tuple[Group[E], ...]:
    """Weights scaled down together when Envoy could not add them up."""
    total = sum(group.weight or 0 for group in groups)
    if total <= _LARGEST:
        return groups
    room = _LARGEST - len(groups)
    return tuple(
        Group(
            group.priority,
            group.zone,
            group.sub_zone,
            None if group.weight is None else max(1, group.weight * room // total),
            group.endpoints,
        )
        for group in groups
    )
