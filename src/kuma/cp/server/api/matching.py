"""Which policies select a proxy, and the rules that hold for it, as the inspect endpoints show them.

Everything here asks the same functions that configure proxies; nothing decides by itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from kuma.core.model.kinds import BY_NAME
from kuma.core.model.labels import SERVICE_TAG
from kuma.core.model.resource import Resource
from kuma.core.policies import BY_KIND
from kuma.core.policies._kit.build import inbound_rules, outbound_parts
from kuma.core.policies._kit.match import Selected, in_priority_order, is_shadow, select
from kuma.core.policies._kit.merge import merge
from kuma.core.policies._kit.rules import Merged, TagMatch
from kuma.core.resources.dataplane import facts
from kuma.core.resources.dataplane.spec import Dataplane, Inbound
from kuma.core.snapshot.proxy import proxy_of

_NO_SERVICE: Final = ""
"""A name that no service has: entries that speak of it speak of every service."""

Policies = Mapping[str, Sequence[Resource[Any]]]
"""The policies of a mesh by kind."""


@dataclass(frozen=True, slots=True)
class SubsetConf:
    """A conf and the traffic it holds for, told by tags (none: all traffic)."""

    subset: tuple[TagMatch, ...]
    merged: Merged[Any]


@dataclass(frozen=True, slots=True)
class OrderedConf:
    """A conf of an ordered list; ``match`` is None where it holds for every connection."""

    match: Mapping[str, Any] | None
    conf: Mapping[str, Any]
    origins: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class InboundConfs:
    """What holds for one inbound."""

    inbound: Inbound
    subsets: tuple[SubsetConf, ...]
    ordered: tuple[OrderedConf, ...]


@dataclass(frozen=True, slots=True)
class KindRules:
    """What the policies of one kind say to one proxy."""

    kind: str
    policies: tuple[Resource[Any], ...]
    to: tuple[SubsetConf, ...]
    inbounds: tuple[InboundConfs, ...]


def selects(policy: Resource[Any], dataplane: Resource[Dataplane]) -> bool:
    """Whether a policy selects a proxy, or any of its inbounds."""
    return bool(select((policy,), proxy_of(dataplane).facts).policies)


def rules_for(dataplane: Resource[Dataplane], policies: Policies) -> tuple[KindRules, ...]:
    """The rules of every kind that selects the proxy, in the order in which kinds are applied."""
    proxy = proxy_of(dataplane)
    found = []
    for kind, of_kind in policies.items():
        chosen = select(in_priority_order(p for p in of_kind if not is_shadow(p.meta)), proxy.facts)
        if chosen.policies:
            found.append(KindRules(kind, chosen.policies, _to(kind, chosen), tuple(_inbounds(kind, chosen, dataplane))))
    return tuple(found)


def _to(kind: str, chosen: Selected) -> tuple[SubsetConf, ...]:
    """A rule per service that an entry names, and one for all others."""
    entries = [item for policy in chosen.policies for item in getattr(policy.spec, "to", ())]
    named = sorted({item.target_ref.name for item in entries if item.target_ref.kind == "MeshService"} - {None, ""})
    rules = []
    for service in (*named, _NO_SERVICE):
        merged = merge(BY_KIND[kind].conf, outbound_parts(chosen.policies, service)) if entries else None
        if merged is not None:
            subset = (
                (TagMatch(SERVICE_TAG, service),)
                if service
                else tuple(TagMatch(SERVICE_TAG, other, negated=True) for other in named)
            )
            rules.append(SubsetConf(subset, merged))
    return tuple(rules)


def _inbounds(kind: str, chosen: Selected, dataplane: Resource[Dataplane]) -> Iterator[InboundConfs]:
    traits = BY_NAME[kind].policy
    if traits is None or not (traits.from_ or traits.rules):
        return
    inbounds = facts.networking(dataplane.spec).inbound
    for inbound, policies in zip(inbounds, chosen.by_inbound, strict=True):
        rules = inbound_rules(BY_KIND[kind], policies)
        ordered = tuple(
            OrderedConf(rule.match.to_json() if rule.match else None, rule.conf.to_json(), (rule.origin,))
            for rule in rules.rules
        )
        if rules.catch_all is not None:
            # These are merged into one conf, so one conf is shown.
            merged = OrderedConf(None, rules.catch_all.conf.to_json(), rules.catch_all.origins)
            ordered = (*(rule for rule in ordered if rule.match is not None), merged)
        subsets = tuple(SubsetConf(rule.subset, rule.merged) for rule in rules.subsets)
        if ordered or subsets:
            yield InboundConfs(inbound, subsets, ordered)
