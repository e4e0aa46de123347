"""From the policies that select a proxy to the rules that hold for it (spec/policies.md §2)."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from kuma.core.model.kinds import BY_NAME
from kuma.core.model.labels import SERVICE_TAG, kri
from kuma.core.model.resource import Key, Resource
from kuma.core.policies._kit.contract import CannotApply, Policy
from kuma.core.policies._kit.match import Routes
from kuma.core.policies._kit.merge import conf_text, merge
from kuma.core.policies._kit.rules import InboundRule, InboundRules, SubsetRule, TagMatch
from kuma.core.policies._kit.spec import Match, TargetRef

MAX_SUBSETS: Final = 4096
"""Most combinations of source tags that ``from`` entries may span; a proxy beyond it keeps its last good config."""
_MOST_LOOKED_AT: Final = MAX_SUBSETS**2 // 2 + MAX_SUBSETS
"""Entries looked at until all groups are found: enough for as many entries on one tag as there may be groups."""

Part = tuple[Any, Key]
"""A conf and the policy it stands in."""
ANY_VALUE: Final = "*"
"""A tag with this value in a targetRef stands for any value of the tag."""


class TooManySubsets(CannotApply):
    """The ``from`` entries of policies combine to too many groups of sources."""


def outbound_parts(selected: Sequence[Resource[Any]], service: str) -> tuple[Part, ...]:
    """The ``to`` entries that speak of a ``kuma.io/service``, lowest priority first."""
    return tuple(
        (item.default, resource.meta.key)
        for resource in selected
        if not _speaks_of_routes(resource)
        for item in resource.spec.to
        if _speaks_of(item.target_ref, service)
    )


def route_parts(selected: Sequence[Resource[Any]], service: str, routes: Routes) -> tuple[Part, ...]:
    """
    What speaks of a route to a service, beside ``outbound_parts``.

    These are entries for one of the MeshHTTPRoutes that the route comes from (``routes``), and entries of policies
    whose own targetRef is one of them.
    """
    return tuple(
        (item.default, resource.meta.key)
        for resource in selected
        for item in resource.spec.to
        if (
            routes.meant_by(resource.spec.target) and _speaks_of(item.target_ref, service)
            if resource.spec.target.kind == "MeshHTTPRoute"
            else item.target_ref.kind == "MeshHTTPRoute" and routes.meant_by(item.target_ref)
        )
    )


def whole_parts(selected: Sequence[Resource[Any]]) -> tuple[Part, ...]:
    """The confs of a kind that has one for the whole proxy, lowest priority first."""
    return tuple(
        (resource.spec.default, resource.meta.key) for resource in selected if resource.spec.default is not None
    )


def has_outbound_rules(selected: Sequence[Resource[Any]]) -> bool:
    """Whether any of the policies has a ``to`` entry that can hold for a ``kuma.io/service``."""
    return any(
        item.target_ref.kind in {"Mesh", "MeshService"}
        for resource in selected
        if not _speaks_of_routes(resource)
        for item in resource.spec.to
    )


def speaking_of_inbounds(selected: Sequence[Resource[Any]]) -> tuple[Resource[Any], ...]:
    """The policies that have something to say about traffic that arrives."""
    return tuple(resource for resource in selected if resource.spec.rules or resource.spec.from_)


def inbound_rules(policy: Policy, selected: Sequence[Resource[Any]]) -> InboundRules[Any]:
    """All that the policies say about one inbound."""
    traits = BY_NAME[policy.kind].policy
    if traits is None or not selected:
        return InboundRules()
    ordered = tuple(_ordered_rules(policy, selected, from_as_rules=traits.from_as_rules))
    rules = tuple(sorted(ordered, key=_specificity))
    plain = [(rule.conf, rule.origin) for rule in ordered if rule.match is None]
    subsets: tuple[SubsetRule[Any], ...] = ()
    if traits.from_ and not traits.from_as_rules and not rules:
        subsets = subset_rules(policy, selected)
    return InboundRules(rules, merge(policy.conf, plain) if traits.from_as_rules else None, subsets)


def subset_rules(policy: Policy, selected: Sequence[Resource[Any]]) -> tuple[SubsetRule[Any], ...]:
    """
    ``from`` entries as disjoint groups of sources, each with the merge of every entry that covers it.

    A group is a set of tags a source has and has not. Groups are split only on tags that can still change the
    result, so entries on different values of one tag grow linearly; groups that no entry covers are left out.

    Raises:
        TooManySubsets: more than ``MAX_SUBSETS`` groups.
    """
    entries = [(tags, item.default, resource.meta.key) for resource in selected for item in resource.spec.from_
               if (tags := _source_tags(item.target_ref)) is not None]  # fmt: skip
    found: list[SubsetRule[Any]] = []
    if sum(bool(tags) for tags, _, _ in entries) > MAX_SUBSETS:
        raise _too_many({origin for _, _, origin in entries}, f"there are over {MAX_SUBSETS} of them")
    for number, group in enumerate(_groups([tags for tags, _, _ in entries]), start=1):
        if number > MAX_SUBSETS or group is None:
            raise _too_many({origin for _, _, origin in entries}, f"they make over {MAX_SUBSETS} groups")
        merged = merge(policy.conf, [entries[index][1:] for index in sorted(group.covered)])
        if merged is not None:
            found.append(SubsetRule(_subset(group), merged))
    return tuple(sorted(found, key=lambda rule: -sum(not tag.negated for tag in rule.subset)))


def _too_many(policies: Collection[Key], why: str) -> TooManySubsets:
    listed = ", ".join(sorted(key.name for key in policies)[:10])
    return TooManySubsets(
        f"the 'from' entries of {listed} tell sources apart by so many tags that {why}; use fewer tags, or "
        "'rules' with SPIFFE ids",
        sorted(policies),
    )


def subset_parts(selected: Sequence[Resource[Any]], rule: SubsetRule[Any]) -> tuple[Part, ...]:
    """The ``from`` entries that a rule for a group of sources was merged from, lowest priority first."""
    has = {tag.key: tag.value for tag in rule.subset if not tag.negated}
    return tuple(
        (item.default, resource.meta.key)
        for resource in selected
        for item in resource.spec.from_
        if (tags := _source_tags(item.target_ref)) is not None
        and all(has.get(key) == value or (value == ANY_VALUE and key in has) for key, value in tags.items())
    )


def _speaks_of_routes(resource: Resource[Any]) -> bool:
    """A policy for routes says nothing about services, in any of its entries."""
    if resource.spec.target.kind == "MeshHTTPRoute":
        return True
    return any(item.target_ref.kind == "MeshHTTPRoute" for item in resource.spec.to)


def _speaks_of(ref: TargetRef, service: str) -> bool:
    if ref.kind == "Mesh":
        return True
    return ref.kind == "MeshService" and ref.name == service and not ref.labels and not ref.section_name


def _ordered_rules(
    policy: Policy, selected: Sequence[Resource[Any]], *, from_as_rules: bool
) -> Iterator[InboundRule[Any]]:
    """Entries in ascending priority of their policies; within a policy in the order written."""
    short_name = BY_NAME[policy.kind].short_name
    for resource in selected:
        origin, name = resource.meta.key, kri(short_name, resource.meta)
        for rule in resource.spec.rules:
            matches: Sequence[Match | None] = getattr(rule, "matches", None) or (None,)
            for match in matches:
                yield InboundRule(match, rule.default, origin, name, conf_text(rule.default))
        if from_as_rules and not resource.spec.rules:
            for item in resource.spec.from_:
                yield InboundRule(None, item.default, origin, name, conf_text(item.default))


def _specificity(rule: InboundRule[Any]) -> tuple[int, int]:
    """Stable sort key: an exact SPIFFE id before a prefix before none, then a server name before none."""
    if rule.match is None:
        return 2, 1
    spiffe = 2 if rule.match.spiffe_id is None else 0 if rule.match.spiffe_id.type == "Exact" else 1
    return spiffe, 1 if rule.match.sni is None else 0


def _source_tags(ref: TargetRef) -> Mapping[str, str] | None:
    match ref.kind:
        case "Mesh":
            return {}
        case "MeshSubset":
            return ref.tags or {}
        case "MeshService" | "MeshServiceSubset" if ref.name:
            return {**(ref.tags or {}), SERVICE_TAG: ref.name}
    return None


@dataclass(frozen=True, slots=True)
class _Group:
    """
    Sources that have and have not some tags.

    ``undecided`` are the entries, by number, that hold for some of them only, with the tags on which that depends;
    ``covered`` those that hold for all.
    """

    undecided: tuple[tuple[int, Mapping[str, str]], ...]
    covered: tuple[int, ...] = ()
    positive: Mapping[str, str] = field(default_factory=dict)
    negative: _Denied | None = None


@dataclass(frozen=True, slots=True)
class _Denied:
    """A tag that sources have not, and before it those that were asked for earlier; a chain, to be shared."""

    key: str
    value: str
    before: _Denied | None


def _groups(entries: Sequence[Mapping[str, str]]) -> Iterator[_Group | None]:
    """
    Split on the first tag of an undecided entry until none is left; a group is made when it is asked for.

    None, and no more, when it would take too long.
    """
    looked_at = 0
    everyone = tuple(index for index, tags in enumerate(entries) if not tags)
    waiting = [_Group(tuple((index, tags) for index, tags in enumerate(entries) if tags), everyone)]
    while waiting:
        group = waiting.pop()
        if not group.undecided:
            yield group
            continue
        looked_at += len(group.undecided)
        if looked_at > _MOST_LOOKED_AT:
            yield None
            return
        key, value = next(iter(group.undecided[0][1].items()))
        waiting += (_without(group, key, value), _with(group, key, value))


def _with(group: _Group, key: str, value: str) -> _Group:
    """The sources of a group that have a tag; the value ``*`` stands for any."""
    undecided: list[tuple[int, Mapping[str, str]]] = []
    covered = list(group.covered)
    for index, tags in group.undecided:
        asked = tags.get(key)
        if asked in {value, ANY_VALUE}:
            rest = {k: v for k, v in tags.items() if k != key}
            if rest:
                undecided.append((index, rest))
            else:
                covered.append(index)
        elif asked is None or value == ANY_VALUE:
            undecided.append((index, tags))
    return _Group(tuple(undecided), tuple(covered), {**group.positive, key: value}, group.negative)


def _without(group: _Group, key: str, value: str) -> _Group:
    """The sources of a group that have not a tag."""
    undecided = tuple(
        (index, tags)
        for index, tags in group.undecided
        if key not in tags or (tags[key] != value and value != ANY_VALUE)
    )
    return _Group(undecided, group.covered, group.positive, _Denied(key, value, group.negative))


def _subset(group: _Group) -> tuple[TagMatch, ...]:
    """What tells the sources of a group from others; a tag they have speaks for itself, so others of its key go."""
    made = [TagMatch(key, value) for key, value in group.positive.items()]
    denied = group.negative
    while denied is not None:
        if group.positive.get(denied.key, ANY_VALUE) == ANY_VALUE:
            made.append(TagMatch(denied.key, denied.value, negated=True))
        denied = denied.before
    return tuple(sorted(made, key=lambda tag: (tag.key, tag.value)))
