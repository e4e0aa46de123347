"""Which rule of an inbound holds for which client (spec/policies.md §2, "from as rules").

A rule with a match holds for some clients only. Matches are tried from the most to the least specific, and the first
that holds decides; what its rule leaves open is taken from the next rule that holds for the same clients.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from kuma.core.model.resource import Key
from kuma.core.model.spec import Spec
from kuma.core.policies._kit.merge import merge
from kuma.core.policies._kit.rules import InboundRule, Merged
from kuma.core.policies._kit.spec import Match

C = TypeVar("C", bound=Spec)

_EVERYBODY = Match()


@dataclass(frozen=True, slots=True)
class Case(Generic[C]):
    """
    What holds for the clients that ``match`` and that no earlier case took; ``match`` None takes everybody.

    ``kri`` names the highest-ranked policy that speaks of these clients.
    """

    match: Match | None
    merged: Merged[C]
    kri: str


def by_client(rules: Sequence[InboundRule[C]]) -> Iterator[tuple[Match, tuple[InboundRule[C], ...]]]:
    """
    Matches in the order in which they are to be tried, each with the rules that hold for its clients, strongest first.

    Of rules that are equally specific, the one of the higher-ranked policy (later in ``rules``) is tried first.
    """
    matched = [(rule.match, rule) for rule in reversed(rules) if rule.match is not None and rule.match != _EVERYBODY]
    matched.sort(key=lambda item: specificity(item[0]))
    for index, (match, _) in enumerate(matched):
        yield match, tuple(rule for other, rule in matched[index:] if _covers(other, match))


def cases(conf: type[C], rules: Sequence[InboundRule[C]]) -> tuple[Case[C], ...]:
    """Who gets which conf, to be tried in order. The last case is for everybody, if any rule is."""
    plain = [rule for rule in rules if rule.match is None or rule.match == _EVERYBODY]
    found: dict[Match | None, Case[C]] = {}
    for match, holding in by_client(rules):
        if match not in found:
            found[match] = _case(conf, match, [*plain, *reversed(holding)])
    if plain:
        found[None] = _case(conf, None, plain)
    return tuple(found.values())


def specificity(match: Match) -> tuple[int, int, int]:
    """Sort key: an exact SPIFFE id, a prefix, none; then a server name, none; then the longer of two prefixes."""
    sni = 1 if match.sni is None else 0
    if match.spiffe_id is None:
        return 2, sni, 0
    return (0, sni, 0) if match.spiffe_id.type == "Exact" else (1, sni, -len(match.spiffe_id.value))


def as_written(rules: Iterable[InboundRule[C]]) -> list[list[InboundRule[C]]]:
    """The matches of a rule together again, for kinds of which every rule counts that holds: it counts once."""
    found: dict[tuple[Key, str], list[InboundRule[C]]] = {}
    for rule in rules:
        found.setdefault((rule.origin, rule.text), []).append(rule)
    return list(found.values())


def _case(conf: type[C], match: Match | None, ascending: Sequence[InboundRule[Any]]) -> Case[C]:
    merged = merge(conf, [(rule.conf, rule.origin) for rule in ascending])
    if merged is None:
        raise ValueError("a case needs a rule")
    return Case(match, merged, ascending[-1].kri)


def _covers(wide: Match, narrow: Match) -> bool:
    """Whether every client that ``narrow`` matches is matched by ``wide`` too."""
    if wide.sni is not None and wide.sni != narrow.sni:
        return False
    if wide.spiffe_id is None:
        return True
    if narrow.spiffe_id is None:
        return False
    if wide.spiffe_id.type == "Prefix":
        return narrow.spiffe_id.value.startswith(wide.spiffe_id.value)
    return wide.spiffe_id == narrow.spiffe_id
