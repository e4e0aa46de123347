"""
Which requests a rule takes (spec/policies.md §2, §10).

How rules of several policies become one list, in which order their matches are tried, what a route is called, and
Envoy's form of a match. Pure and total: whatever passed the validation has a name, a place and an Envoy match.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final, TypeVar

from kuma.core.policies._kit.backends import service_tags
from kuma.core.policies._kit.contract import RouteRule
from kuma.core.policies._kit.headers import header_matcher
from kuma.core.policies.meshhttproute.spec import Conf, Match, PathMatch, Rule, RuleConf
from kuma.envoy_api.envoy.config.route.v3.route_components_pb2 import QueryParameterMatcher, RouteMatch

CATCH_ALL: Final = Match(path=PathMatch(type="PathPrefix", value="/"))
"""The match of every request; a service without one gets it behind all others."""

_METHOD: Final = ":method"
_PATH_RANK: Final[Mapping[str, int]] = {"Exact": 0, "PathPrefix": 1, "RegularExpression": 2}
_NO_PATH_RANK: Final = 3
# What Go's JSON writes in another way than ours.
_GO_ESCAPES: Final = {ord(char): f"\\u{ord(char):04x}" for char in "<>&\u2028\u2029"}

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Entry:
    """One match of a rule, with the name that all routes of the rule have."""

    match: Match
    name: str
    conf: RuleConf


def combined(confs: Iterable[Conf]) -> Conf:
    """
    The rules of several policies, given in ascending priority, as one list: the first to count first.

    Rules with equal matches are one rule: each part of its conf is that of the policy of the highest priority that
    has it, and the rule stands where that policy put it.
    """
    found: dict[str, Rule] = {}
    for conf in confs:
        for rule in reversed(conf.rules):
            text = matches_text(rule.matches)
            before = found.pop(text, None)
            found[text] = rule if before is None else Rule(matches=rule.matches, default=_over(before, rule))
    return Conf(rules=tuple(reversed(found.values())))


def entries(rules: Sequence[Rule]) -> tuple[Entry, ...]:
    """Every match of the rules in the order in which Envoy must try them, the last one taking all that is left."""
    unordered = [Entry(match, route_name(rule.matches), rule.default) for rule in rules for match in rule.matches]
    ordered = in_order(unordered, lambda entry: entry.match)
    if all(entry.match != CATCH_ALL for entry in ordered):
        ordered.append(Entry(CATCH_ALL, route_name((CATCH_ALL,)), RuleConf()))
    return tuple(ordered)


def in_order(items: Iterable[T], match_of: Callable[[T], Match]) -> list[T]:
    """The most specific match first; of equally specific ones, the first written."""
    return sorted(items, key=lambda item: _specificity(match_of(item)))


def route_name(matches: Sequence[Match]) -> str:
    """What routes of a rule are called, in statistics and by other policies: base64 of a SHA-256 of its matches."""
    return base64.b64encode(sha256(matches_text(matches).encode(errors="surrogatepass")).digest()).decode()


def routes(conf: Conf) -> Iterator[RouteRule]:
    """The rules with the names that their routes have."""
    return (RouteRule(route_name(rule.matches), rule.matches, rule.default) for rule in conf.rules)


def matches_text(matches: Sequence[Match]) -> str:
    """The matches as the JSON that Go would write."""
    text = json.dumps([_go_json(match) for match in matches], ensure_ascii=False, separators=(",", ":"))
    return text.translate(_GO_ESCAPES)


def destinations(conf: Conf) -> Iterator[tuple[tuple[str, str], ...]]:
    """The tags of every service that the rules may send requests or copies of them to."""
    for rule in conf.rules:
        refs = [ref for ref in rule.default.backend_refs or () if ref.weight > 0]
        mirrors = [one.request_mirror for one in rule.default.filters or () if one.type == "RequestMirror"]
        refs += [mirror.backend_ref for mirror in mirrors if mirror is not None]
        yield from (tags for tags in map(service_tags, refs) if tags is not None)


def by_prefix(match: Match) -> bool:
    """Whether a match is of a path prefix, which a rewrite may replace; no path at all is the prefix ``/``."""
    return match.path is None or match.path.type == "PathPrefix"


def envoy_matches(match: Match) -> tuple[RouteMatch, ...]:
    """A match in Envoy's form. A prefix other than ``/`` becomes two: the path itself, and all paths below it."""
    made = tuple(_path_matches(match.path or CATCH_ALL.path))
    for one in made:
        if match.method is not None:
            one.headers.add(name=_METHOD).string_match.exact = match.method
        for parameter in _first_of_each(match.query_params or (), lambda item: item.name):
            _write_query(one.query_parameters.add(name=parameter.name), parameter.type, parameter.value)
        one.headers.extend(map(header_matcher, _first_of_each(match.headers or (), lambda item: item.name)))
    return made


def _over(lower: Rule, higher: Rule) -> RuleConf:
    return RuleConf(
        filters=lower.default.filters if higher.default.filters is None else higher.default.filters,
        backend_refs=lower.default.backend_refs if higher.default.backend_refs is None else higher.default.backend_refs,
    )


def _specificity(match: Match) -> tuple[int, int, bool, int, int]:
    rank, length = _NO_PATH_RANK, 0
    if match.path is not None:
        rank = _PATH_RANK[match.path.type]
        # All exact paths are alike: no request matches two of them.
        length = 0 if match.path.type == "Exact" else len(match.path.value.encode(errors="surrogatepass"))
    return rank, -length, match.method is None, -len(match.headers or ()), -len(match.query_params or ())


def _go_json(match: Match) -> dict[str, Any]:
    """Fields in the order of Kuma's types, the empty ones left out as Go leaves them out."""
    text: dict[str, Any] = {name: value for name, value in match.to_json().items() if value}
    if "headers" in text:
        text["headers"] = [
            {name: value for name, value in header.items() if value or name == "name"} for header in text["headers"]
        ]
    return text


def _path_matches(path: PathMatch | None) -> Iterator[RouteMatch]:
    if path is None:
        return
    match path.type:
        case "Exact":
            yield RouteMatch(path=path.value)
        case "PathPrefix":
            trimmed = path.value.removesuffix("/")
            if trimmed:
                yield RouteMatch(path=trimmed)
            yield RouteMatch(prefix=f"{trimmed}/")
        case "RegularExpression":
            made = RouteMatch()
            made.safe_regex.regex = path.value
            yield made


def _write_query(target: QueryParameterMatcher, kind: str, value: str) -> None:
    if kind == "RegularExpression":
        target.string_match.safe_regex.regex = value
    else:
        target.string_match.exact = value


def _first_of_each(items: Iterable[T], name_of: Callable[[T], str]) -> Iterator[T]:
    """Of several conditions on one name the first counts, as in Kuma."""
    seen: set[str] = set()
    for item in items:
        name = name_of(item)
        if name not in seen:
            seen.add(name)
            yield item
