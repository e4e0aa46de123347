"""What a schema cannot say about a MeshTimeout."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Final

from kuma.core.errors import Violation
from kuma.core.policies._kit.validation import (
    EMPTY_MATCH,
    FROM_IS_DEPRECATED,
    MUST_NOT_BE_DEFINED,
    NO_LIST_DEFINED,
    NOT_BY_SOURCE,
    RULES_EXCLUDE_TO_AND_FROM,
    TOP_LEVEL_KINDS,
    match_violations,
    not_negative_duration,
    positive_duration,
    reference_warnings,
    target_ref_violations,
    top_level_warnings,
)
from kuma.core.policies.meshtimeout.spec import Conf, Http, MeshTimeout, Rule

_TO_KINDS: Final = ("Mesh", "MeshService", "MeshExternalService", "MeshMultiZoneService", "MeshHTTPRoute")
_GATEWAY_TO_KINDS: Final = ("Mesh", "MeshExternalService")
_ONLY_FOR_ROUTES: Final = "can't be specified when top-level TargetRef is referencing MeshHTTPRoute"


def validate(spec: MeshTimeout) -> Iterator[Violation]:
    """Every broken rule."""
    top = spec.target.kind
    of_routes = top in {"MeshGateway", "MeshHTTPRoute"}
    if spec.rules and (spec.to or spec.from_):
        yield Violation("spec", RULES_EXCLUDE_TO_AND_FROM)
    if not (spec.rules or spec.to or spec.from_):
        yield Violation("spec", NO_LIST_DEFINED)
    if spec.target_ref is not None:
        yield from target_ref_violations(
            spec.target_ref,
            "spec.targetRef",
            kinds=(*TOP_LEVEL_KINDS, "MeshHTTPRoute"),
            inbound_policy=bool(spec.rules or spec.from_),
            tags_on_gateway=True,
        )
    if spec.from_ and of_routes:
        yield Violation("spec.from", MUST_NOT_BE_DEFINED)
    else:
        for index, item in enumerate(spec.from_):
            path = f"spec.from[{index}]"
            yield from target_ref_violations(item.target_ref, f"{path}.targetRef", kinds=("Mesh",))
            yield from _conf_violations(item.default, f"{path}.default", top)
    for index, item in enumerate(spec.to):
        path = f"spec.to[{index}]"
        kinds = _GATEWAY_TO_KINDS if of_routes else _TO_KINDS
        yield from target_ref_violations(item.target_ref, f"{path}.targetRef", kinds=kinds)
        yield from _conf_violations(item.default, f"{path}.default", top)
    for index, rule in enumerate(spec.rules):
        yield from _rule_violations(rule, f"spec.rules[{index}]", top)


def warnings(spec: MeshTimeout) -> Iterator[str]:
    """Deprecated forms, and what is accepted without effect."""
    yield from top_level_warnings(spec.target_ref)
    if spec.from_:
        yield FROM_IS_DEPRECATED
    for index, item in enumerate(spec.to):
        yield from reference_warnings(item.target_ref, f"spec.to[{index}].targetRef")
    for index, rule in enumerate(spec.rules):
        if rule.matches:
            for field, _ in _of_connections(rule.default):
                yield (
                    f"spec.rules[{index}].default.{field}: has no effect in a rule with matches, "
                    "only http.requestTimeout and http.streamIdleTimeout can depend on the client"
                )


def _rule_violations(rule: Rule, path: str, top: str) -> Iterator[Violation]:
    for index, match in enumerate(rule.matches):
        here = f"{path}.matches[{index}]"
        if match.spiffe_id is None and match.sni is None:
            yield Violation(here, EMPTY_MATCH)
        yield from match_violations(match, here)
    if any(match.spiffe_id is not None for match in rule.matches):
        for field, _ in _of_connections(rule.default):
            yield Violation(f"{path}.default.{field}", NOT_BY_SOURCE)
    yield from _conf_violations(rule.default, f"{path}.default", top)


def _of_connections(conf: Conf) -> Iterator[tuple[str, timedelta]]:
    """The timeouts given that Envoy knows per connection or cluster only, never per route."""
    http = conf.http or Http()
    fields = (
        ("connectionTimeout", conf.connection_timeout),
        ("idleTimeout", conf.idle_timeout),
        ("http.requestHeadersTimeout", http.request_headers_timeout),
        ("http.maxStreamDuration", http.max_stream_duration),
        ("http.maxConnectionDuration", http.max_connection_duration),
    )
    for field, value in fields:
        if value is not None:
            yield field, value


def _conf_violations(conf: Conf, path: str, top: str) -> Iterator[Violation]:
    if conf.connection_timeout is None and conf.idle_timeout is None and conf.http is None:
        yield Violation(path, "at least one timeout should be configured")
        return
    if top == "MeshHTTPRoute":
        for field, _ in _of_connections(conf):
            if field != "http.requestHeadersTimeout":
                yield Violation(f"{path}.{field}", _ONLY_FOR_ROUTES)
    yield from positive_duration(conf.connection_timeout, f"{path}.connectionTimeout")
    yield from not_negative_duration(conf.idle_timeout, f"{path}.idleTimeout")
    if conf.http is not None:
        yield from _http_violations(conf.http, f"{path}.http")


def _http_violations(http: Http, path: str) -> Iterator[Violation]:
    # requestHeadersTimeout alone does not count, as in Kuma.
    counted = (http.request_timeout, http.stream_idle_timeout, http.max_stream_duration, http.max_connection_duration)
    if all(value is None for value in counted):
        yield Violation(path, "at least one timeout in this section should be configured")
    yield from not_negative_duration(http.request_timeout, f"{path}.requestTimeout")
    yield from not_negative_duration(http.stream_idle_timeout, f"{path}.streamIdleTimeout")
    yield from not_negative_duration(http.max_stream_duration, f"{path}.maxStreamDuration")
    yield from not_negative_duration(http.max_connection_duration, f"{path}.maxConnectionDuration")
    yield from not_negative_duration(http.request_headers_timeout, f"{path}.requestHeadersTimeout")
