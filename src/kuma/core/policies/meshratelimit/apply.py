"""What Envoy gets from MeshRateLimit (spec/policies.md §8).

Each Envoy keeps its own count. Connections are counted on every inbound, requests where it speaks HTTP. Requests are
counted per route: the filter of the connection manager has no limit of its own, so a route without one is free.
Clients that a rule names get routes, and with them limits, of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Final

from kuma.core.policies._kit.clients import Case, cases
from kuma.core.policies._kit.rules import InboundRules
from kuma.core.policies.meshratelimit.spec import Conf, Headers, LocalHttp, Rate
from kuma.core.policies.meshratelimit.validate import MAX_HEADERS
from kuma.core.xds.clients import StateKeys, note_clients, split_routes
from kuma.core.xds.draft import ChainDraft, InboundDraft
from kuma.core.xds.http import inspect_tls
from kuma.core.xds.pack import as_any
from kuma.envoy_api.envoy.config.core.v3.base_pb2 import HeaderValue, HeaderValueOption, RuntimeFractionalPercent
from kuma.envoy_api.envoy.config.listener.v3.listener_components_pb2 import Filter
from kuma.envoy_api.envoy.config.route.v3.route_components_pb2 import Route
from kuma.envoy_api.envoy.extensions.filters.http.local_ratelimit.v3.local_rate_limit_pb2 import (
    LocalRateLimit as HttpLimit,
)
from kuma.envoy_api.envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import (
    HttpFilter,
)
from kuma.envoy_api.envoy.extensions.filters.network.local_ratelimit.v3.local_rate_limit_pb2 import (
    LocalRateLimit as NetworkLimit,
)
from kuma.envoy_api.envoy.type.v3.token_bucket_pb2 import TokenBucket

HTTP_FILTER: Final = "envoy.filters.http.local_ratelimit"
NETWORK_FILTER: Final = "envoy.extensions.filters.network.local_ratelimit.v3.LocalRateLimit"
"""Not Envoy's name for it, but the one that Kuma's users know; the type is what counts for Envoy."""
KEYS: Final = StateKeys("kuma.mesh_rate_limit.match.spiffe_id", "kuma.mesh_rate_limit.match.sni")
_HTTP_PREFIX: Final = "rate_limit"
_TCP_PREFIX: Final = "tcp_rate_limit"


def inbound(draft: InboundDraft, rules: InboundRules[Conf]) -> None:
    """Limit the traffic to the proxy's own application."""
    found = cases(Conf, rules.rules)
    for chain in draft.chains:
        _limit_connections(chain, found)
        if chain.http is not None:
            # Only a peer with a certificate has an identity to match.
            _limit_requests(draft, chain, found if chain.tls is not None else found[-1:])


def _limit_requests(draft: InboundDraft, chain: ChainDraft, found: Sequence[Case[Conf]]) -> None:
    special = [(case.match, _request_limit(case)) for case in found if case.match is not None]
    common = next((_request_limit(case) for case in found if case.match is None), None)
    if common is None and all(limit is None for _, limit in special):
        return
    for route in chain.routes():
        _write(route, common)
    if special:
        matches = [match for match, _ in special]
        split_routes(chain, KEYS, [(match, partial(_write, limit=limit)) for match, limit in special])
        note_clients(chain, KEYS, matches)
        if any(match.sni is not None for match in matches):
            inspect_tls(draft.listener)
    chain.http_filters.insert(0, HttpFilter(name=HTTP_FILTER, typed_config=as_any(HttpLimit(stat_prefix=_HTTP_PREFIX))))


def _limit_connections(chain: ChainDraft, found: Sequence[Case[Conf]]) -> None:
    for case in found:
        local = case.merged.conf.local
        if case.match is None and local is not None and local.tcp is not None:
            rate = local.tcp.connection_rate
            if rate is not None and not local.tcp.disabled:
                limit = NetworkLimit(stat_prefix=_TCP_PREFIX, token_bucket=_bucket(rate))
                chain.network_filters.insert(0, Filter(name=NETWORK_FILTER, typed_config=as_any(limit)))


def _request_limit(case: Case[Conf]) -> HttpLimit | None:
    local = case.merged.conf.local
    http = local.http if local is not None else None
    if http is None or http.disabled or http.request_rate is None:
        return None
    return _limit(http, http.request_rate)


def _limit(http: LocalHttp, rate: Rate) -> HttpLimit:
    limit = HttpLimit(
        stat_prefix=_HTTP_PREFIX,
        token_bucket=_bucket(rate),
        filter_enabled=_always("local_rate_limit_enabled"),
        filter_enforced=_always("local_rate_limit_enforced"),
    )
    answer = http.on_rate_limit
    if answer is not None and answer.status is not None:
        limit.status.code = answer.status  # type: ignore[assignment]  # a number of the enumeration, checked on write
    if answer is not None and answer.headers is not None:
        limit.response_headers_to_add.extend(_headers(answer.headers))
    return limit


def _headers(headers: Headers) -> list[HeaderValueOption]:
    """As many as Envoy takes; there are more only where several policies were merged."""
    added = [
        _header(header.name, header.value, HeaderValueOption.APPEND_IF_EXISTS_OR_ADD) for header in headers.add or ()
    ]
    given = [
        _header(header.name, header.value, HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD) for header in headers.set or ()
    ]
    return [*added, *given][-MAX_HEADERS:]


def _header(name: str, value: str, action: HeaderValueOption.HeaderAppendAction) -> HeaderValueOption:
    return HeaderValueOption(header=HeaderValue(key=name, value=value), append_action=action)


def _bucket(rate: Rate) -> TokenBucket:
    bucket = TokenBucket(max_tokens=rate.num)
    bucket.tokens_per_fill.value = rate.num
    bucket.fill_interval.FromTimedelta(rate.interval)
    return bucket


def _always(runtime_key: str) -> RuntimeFractionalPercent:
    always = RuntimeFractionalPercent(runtime_key=runtime_key)
    always.default_value.numerator = 100
    return always


def _write(route: Route, limit: HttpLimit | None) -> None:
    if limit is None:
        route.typed_per_filter_config.pop(HTTP_FILTER, None)
    else:
        route.typed_per_filter_config[HTTP_FILTER].CopyFrom(as_any(limit))
