"""
What a schema cannot say about a MeshHTTPRoute.

Checks that Kuma does not make (expressions, header values, rewrites without a path) refuse what Envoy would refuse:
such a policy would freeze the configuration of every proxy that it selects.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from kuma.core.errors import Violation
from kuma.core.policies._kit.backends import backend_violations, backend_warnings
from kuma.core.policies._kit.headers import (
    MAX_VALUES,
    count_of_values,
    header_changes_violations,
    header_match_violations,
    removed_name_violations,
)
from kuma.core.policies._kit.regex import regex_violations
from kuma.core.policies._kit.validation import (
    MUST_BE_DEFINED,
    MUST_NOT_BE_DEFINED,
    MUST_NOT_BE_EMPTY,
    TOP_LEVEL_KINDS,
    decimal_percentage,
    header_value_violations,
    reference_warnings,
    target_ref_violations,
    top_level_warnings,
)
from kuma.core.policies.meshhttproute.matching import in_order
from kuma.core.policies.meshhttproute.spec import (
    Filter,
    HeaderModifier,
    Match,
    MeshHTTPRoute,
    PathMatch,
    PathRewrite,
    QueryParamMatch,
    Rule,
    RuleConf,
    UrlRewrite,
)
from kuma.core.units import is_ip

_TO_KINDS: Final = ("MeshService", "MeshExternalService", "MeshMultiZoneService")
_MIRROR_KINDS: Final = ("MeshService", "MeshServiceSubset")
_GATEWAY: Final = "MeshGateway"
_LONGEST_PARAMETER: Final = 1024


def validate(spec: MeshHTTPRoute) -> Iterator[Violation]:
    """Every broken rule."""
    if spec.target_ref is not None:
        yield from target_ref_violations(spec.target_ref, "spec.targetRef", kinds=TOP_LEVEL_KINDS, tags_on_gateway=True)
    on_gateway = spec.target.kind == _GATEWAY
    for index, to in enumerate(spec.to):
        path = f"spec.to[{index}]"
        kinds = ("Mesh",) if on_gateway else _TO_KINDS
        yield from target_ref_violations(to.target_ref, f"{path}.targetRef", kinds=kinds)
        for number, rule in enumerate(to.rules):
            yield from _rule_violations(rule, f"{path}.rules[{number}]", on_gateway=on_gateway)
        if to.hostnames and not on_gateway:
            yield Violation(f"{path}.hostnames", MUST_NOT_BE_DEFINED)


def warnings(spec: MeshHTTPRoute) -> Iterator[str]:
    """Deprecated forms, and what is accepted without effect."""
    yield from top_level_warnings(spec.target_ref)
    for index, to in enumerate(spec.to):
        path = f"spec.to[{index}]"
        yield from reference_warnings(to.target_ref, f"{path}.targetRef")
        for number, rule in enumerate(to.rules):
            yield from _conf_warnings(rule.default, f"{path}.rules[{number}].default")
        yield from _unreachable(to.rules, f"{path}.rules")


def _rule_violations(rule: Rule, path: str, *, on_gateway: bool) -> Iterator[Violation]:
    for index, match in enumerate(rule.matches):
        yield from _match_violations(match, f"{path}.matches[{index}]")
    filters = rule.default.filters or ()
    for index, one in enumerate(filters):
        yield from _filter_violations(
            one, f"{path}.default.filters[{index}]", matches=rule.matches, on_gateway=on_gateway
        )
    yield from _sum_violations(filters, f"{path}.default.filters")
    refs, here = rule.default.backend_refs or (), f"{path}.default.backendRefs"
    if not refs and on_gateway and all(one.type != "RequestRedirect" for one in filters):
        yield Violation(here, MUST_NOT_BE_EMPTY)
    yield from backend_violations(refs, here)


def _match_violations(match: Match, path: str) -> Iterator[Violation]:
    if match.path is not None:
        yield from _path_violations(match.path, f"{path}.path.value")
    yield from _query_violations(match.query_params or (), f"{path}.queryParams")
    for index, header in enumerate(match.headers or ()):
        yield from header_match_violations(header, f"{path}.headers[{index}]")


def _path_violations(match: PathMatch, path: str) -> Iterator[Violation]:
    if match.type == "RegularExpression":
        yield from regex_violations(match.value, path)
        return
    if match.type == "PathPrefix" and match.value != "/" and match.value.endswith("/"):
        yield Violation(
            path, "does not need a trailing slash because only a `/`-separated prefix or an entire path is matched"
        )
    if not match.value.startswith("/"):
        yield Violation(path, "must be an absolute path")


def _query_violations(matches: Sequence[QueryParamMatch], path: str) -> Iterator[Violation]:
    seen: set[str] = set()
    for index, match in enumerate(matches):
        here = f"{path}[{index}]"
        if match.name in seen:
            yield Violation(f"{here}.name", f"multiple entries for name {match.name}")
        seen.add(match.name)
        if len(match.name.encode(errors="replace")) > _LONGEST_PARAMETER:
            yield Violation(f"{here}.name", f"must not be longer than {_LONGEST_PARAMETER} characters")
        if match.type == "RegularExpression":
            yield from regex_violations(match.value, f"{here}.value")


def _filter_violations(one: Filter, path: str, *, matches: Sequence[Match], on_gateway: bool) -> Iterator[Violation]:
    match one.type:
        case "RequestHeaderModifier":
            yield from _modifier_violations(one.request_header_modifier, f"{path}.requestHeaderModifier")
        case "ResponseHeaderModifier":
            yield from _modifier_violations(one.response_header_modifier, f"{path}.responseHeaderModifier")
        case "RequestRedirect":
            here, redirect = f"{path}.requestRedirect", one.request_redirect
            if redirect is None:
                yield Violation(here, MUST_BE_DEFINED)
            else:
                yield from _rewrite_violations(redirect.path, f"{here}.path", matches)
                yield from _hostname_violations(redirect.hostname, f"{here}.hostname")
        case "URLRewrite":
            here, rewrite = f"{path}.urlRewrite", one.url_rewrite
            if rewrite is None:
                yield Violation(here, MUST_BE_DEFINED)
            else:
                yield from _rewrite_violations(rewrite.path, f"{here}.path", matches)
                yield from _hostname_violations(rewrite.hostname, f"{here}.hostname")
                yield from _backend_hostname_violations(rewrite, f"{here}.hostToBackendHostname", on_gateway=on_gateway)
        case "RequestMirror":
            here, mirror = f"{path}.requestMirror", one.request_mirror
            if mirror is None:
                yield Violation(here, MUST_BE_DEFINED)
            else:
                yield from target_ref_violations(mirror.backend_ref, f"{here}.backendRef", kinds=_MIRROR_KINDS)
                yield from decimal_percentage(mirror.percentage, f"{here}.percentage")


def _sum_violations(filters: Sequence[Filter], path: str) -> Iterator[Violation]:
    """All filters of a kind write on one route, on which Envoy takes no more than 1000 headers."""
    for what, modifiers in (
        ("request", [one.request_header_modifier for one in filters if one.type == "RequestHeaderModifier"]),
        ("response", [one.response_header_modifier for one in filters if one.type == "ResponseHeaderModifier"]),
    ):
        if sum(map(count_of_values, modifiers)) > 2 * MAX_VALUES:
            yield Violation(path, f"must not give more than {2 * MAX_VALUES} {what} header values together")


def _modifier_violations(modifier: HeaderModifier | None, path: str) -> Iterator[Violation]:
    if modifier is None:
        yield Violation(path, MUST_BE_DEFINED)
        return
    if modifier == HeaderModifier():
        yield Violation(path, "must have at least one defined: set, add, remove")
    seen: set[str] = set()
    for list_name, names in (
        ("set", [header.name for header in modifier.set or ()]),
        ("add", [header.name for header in modifier.add or ()]),
        ("remove", modifier.remove or ()),
    ):
        for index, name in enumerate(names):
            if name in seen:
                yield Violation(f"{path}.{list_name}[{index}].name", "duplicate header name")
            seen.add(name)
    yield from header_changes_violations(modifier, path)
    for index, name in enumerate(modifier.remove or ()):
        yield from removed_name_violations(name, f"{path}.remove[{index}]")


def _rewrite_violations(rewrite: PathRewrite | None, path: str, matches: Sequence[Match]) -> Iterator[Violation]:
    if rewrite is None:
        return
    name, wanted = (
        ("replaceFullPath", rewrite.replace_full_path)
        if rewrite.type == "ReplaceFullPath"
        else ("replacePrefixMatch", rewrite.replace_prefix_match)
    )
    if wanted is None:
        yield Violation(f"{path}.{name}", MUST_BE_DEFINED)
    else:
        yield from header_value_violations(wanted, f"{path}.{name}")
    if rewrite.replace_prefix_match is not None and not all(map(_is_prefix, matches)):
        yield Violation(f"{path}.replacePrefixMatch", "can only appear if all matches match a path prefix")


def _is_prefix(match: Match) -> bool:
    return match.path is not None and match.path.type == "PathPrefix"


def _hostname_violations(hostname: str | None, path: str) -> Iterator[Violation]:
    if hostname is not None and is_ip(hostname):
        yield Violation(path, "cannot be an IP address")


def _backend_hostname_violations(rewrite: UrlRewrite, path: str, *, on_gateway: bool) -> Iterator[Violation]:
    if not rewrite.host_to_backend_hostname:
        return
    if not on_gateway:
        yield Violation(path, "can only be set with MeshGateway")
    if rewrite.hostname is not None:
        yield Violation(path, "cannot be set together with hostname")


def _conf_warnings(conf: RuleConf, path: str) -> Iterator[str]:
    filters = conf.filters or ()
    redirects = any(one.type == "RequestRedirect" for one in filters)
    if redirects and conf.backend_refs:
        yield f"{path}.backendRefs: has no effect, because a filter redirects the requests"
    for index, one in enumerate(filters):
        here = f"{path}.filters[{index}]"
        if redirects and one.type in {"URLRewrite", "RequestMirror"}:
            yield f"{here}: has no effect, because another filter redirects the requests"
        if one.type == "RequestMirror" and one.request_mirror is not None:
            # Of one backend the path has no index.
            for sentence in backend_warnings((one.request_mirror.backend_ref,), "backendRef"):
                yield f"{here}.requestMirror.{sentence.replace('[0]', '', 1)}"
    yield from backend_warnings(conf.backend_refs or (), f"{path}.backendRefs")


def _unreachable(rules: Sequence[Rule], path: str) -> Iterator[str]:
    """Rules are tried in an order of their own, so one that takes every request can hide another."""
    taken = ""
    places = [
        (match, f"{path}[{i}].matches[{j}]") for i, rule in enumerate(rules) for j, match in enumerate(rule.matches)
    ]
    for match, place in in_order(places, lambda item: item[0]):
        if taken:
            yield f"{place}: is never reached, because {taken} comes before it and takes every request"
        elif _takes_all(match):
            taken = place


def _takes_all(match: Match) -> bool:
    whole = match.path is None or (match.path.type == "PathPrefix" and match.path.value == "/")
    return whole and match.method is None and not match.query_params and not match.headers
