"""What a schema cannot say about a MeshRetry.

Paths inside a conf carry an extra ``conf``, as in Kuma. Checks that Kuma does not make (durations, patterns) refuse
what Envoy would refuse: such a policy would freeze the configuration of every proxy that it selects.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from http import HTTPStatus
from typing import Final

from kuma.core.errors import Violation
from kuma.core.policies._kit.regex import regex_violations
from kuma.core.policies._kit.validation import (
    DEFINED_AND_GREATER_THAN_ZERO,
    GREATER_THAN_ZERO,
    MUST_BE_DEFINED,
    MUST_NOT_BE_EMPTY,
    NEEDS_AN_ITEM,
    TOP_LEVEL_KINDS,
    not_negative_duration,
    positive_duration,
    reference_warnings,
    target_ref_violations,
    top_level_warnings,
)
from kuma.core.policies.meshretry.spec import (
    BackOff,
    Conf,
    Grpc,
    HeaderMatch,
    HostSelection,
    Http,
    MeshRetry,
    RateLimitedBackOff,
)

HTTP_CONDITIONS: Final = {
    "5xx": "5xx",
    "GatewayError": "gateway-error",
    "Reset": "reset",
    "Retriable4xx": "retriable-4xx",
    "ConnectFailure": "connect-failure",
    "EnvoyRatelimited": "envoy-ratelimited",
    "RefusedStream": "refused-stream",
    "Http3PostConnectFailure": "http3-post-connect-failure",
}
"""What a user writes in ``retryOn``, and Envoy's word for it."""
HTTP_METHODS: Final = {
    f"HttpMethod{method.title()}": method
    for method in ("CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE")
}
"""Methods in ``retryOn``: only requests with one of them are tried again."""

_TO_KINDS: Final = ("Mesh", "MeshService", "MeshExternalService", "MeshMultiZoneService", "MeshHTTPRoute")
_GATEWAY_TO_KINDS: Final = ("Mesh", "MeshExternalService")
_STATUS_CODES: Final = frozenset(str(status.value) for status in HTTPStatus)


def is_status_code(text: str) -> bool:
    """Whether an item of ``retryOn`` is an HTTP status that has a name."""
    return text in _STATUS_CODES


def validate(spec: MeshRetry) -> Iterator[Violation]:
    """Every broken rule."""
    if spec.target_ref is not None:
        yield from target_ref_violations(
            spec.target_ref, "spec.targetRef", kinds=(*TOP_LEVEL_KINDS, "MeshHTTPRoute"), tags_on_gateway=True
        )
    if not spec.to:
        yield Violation("spec.to", NEEDS_AN_ITEM)
    kinds = _GATEWAY_TO_KINDS if spec.target.kind in {"MeshGateway", "MeshHTTPRoute"} else _TO_KINDS
    for index, item in enumerate(spec.to):
        path = f"spec.to[{index}]"
        yield from target_ref_violations(item.target_ref, f"{path}.targetRef", kinds=kinds)
        yield from _conf_violations(item.default, f"{path}.default.conf")


def warnings(spec: MeshRetry) -> Iterator[str]:
    """Deprecated forms, and what is accepted without effect."""
    yield from top_level_warnings(spec.target_ref)
    for index, item in enumerate(spec.to):
        yield from reference_warnings(item.target_ref, f"spec.to[{index}].targetRef")


def _conf_violations(conf: Conf, path: str) -> Iterator[Violation]:
    if conf == Conf():
        yield Violation(path, "at least one of the 'tcp', 'http', 'grpc' must be specified")
    if conf.tcp is not None:
        if conf.tcp.max_connect_attempt is None:
            yield Violation(f"{path}.tcp", MUST_NOT_BE_EMPTY)
        elif conf.tcp.max_connect_attempt == 0:
            yield Violation(f"{path}.tcp.maxConnectAttempt", GREATER_THAN_ZERO)
    if conf.http is not None:
        yield from _http_violations(conf.http, f"{path}.http")
    if conf.grpc is not None:
        yield from _common_violations(conf.grpc, f"{path}.grpc")


def _http_violations(http: Http, path: str) -> Iterator[Violation]:
    yield from _common_violations(http, path)
    for index, item in enumerate(http.retry_on or ()):
        if item not in HTTP_CONDITIONS and item not in HTTP_METHODS and not is_status_code(item):
            yield Violation(f"{path}.retryOn[{index}]", f"unknown item '{item}'")
    for name, headers in (
        ("retriableRequestHeaders", http.retriable_request_headers),
        ("retriableResponseHeaders", http.retriable_response_headers),
    ):
        for index, header in enumerate(headers or ()):
            yield from _header_violations(header, f"{path}.{name}[{index}]")
    yield from _host_selection_violations(http.host_selection or (), f"{path}.hostSelection")


def _common_violations(conf: Http | Grpc, path: str) -> Iterator[Violation]:
    # hostSelectionMaxAttempts alone does not count, as in Kuma.
    if conf.model_copy(update={"host_selection_max_attempts": None} if isinstance(conf, Http) else {}) == type(conf)():
        yield Violation(path, MUST_NOT_BE_EMPTY)
    yield from not_negative_duration(conf.per_try_timeout, f"{path}.perTryTimeout")
    if conf.back_off is not None:
        yield from _back_off_violations(conf.back_off, f"{path}.backOff")
    if conf.rate_limited_back_off is not None:
        yield from _rate_limited_violations(conf.rate_limited_back_off, f"{path}.rateLimitedBackOff")


def _back_off_violations(conf: BackOff, path: str) -> Iterator[Violation]:
    if conf == BackOff():
        yield Violation(path, MUST_NOT_BE_EMPTY)
    yield from positive_duration(conf.base_interval, f"{path}.baseInterval")
    yield from positive_duration(conf.max_interval, f"{path}.maxInterval")


def _rate_limited_violations(conf: RateLimitedBackOff, path: str) -> Iterator[Violation]:
    if conf.max_interval is not None and conf.max_interval <= timedelta(0):
        yield Violation(f"{path}.maxInterval", DEFINED_AND_GREATER_THAN_ZERO)
    else:
        yield from positive_duration(conf.max_interval, f"{path}.maxInterval")
    if not conf.reset_headers:
        yield Violation(f"{path}.resetHeaders", MUST_BE_DEFINED)


def _header_violations(header: HeaderMatch, path: str) -> Iterator[Violation]:
    if header.type == "RegularExpression":
        yield from regex_violations(header.value, f"{path}.value")
    elif header.type == "Prefix" and not header.value:
        yield Violation(f"{path}.value", MUST_BE_DEFINED)


def _host_selection_violations(predicates: tuple[HostSelection, ...], path: str) -> Iterator[Violation]:
    priorities_seen = False
    for index, item in enumerate(predicates):
        here = f"{path}[{index}]"
        if item.predicate == "OmitHostsWithTags" and item.tags is None:
            yield Violation(f"{here}.tags", MUST_BE_DEFINED)
        if item.predicate == "OmitPreviousPriorities":
            if priorities_seen:
                yield Violation(f"{here}.predicate", "OmitPreviousPriorities must only be specified once")
            if item.update_frequency <= 0:
                yield Violation(f"{here}.updateFrequency", DEFINED_AND_GREATER_THAN_ZERO)
            priorities_seen = True
