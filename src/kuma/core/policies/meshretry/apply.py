"""What Envoy gets from MeshRetry (spec/policies.md §5).

Only what the destination speaks counts: connections of TCP, requests of HTTP/1.1, calls of gRPC. HTTP/2 gets no
retries, as in Kuma.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Final

from kuma.core.policies._kit.rules import Towards
from kuma.core.policies.meshretry.spec import (
    BackOff,
    Conf,
    Grpc,
    HeaderMatch,
    HostSelection,
    Http,
    RateLimitedBackOff,
)
from kuma.core.policies.meshretry.validate import HTTP_CONDITIONS, HTTP_METHODS, is_status_code
from kuma.core.xds.draft import OutboundDraft
from kuma.envoy_api.envoy.config.route.v3.route_components_pb2 import HeaderMatcher, RetryPolicy
from kuma.envoy_api.envoy.extensions.retry.host.omit_host_metadata.v3.omit_host_metadata_config_pb2 import (
    OmitHostMetadataConfig,
)
from kuma.envoy_api.envoy.extensions.retry.host.previous_hosts.v3.previous_hosts_pb2 import PreviousHostsPredicate
from kuma.envoy_api.envoy.extensions.retry.priority.previous_priorities.v3.previous_priorities_config_pb2 import (
    PreviousPrioritiesConfig,
)

_HTTP_DEFAULT: Final = "gateway-error,connect-failure,refused-stream"
_GRPC_DEFAULT: Final = "cancelled,connect-failure,gateway-error,refused-stream,reset,resource-exhausted,unavailable"
_GRPC_CONDITIONS: Final = {
    "Canceled": "cancelled",
    "DeadlineExceeded": "deadline-exceeded",
    "Internal": "internal",
    "ResourceExhausted": "resource-exhausted",
    "Unavailable": "unavailable",
}
_RETRIABLE_STATUS_CODES: Final = "retriable-status-codes"
_BASE_INTERVAL: Final = timedelta(milliseconds=25)
_RESET_FORMATS: Final = {"Seconds": RetryPolicy.SECONDS, "UnixTimestamp": RetryPolicy.UNIX_TIMESTAMP}


def outbound(draft: OutboundDraft, rules: Towards[Conf]) -> None:
    """Write the retries of calls to another service."""
    conf = rules.towards(draft.view.service)
    if draft.chain.tcp is not None:
        plain = draft.view.protocol == "tcp" or draft.view.is_http
        if plain and conf is not None and conf.tcp is not None and conf.tcp.max_connect_attempt is not None:
            draft.chain.tcp.max_connect_attempts.value = conf.tcp.max_connect_attempt
        return
    # Rules for single requests make HTTP of a service that does not say so.
    protocol = draft.view.protocol if draft.view.is_http else "http"
    for route in draft.chain.routes():
        conf = rules.on_route(draft.view.service, route.name)
        policy = None if conf is None else _retry_policy(protocol, conf)
        if policy is not None and route.HasField("route"):
            route.route.retry_policy.CopyFrom(policy)


def _retry_policy(protocol: str, conf: Conf) -> RetryPolicy | None:
    if protocol == "http" and conf.http is not None and conf.http.num_retries != 0:
        return _http_policy(conf.http)
    if protocol == "grpc" and conf.grpc is not None and conf.grpc.num_retries != 0:
        conditions = ",".join(_GRPC_CONDITIONS[item] for item in conf.grpc.retry_on or ())
        return _policy(conf.grpc, conditions or _GRPC_DEFAULT)
    return None


def _policy(conf: Http | Grpc, retry_on: str) -> RetryPolicy:
    """What HTTP and gRPC have in common."""
    policy = RetryPolicy(retry_on=retry_on)
    if conf.num_retries is not None:
        policy.num_retries.value = conf.num_retries
    if conf.per_try_timeout is not None:
        policy.per_try_timeout.FromTimedelta(conf.per_try_timeout)
    if conf.back_off is not None:
        _write_back_off(policy.retry_back_off, conf.back_off)
    if conf.rate_limited_back_off is not None:
        _write_rate_limited(policy.rate_limited_retry_back_off, conf.rate_limited_back_off)
    return policy


def _write_back_off(target: RetryPolicy.RetryBackOff, conf: BackOff) -> None:
    """Envoy refuses a back-off without a base, and one whose maximum, merged from other policies, is below it."""
    base = _BASE_INTERVAL if conf.base_interval is None else conf.base_interval
    if conf.base_interval is None and conf.max_interval is not None:
        base = min(base, conf.max_interval)
    target.base_interval.FromTimedelta(base)
    if conf.max_interval is not None:
        target.max_interval.FromTimedelta(max(base, conf.max_interval))


def _write_rate_limited(target: RetryPolicy.RateLimitedRetryBackOff, conf: RateLimitedBackOff) -> None:
    for header in conf.reset_headers or ():
        target.reset_headers.add(name=header.name, format=_RESET_FORMATS[header.format])
    if conf.max_interval is not None:
        target.max_interval.FromTimedelta(conf.max_interval)


def _http_policy(conf: Http) -> RetryPolicy:
    items = conf.retry_on or ()
    conditions = [HTTP_CONDITIONS[item] for item in items if item in HTTP_CONDITIONS] or [_HTTP_DEFAULT]
    codes = [int(item) for item in items if is_status_code(item)]
    if codes:
        conditions.append(_RETRIABLE_STATUS_CODES)
    policy = _policy(conf, ",".join(conditions))
    policy.retriable_status_codes.extend(codes)
    for item in items:
        if item in HTTP_METHODS:
            policy.retriable_request_headers.add(name=":method").string_match.exact = HTTP_METHODS[item]
    policy.retriable_request_headers.extend(map(_header, conf.retriable_request_headers or ()))
    policy.retriable_headers.extend(map(_header, conf.retriable_response_headers or ()))
    _write_host_selection(policy, conf.host_selection or ())
    if conf.host_selection_max_attempts is not None:
        policy.host_selection_retry_max_attempts = conf.host_selection_max_attempts
    return policy


def _header(conf: HeaderMatch) -> HeaderMatcher:
    made = HeaderMatcher(name=conf.name)
    match conf.type:
        case "Exact":
            made.string_match.exact = conf.value or ""
        case "Prefix":
            made.string_match.prefix = conf.value or ""
        case "RegularExpression":
            made.string_match.safe_regex.regex = conf.value or ""
        case "Present" | "Absent":
            made.present_match = conf.type == "Present"
    return made


def _write_host_selection(policy: RetryPolicy, predicates: Iterable[HostSelection]) -> None:
    for item in predicates:
        match item.predicate:
            case "OmitPreviousHosts":
                added = policy.retry_host_predicate.add(name="envoy.retry_host_predicates.previous_hosts")
                added.typed_config.Pack(PreviousHostsPredicate())
            case "OmitHostsWithTags":
                config = OmitHostMetadataConfig()
                config.metadata_match.filter_metadata["envoy.lb"].update(item.tags or {})
                added = policy.retry_host_predicate.add(name="envoy.retry_host_predicates.omit_host_metadata")
                added.typed_config.Pack(config, deterministic=True)
            case "OmitPreviousPriorities":
                policy.retry_priority.name = "envoy.retry_priorities.previous_priorities"
                priorities = PreviousPrioritiesConfig(update_frequency=item.update_frequency)
                policy.retry_priority.typed_config.Pack(priorities)
