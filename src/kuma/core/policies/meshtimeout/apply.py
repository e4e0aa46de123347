"""What Envoy gets from MeshTimeout (spec/policies.md §4).

MeshTimeout also speaks where no policy does: its defaults replace the values of the base configuration. Only an
outbound of a proxy that has ``to`` entries, none of them for that service, keeps the base values. A zero is written
out, never left away: it switches a timeout off that Envoy would otherwise set itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from typing import Final

from kuma.core.policies._kit.rules import InboundRule, InboundRules, Towards
from kuma.core.policies._kit.spec import Match
from kuma.core.policies._kit.validation import uri_san_pattern
from kuma.core.policies.meshtimeout.spec import Conf, Http
from kuma.core.xds.draft import ChainDraft, ClusterDraft, InboundDraft, OutboundDraft
from kuma.core.xds.http import inspect_tls
from kuma.envoy_api.envoy.config.core.v3.base_pb2 import DataSource
from kuma.envoy_api.envoy.config.core.v3.substitution_format_string_pb2 import SubstitutionFormatString
from kuma.envoy_api.envoy.config.listener.v3.listener_components_pb2 import Filter
from kuma.envoy_api.envoy.config.route.v3.route_components_pb2 import Route
from kuma.envoy_api.envoy.extensions.filters.common.set_filter_state.v3.value_pb2 import FilterStateValue
from kuma.envoy_api.envoy.extensions.filters.network.set_filter_state.v3.set_filter_state_pb2 import Config

CONNECTION_TIMEOUT: Final = timedelta(seconds=5)
IDLE_TIMEOUT: Final = timedelta(hours=1)
REQUEST_TIMEOUT: Final = timedelta(seconds=15)
STREAM_IDLE_TIMEOUT: Final = timedelta(minutes=30)
_OFF: Final = timedelta(0)

SET_FILTER_STATE: Final = "envoy.filters.network.set_filter_state"
SPIFFE_ID_KEY: Final = "kuma.mesh_timeout.match.spiffe_id"
SNI_KEY: Final = "kuma.mesh_timeout.match.sni"


def outbound(draft: OutboundDraft, rules: Towards[Conf]) -> None:
    """Write the timeouts of traffic to other services."""
    conf = _towards(rules, draft.view.service)
    if conf is not None:
        _write_chain(draft.chain, conf)
    for cluster in draft.clusters:
        conf = _towards(rules, cluster.service or draft.view.service)
        if conf is not None:
            _write_cluster(cluster, conf)


def inbound(draft: InboundDraft, rules: InboundRules[Conf]) -> None:
    """Write the timeouts of traffic to the proxy's own application."""
    conf = Conf() if rules.catch_all is None else rules.catch_all.conf
    for chain in draft.chains:
        _write_chain(chain, conf)
    _write_cluster(draft.local, conf)
    # Only a peer with a certificate has an identity to match, and only routes can tell connections apart.
    chains = [chain for chain in draft.chains if chain.tls is not None and chain.routes()]
    conditions = list(_conditions(rules.rules)) if chains else []
    if conditions:
        for chain in chains:
            _write_conditions(chain, conditions)
        if any(match.sni is not None for match, _ in conditions):
            inspect_tls(draft.listener)


def _towards(rules: Towards[Conf], service: str) -> Conf | None:
    return rules.towards(service) if rules.spoken else Conf()


def _write_chain(chain: ChainDraft, conf: Conf) -> None:
    http = conf.http or Http()
    if chain.http is not None:
        # The idle timeout of connections belongs to the cluster; here it would cut clients off a second time.
        chain.http.common_http_protocol_options.idle_timeout.FromTimedelta(_OFF)
        chain.http.request_headers_timeout.FromTimedelta(_or(http.request_headers_timeout, _OFF))
        for route in chain.routes():
            if not route.HasField("route"):
                continue
            route.route.timeout.FromTimedelta(_or(http.request_timeout, REQUEST_TIMEOUT))
            if http.stream_idle_timeout is not None or not route.route.HasField("idle_timeout"):
                route.route.idle_timeout.FromTimedelta(_or(http.stream_idle_timeout, STREAM_IDLE_TIMEOUT))
    if chain.tcp is not None:
        chain.tcp.idle_timeout.FromTimedelta(_or(conf.idle_timeout, IDLE_TIMEOUT))


