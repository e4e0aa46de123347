"""What Envoy gets from MeshTimeout (spec/policies.md §4).

MeshTimeout also speaks where no policy does: its defaults replace the values of the base configuration. Only an
outbound of a proxy that has ``to`` entries, none of them for that service, keeps the base values. A zero is written
out, never left away: it switches a timeout off that Envoy would otherwise set itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from functools import partial
from typing import Final

from kuma.core.policies._kit.clients import by_client
from kuma.core.policies._kit.rules import InboundRule, InboundRules, Towards
from kuma.core.policies._kit.spec import Match
from kuma.core.policies.meshtimeout.spec import Conf, Http
from kuma.core.xds.clients import StateKeys, note_clients, split_routes
from kuma.core.xds.draft import ChainDraft, ClusterDraft, InboundDraft, OutboundDraft
from kuma.core.xds.http import inspect_tls
from kuma.envoy_api.envoy.config.route.v3.route_components_pb2 import Route

CONNECTION_TIMEOUT: Final = timedelta(seconds=5)
IDLE_TIMEOUT: Final = timedelta(hours=1)
REQUEST_TIMEOUT: Final = timedelta(seconds=15)
STREAM_IDLE_TIMEOUT: Final = timedelta(minutes=30)
_OFF: Final = timedelta(0)

SPIFFE_ID_KEY: Final = "kuma.mesh_timeout.match.spiffe_id"
SNI_KEY: Final = "kuma.mesh_timeout.match.sni"
_KEYS: Final = StateKeys(SPIFFE_ID_KEY, SNI_KEY)


def outbound(draft: OutboundDraft, rules: Towards[Conf]) -> None:
    """Write the timeouts of traffic to other services."""
    conf = _towards(rules, draft.view.service)
    if conf is not None:
        _write_chain(draft.chain, conf)
    for route in draft.chain.routes():
        special = rules.routes.get(route.name)
        if special is not None:
            _write_times(route, special.conf.http or Http())
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
            _write_times(route, http)
    if chain.tcp is not None:
        chain.tcp.idle_timeout.FromTimedelta(_or(conf.idle_timeout, IDLE_TIMEOUT))


def _write_times(route: Route, http: Http) -> None:
    if route.HasField("route"):
        route.route.timeout.FromTimedelta(_or(http.request_timeout, REQUEST_TIMEOUT))
        if http.stream_idle_timeout is not None or not route.route.HasField("idle_timeout"):
            route.route.idle_timeout.FromTimedelta(_or(http.stream_idle_timeout, STREAM_IDLE_TIMEOUT))


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
    """Matches with the timeouts that hold for them, in the order in which they are to be tried."""
    for match, holding in by_client(rules):
        confs = [rule.conf.http or Http() for rule in holding]
        timeouts = Http(
            request_timeout=_first(confs, lambda http: http.request_timeout),
            stream_idle_timeout=_first(confs, lambda http: http.stream_idle_timeout),
        )
        if timeouts != Http():
            yield match, timeouts


def _first(confs: Sequence[Http], field: Callable[[Http], timedelta | None]) -> timedelta | None:
    return next((value for http in confs if (value := field(http)) is not None), None)


def _write_conditions(chain: ChainDraft, conditions: Sequence[tuple[Match, Http]]) -> None:
    split_routes(chain, _KEYS, [(match, partial(_write_what_is_given, http=http)) for match, http in conditions])
    note_clients(chain, _KEYS, [match for match, _ in conditions])


def _write_what_is_given(route: Route, http: Http) -> None:
    if http.request_timeout is not None:
        route.route.timeout.FromTimedelta(http.request_timeout)
    if http.stream_idle_timeout is not None:
        route.route.idle_timeout.FromTimedelta(http.stream_idle_timeout)
