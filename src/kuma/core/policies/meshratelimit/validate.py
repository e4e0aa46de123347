"""What a schema cannot say about a MeshRateLimit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Final

from kuma.core.errors import Violation
from kuma.core.policies._kit.format import format_violations
from kuma.core.policies._kit.headers import HOST, NOT_HOST
from kuma.core.policies._kit.validation import (
    EMPTY_MATCH,
    FROM_IS_DEPRECATED,
    GATEWAYS_COME_LATER,
    MUST_BE_DEFINED,
    MUST_NOT_BE_DEFINED,
    NOT_BY_SOURCE,
    NOT_WITH_GATEWAYS,
    RULES_EXCLUDE_TO_AND_FROM,
    TOP_LEVEL_KINDS,
    header_value_violations,
    includes_gateways,
    match_violations,
    positive_count,
    target_ref_violations,
    too_long_duration,
    top_level_warnings,
)
from kuma.core.policies.meshratelimit.spec import Conf, Headers, Item, LocalHttp, LocalTcp, MeshRateLimit, Rate, Rule
from kuma.envoy_api.envoy.type.v3.http_status_pb2 import StatusCode

_SHORTEST: Final = timedelta(milliseconds=50)
MAX_HEADERS: Final = 10
"""Envoy takes no more in an answer to a limited request."""


def validate(spec: MeshRateLimit) -> Iterator[Violation]:
    """Every broken rule."""
    with_gateways = includes_gateways(spec.target)
    if spec.rules and (spec.to or spec.from_):
        yield Violation("spec", RULES_EXCLUDE_TO_AND_FROM)
    if spec.target_ref is not None:
        yield from target_ref_violations(
            spec.target_ref,
            "spec.targetRef",
            kinds=(*TOP_LEVEL_KINDS, "MeshHTTPRoute"),
            inbound_policy=bool(spec.rules or spec.from_),
            tags_on_gateway=True,
        )
    if spec.from_ and with_gateways:
        yield Violation("spec.from", NOT_WITH_GATEWAYS)
    else:
        for index, item in enumerate(spec.from_):
            path = f"spec.from[{index}]"
            yield from target_ref_violations(item.target_ref, f"{path}.targetRef", kinds=("Mesh",))
            yield from _conf_violations(item.default, f"{path}.default")
    if spec.to and not with_gateways:
        yield Violation("spec.to", MUST_NOT_BE_DEFINED)
    else:
        for index, item in enumerate(spec.to):
            path = f"spec.to[{index}]"
            yield from target_ref_violations(item.target_ref, f"{path}.targetRef", kinds=("Mesh",))
            yield from _conf_violations(item.default, f"{path}.default")
    if spec.rules and with_gateways:
        yield Violation("spec.rules", NOT_WITH_GATEWAYS)
    else:
        for index, rule in enumerate(spec.rules):
            yield from _rule_violations(rule, f"spec.rules[{index}]")


def warnings(spec: MeshRateLimit) -> Iterator[str]:
    """Deprecated forms, and what is accepted without effect."""
    yield from top_level_warnings(spec.target_ref)
    if spec.from_:
        yield FROM_IS_DEPRECATED
    if spec.to:
        yield f"spec.to: {GATEWAYS_COME_LATER}"
    lists: dict[str, Sequence[Item | Rule]] = {"to": spec.to, "from": spec.from_, "rules": spec.rules}
    for name, entries in lists.items():
        for index, entry in enumerate(entries):
            if _status_is_too_low(entry.default):
                # The path leaves `onRateLimit` out, as in Kuma.
                path = f"spec.{name}[{index}].default.local.http.requestRate.status"
                yield f"'{path}' must be 400 or higher. Please update your configuration."
    for index, rule in enumerate(spec.rules):
        if rule.matches and rule.default.local is not None and rule.default.local.tcp is not None:
            yield (
                f"spec.rules[{index}].default.local.tcp: has no effect in a rule with matches, "
                "only requests can be limited by client"
            )


def _status_is_too_low(conf: Conf) -> bool:
    answer = conf.local.http.on_rate_limit if conf.local is not None and conf.local.http is not None else None
    return answer is not None and answer.status is not None and answer.status < 400


def _rule_violations(rule: Rule, path: str) -> Iterator[Violation]:
    for index, match in enumerate(rule.matches):
        here = f"{path}.matches[{index}]"
        if match.spiffe_id is None and match.sni is None:
            yield Violation(here, EMPTY_MATCH)
        yield from match_violations(match, here)
    local = rule.default.local
    if local is not None and local.tcp is not None and any(match.spiffe_id is not None for match in rule.matches):
        yield Violation(f"{path}.default.local.tcp", NOT_BY_SOURCE)
    yield from _conf_violations(rule.default, f"{path}.default")


def _conf_violations(conf: Conf, path: str) -> Iterator[Violation]:
    here = f"{path}.local"
    if conf.local is None:
        yield Violation(here, MUST_BE_DEFINED)
        return
    if conf.local.tcp is None and conf.local.http is None:
        yield Violation(here, _needs("tcp", "http"))
    if conf.local.http is not None:
        yield from _http_violations(conf.local.http, f"{here}.http")
    if conf.local.tcp is not None:
        yield from _tcp_violations(conf.local.tcp, f"{here}.tcp")


def _http_violations(http: LocalHttp, path: str) -> Iterator[Violation]:
    if http.disabled is None and http.request_rate is None and http.on_rate_limit is None:
        yield Violation(path, _needs("disabled", "requestRate", "onRateLimit"))
    yield from _rate_violations(http.request_rate, f"{path}.requestRate")
    if http.on_rate_limit is not None:
        status = http.on_rate_limit.status
        yield from positive_count(status, f"{path}.onRateLimit.status")
        if status and status not in StatusCode.values():
            yield Violation(f"{path}.onRateLimit.status", "must be an HTTP status that Envoy knows")
        if http.on_rate_limit.headers is not None:
            yield from _headers_violations(http.on_rate_limit.headers, f"{path}.onRateLimit.headers")


def _headers_violations(headers: Headers, path: str) -> Iterator[Violation]:
    for name, entries in (("set", headers.set), ("add", headers.add)):
        for index, header in enumerate(entries or ()):
            here = f"{path}.{name}[{index}]"
            if header.name == HOST:
                yield Violation(f"{here}.name", NOT_HOST)
            yield from header_value_violations(header.value, f"{here}.value")
            yield from format_violations(header.value, f"{here}.value")
    if len(headers.set or ()) + len(headers.add or ()) > MAX_HEADERS:
        yield Violation(path, f"must not have more than {MAX_HEADERS} headers in set and add together")


def _tcp_violations(tcp: LocalTcp, path: str) -> Iterator[Violation]:
    if tcp.disabled is None and tcp.connection_rate is None:
        yield Violation(path, _needs("disabled", "connectionRate"))
    yield from _rate_violations(tcp.connection_rate, f"{path}.connectionRate")


def _rate_violations(rate: Rate | None, path: str) -> Iterator[Violation]:
    if rate is None:
        return
    yield from positive_count(rate.num, f"{path}.num")
    if rate.interval <= _SHORTEST:
        yield Violation(f"{path}.interval", "must be greater than: 50ms")
    yield from too_long_duration(rate.interval, f"{path}.interval")


def _needs(*names: str) -> str:
    return f"must have at least one defined: {', '.join(names)}"
