"""Which conf holds for what a proxy sends and receives, and which policies each part of it came from.

Selection, order and merge are those that configure proxies (``selection``, ``_kit``); nothing is decided here. What is
added is the account: every value of a conf names the policies that put it there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from kuma.core.model.kinds import BY_NAME
from kuma.core.model.labels import SERVICE_TAG
from kuma.core.model.resource import Key, Meta, Resource
from kuma.core.model.spec import Spec
from kuma.core.policies import POLICIES
from kuma.core.policies._kit.build import Part, inbound_rules, outbound_parts, route_parts, subset_parts, whole_parts
from kuma.core.policies._kit.contract import Policy
from kuma.core.policies._kit.match import Routes, Selected
from kuma.core.policies._kit.merge import merge, sources
from kuma.core.policies._kit.rules import InboundRule, Merged, TagMatch
from kuma.core.policies._kit.spec import Match
from kuma.core.resources.dataplane import facts
from kuma.core.resources.dataplane.spec import Dataplane, Inbound

NO_SERVICE: Final = ""
"""A name that no service has: entries that speak of it speak of every service."""
ROUTE_TAG: Final = "__rule-matches-hash__"
"""As a tag of a rule: it holds on the routes of this name only."""

Sources = Mapping[str, tuple[Key, ...]]
"""For every value of a conf, by its path (``http.requestTimeout``), the policies that it came from."""


@dataclass(frozen=True, slots=True)
class Effective:
    """A conf that holds, the policies it was merged from, lowest priority first, and the source of each value."""

    conf: Mapping[str, Any]
    origins: tuple[Key, ...]
    sources: Sources


@dataclass(frozen=True, slots=True)
class TrafficConf:
    """What holds for traffic told by tags (none: all traffic)."""

    subset: tuple[TagMatch, ...]
    effective: Effective


@dataclass(frozen=True, slots=True)
class ClientConf:
    """What holds for the clients of an inbound that match; ``match`` None: for every connection."""

    match: Mapping[str, Any] | None
    effective: Effective


@dataclass(frozen=True, slots=True)
class InboundConfs:
    """What holds for one inbound: for groups of sources told by tags, or in the order of matches."""

    inbound: Inbound
    subsets: tuple[TrafficConf, ...]
    ordered: tuple[ClientConf, ...]


@dataclass(frozen=True, slots=True)
class KindRules:
    """What the policies of one kind say to one proxy."""

    policy: Policy
    policies: tuple[Resource[Any], ...]
    whole: Effective | None
    to: tuple[TrafficConf, ...]
    inbounds: tuple[InboundConfs, ...]

    @property
    def kind(self) -> str:
        """The name of the kind."""
        return self.policy.kind


@dataclass(frozen=True, slots=True)
class Route:
    """One rule of the routes to a service: its name, its matches, what it does, and where it came from."""

    name: str
    matches: tuple[Mapping[str, Any], ...]
    effective: Effective


def explained(dataplane: Resource[Dataplane], selected: Mapping[str, Selected]) -> tuple[KindRules, ...]:
    """All rules of every kind that selects the proxy, in the order in which kinds are applied."""
    return tuple(
        KindRules(
            policy,
            chosen.policies,
            _whole(policy, chosen),
            tuple(_to(policy, chosen, selected)),
            tuple(_inbounds(policy, chosen, dataplane)),
        )
        for policy in POLICIES
        if (chosen := selected[policy.kind]).policies
    )


def towards(policy: Policy, selected: Mapping[str, Selected], service: str) -> Effective | None:
    """What one kind says of traffic to a service."""
    return _effective(policy, outbound_parts(selected[policy.kind].policies, service))


def on_route(policy: Policy, selected: Mapping[str, Selected], service: str, route: str) -> Effective | None:
    """What one kind says of what one route carries to a service."""
    policies = selected[policy.kind].policies
    special = route_parts(policies, service, _route_origins(selected, service).get(route, Routes()))
    return _effective(policy, outbound_parts(policies, service) + special)


def routes(policy: Policy, selected: Mapping[str, Selected], service: str) -> tuple[Route, ...]:
    """The rules of a routing kind for a service, the first to count first; nothing where there are none."""
    if policy.routes is None:
        return ()
    parts = outbound_parts(selected[policy.kind].policies, service)
    merged = merge(policy.conf, parts, policy.combine)
    if merged is None:
        return ()
    found = []
    for rule in policy.routes(merged.conf):
        own = [
            (given.conf, origin) for conf, origin in parts for given in policy.routes(conf) if given.name == rule.name
        ]
        origins = tuple(dict.fromkeys(origin for _, origin in own))
        found.append(
            Route(
                rule.name,
                tuple(match.to_json() for match in rule.matches),
                Effective(rule.conf.to_json(), origins, sources(own)),
            )
        )
    return tuple(found)


def _effective(policy: Policy, parts: Sequence[Part]) -> Effective | None:
    merged = merge(policy.conf, parts, policy.combine)
    return None if merged is None else _shown(merged, parts)


def _shown(merged: Merged[Any], parts: Iterable[Part]) -> Effective:
    return Effective(merged.conf.to_json(), merged.origins, sources(parts))


def _alone(conf: Spec, origin: Key) -> Effective:
    return Effective(conf.to_json(), (origin,), sources([(conf, origin)]))


def _whole(policy: Policy, chosen: Selected) -> Effective | None:
    return None if policy.patch is None else _effective(policy, whole_parts(chosen.policies))


def _to(policy: Policy, chosen: Selected, selected: Mapping[str, Selected]) -> Iterator[TrafficConf]:
    """A rule per service that an entry names, one for all others, and those that hold on single routes."""
    traits = BY_NAME[policy.kind].policy
    if traits is None or not traits.to:
        return
    entries = [item for one in chosen.policies for item in one.spec.to]
    named = sorted({item.target_ref.name for item in entries if item.target_ref.kind == "MeshService"} - {None, ""})
    for service in (*named, NO_SERVICE):
        effective = _effective(policy, outbound_parts(chosen.policies, service))
        if effective is not None:
            yield TrafficConf(_of_service(service, named), effective)
    if policy.destinations is None:
        for service in _routed(selected):
            for name, origins in _route_origins(selected, service).items():
                special = route_parts(chosen.policies, service, origins)
                effective = _effective(policy, outbound_parts(chosen.policies, service) + special) if special else None
                if effective is not None:
                    yield TrafficConf((TagMatch(SERVICE_TAG, service), TagMatch(ROUTE_TAG, name)), effective)


def _of_service(service: str, named: Sequence[str]) -> tuple[TagMatch, ...]:
    if service:
        return (TagMatch(SERVICE_TAG, service),)
    return tuple(TagMatch(SERVICE_TAG, other, negated=True) for other in named)


def _routed(selected: Mapping[str, Selected]) -> list[str]:
    """The services to which there are routes."""
    return sorted(
        {
            item.target_ref.name
            for policy in POLICIES
            if policy.routes is not None
            for one in selected[policy.kind].policies
            for item in one.spec.to
            if item.target_ref.kind == "MeshService" and item.target_ref.name
        }
    )


def _route_origins(selected: Mapping[str, Selected], service: str) -> Mapping[str, Routes]:
    return route_origins(((policy, selected[policy.kind].policies) for policy in POLICIES), service)


def route_origins(routing: Iterable[tuple[Policy, Sequence[Resource[Any]]]], service: str) -> Mapping[str, Routes]:
    """For each route to a service, the policies its rule is in."""
    found: dict[str, dict[Key, Meta]] = {}
    for policy, policies in routing:
        if policy.routes is None:
            continue
        for resource in policies:
            for conf, _ in outbound_parts((resource,), service):
                for rule in policy.routes(conf):
                    found.setdefault(rule.name, {})[resource.meta.key] = resource.meta
    return {name: Routes.of(metas.values()) for name, metas in found.items()}


def _inbounds(policy: Policy, chosen: Selected, dataplane: Resource[Dataplane]) -> Iterator[InboundConfs]:
    if policy.inbound is None:
        return
    inbounds = facts.networking(dataplane.spec).inbound
    for inbound, policies in zip(inbounds, chosen.by_inbound, strict=True):
        found = inbound_rules(policy, policies)
        ordered = tuple(_clients(found.rules, found.catch_all))
        subsets = tuple(
            TrafficConf(rule.subset, _shown(rule.merged, subset_parts(policies, rule))) for rule in found.subsets
        )
        if ordered or subsets:
            yield InboundConfs(inbound, subsets, ordered)


def _clients(rules: Sequence[InboundRule[Any]], catch_all: Merged[Any] | None) -> Iterator[ClientConf]:
    """The rules in their order; those for everybody are one conf where the kind merges them."""
    for rule in rules:
        if rule.match is not None or catch_all is None:
            yield ClientConf(_match(rule.match), _alone(rule.conf, rule.origin))
    if catch_all is not None:
        plain = [(rule.conf, rule.origin) for rule in rules if rule.match is None]
        yield ClientConf(None, _shown(catch_all, plain))


def _match(match: Match | None) -> Mapping[str, Any] | None:
    return None if match is None else match.to_json()