def _write_cluster(draft: ClusterDraft, conf: Conf) -> None:
    draft.cluster.connect_timeout.FromTimedelta(_or(conf.connection_timeout, CONNECTION_TIMEOUT))
    # Not for gRPC, as in Kuma: long streams are its normal case.
    if draft.http is not None and draft.protocol in {"http", "http2"}:
        http = conf.http or Http()
        options = draft.http.common_http_protocol_options
        options.idle_timeout.FromTimedelta(_or(conf.idle_timeout, IDLE_TIMEOUT))
        options.max_stream_duration.FromTimedelta(_or(http.max_stream_duration, _OFF))
        options.max_connection_duration.FromTimedelta(_or(http.max_connection_duration, _OFF))


def _or(value: timedelta | None, default: timedelta) -> timedelta:
    return default if value is None else value


def _conditions(rules: Sequence[InboundRule[Conf]]) -> Iterator[tuple[Match, Http]]:
    """
    Matches with the timeouts that hold for them, in the order in which they are to be tried.

    Of rules that are equally specific, the one of the higher-ranked policy (later in ``rules``) is tried first. What
    a rule leaves open is taken from the next rule that holds for the same clients.
    """
    matched = [(rule.match, rule.conf.http or Http()) for rule in reversed(rules) if rule.match is not None]
    matched.sort(key=lambda rule: _specificity(rule[0]))
    for index, (match, _) in enumerate(matched):
        holding = [http for other, http in matched[index:] if _covers(other, match)]
        timeouts = Http(
            request_timeout=_first(holding, lambda http: http.request_timeout),
            stream_idle_timeout=_first(holding, lambda http: http.stream_idle_timeout),
        )
        if timeouts != Http():
            yield match, timeouts


def _specificity(match: Match) -> tuple[int, int]:
    spiffe = 2 if match.spiffe_id is None else 0 if match.spiffe_id.type == "Exact" else 1
    return spiffe, 1 if match.sni is None else 0


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


def _first(confs: Sequence[Http], field: Callable[[Http], timedelta | None]) -> timedelta | None:
    return next((value for http in confs if (value := field(http)) is not None), None)


def _write_conditions(chain: ChainDraft, conditions: Sequence[tuple[Match, Http]]) -> None:
    if chain.http is None:
        return
    for host in chain.http.route_config.virtual_hosts:
        routes = [copy for route in host.routes for copy in (*_variants(route, conditions), route)]
        del host.routes[:]
        host.routes.extend(routes)
    state = Config()
    if any(match.spiffe_id is not None for match, _ in conditions):
        state.on_downstream_tls_handshake.append(_state(SPIFFE_ID_KEY, "%DOWNSTREAM_PEER_URI_SAN%"))
    if any(match.sni is not None for match, _ in conditions):
        state.on_downstream_tls_handshake.append(_state(SNI_KEY, "%REQUESTED_SERVER_NAME%"))
    network_filter = Filter(name=SET_FILTER_STATE)
    network_filter.typed_config.Pack(state, deterministic=True)
    chain.network_filters.insert(0, network_filter)


def _variants(route: Route, conditions: Sequence[tuple[Match, Http]]) -> Iterator[Route]:
    if not route.HasField("route"):
        return
    for match, http in conditions:
        variant = Route()
        variant.CopyFrom(route)
        if match.spiffe_id is not None:
            state = variant.match.filter_state.add(key=SPIFFE_ID_KEY)
            state.string_match.safe_regex.regex = uri_san_pattern(match.spiffe_id)
        if match.sni is not None:
            variant.match.filter_state.add(key=SNI_KEY).string_match.exact = match.sni.value or ""
        if http.request_timeout is not None:
            variant.route.timeout.FromTimedelta(http.request_timeout)
        if http.stream_idle_timeout is not None:
            variant.route.idle_timeout.FromTimedelta(http.stream_idle_timeout)
        yield variant


def _state(key: str, text: str) -> FilterStateValue:
    return FilterStateValue(
        object_key=key,
        factory_key="envoy.string",
        format_string=SubstitutionFormatString(text_format_source=DataSource(inline_string=text)),
        skip_if_empty=True,
    )
