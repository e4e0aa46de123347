"""From the policies that select a proxy to the rules that hold for it (spec/policies.md §2)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from typing import Any, Final

from kuma.core.errors import MeshError
from kuma.core.model.kinds import BY_NAME
from kuma.core.model.labels import SERVICE_TAG, kri
from kuma.core.model.resource import Key, Resource
from kuma.core.policies._kit.contract import Policy
from kuma.core.policies._kit.merge import conf_text, merge
from kuma.core.policies._kit.rules import InboundRule, InboundRules, SubsetRule, TagMatch
from kuma.core.policies._kit.spec import Match, TargetRef

MAX_SUBSETS: Final = 4096
"""Most combinations of source tags that ``from`` entries may span; a proxy beyond it keeps its last good config."""

Part = tuple[Any, Key]
"""A conf and the policy it stands in."""
_Entry = tuple[Mapping[str, str], Any, Key]


class TooManySubsets(MeshError):
    """The ``from`` entries of policies combine to too many groups of sources; the text names the policies."""


def outbound_parts(selected: Sequence[Resource[Any]], service: str) -> tuple[Part, ...]:
    """The ``to`` entries that speak of a ``kuma.io/service``, lowest priority first."""
    return tuple(
        (item.default, resource.meta.key)
        for resource in selected
        if not any(item.target_ref.kind == "MeshHTTPRoute" for item in resource.spec.to)
        for item in resource.spec.to
        if _speaks_of(item.target_ref, service)
    )


def has_outbound_rules(selected: Sequence[Resource[Any]]) -> bool:
    """Whether any of the policies has a ``to`` entry that can hold for a ``kuma.io/service``."""
    return any(item.target_ref.kind in {"Mesh", "MeshService"} for resource in selected for item in resource.spec.to)


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
    counter = count(1)
    found: list[SubsetRule[Any]] = []
    for positive, negative in _groups(entries, {}, (), counter):
        merged = merge(policy.conf, [(conf, key) for tags, conf, key in entries if tags.items() <= positive.items()])
        if merged is not None:
            subset = [TagMatch(k, v) for k, v in positive.items()]
            subset += [TagMatch(k, v, negated=True) for k, v in negative if k not in positive]
            found.append(SubsetRule(tuple(sorted(subset, key=lambda tag: (tag.key, tag.value))), merged))
    return tuple(sorted(found, key=lambda rule: -sum(not tag.negated for tag in rule.subset)))


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


def _groups(
    entries: Sequence[_Entry], positive: dict[str, str], negative: tuple[tuple[str, str], ...], counter: Iterator[int]
) -> Iterator[tuple[dict[str, str], tuple[tuple[str, str], ...]]]:
    """Split on the first tag that some entry still possible in this group asks for; a leaf asks for none."""
    for tags, _, _ in entries:
        if any((k, v) in negative or positive.get(k, v) != v for k, v in tags.items()):
            continue
        for key, value in tags.items():
            if key not in positive:
                yield from _groups(entries, {**positive, key: value}, negative, counter)
                yield from _groups(entries, positive, (*negative, (key, value)), counter)
                return
    if next(counter) > MAX_SUBSETS:
        names = ", ".join(sorted({origin.name for _, _, origin in entries}))
        raise TooManySubsets(
            f"the 'from' entries of {names} tell sources apart by so many tags that they make over {MAX_SUBSETS} "
            "groups; use fewer tags, or 'rules' with SPIFFE ids"
        )
    yield positive, negative
