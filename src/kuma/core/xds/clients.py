"""How Envoy tells the clients of an inbound apart: by the identity in their certificate and the server name they ask.

Three ways, for the places that need them: copies of routes with a condition on filter state, predicates of matchers,
and expressions for access logs. The first two find an identity among all URIs of a certificate (``uri_san_pattern``).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from kuma.core.policies._kit.spec import Match
from kuma.core.policies._kit.validation import uri_san_pattern
from kuma.core.xds.draft import ChainDraft
from kuma.core.xds.pack import as_any
from kuma.envoy_api.envoy.config.core.v3.base_pb2 import DataSource
from kuma.envoy_api.envoy.config.core.v3.substitution_format_string_pb2 import SubstitutionFormatString
from kuma.envoy_api.envoy.config.listener.v3.listener_components_pb2 import Filter
from kuma.envoy_api.envoy.config.route.v3.route_components_pb2 import Route
from kuma.envoy_api.envoy.extensions.filters.common.set_filter_state.v3.value_pb2 import FilterStateValue
from kuma.envoy_api.envoy.extensions.filters.network.set_filter_state.v3.set_filter_state_pb2 import Config
from kuma.envoy_api.envoy.extensions.matching.common_inputs.network.v3.network_inputs_pb2 import ServerNameInput
from kuma.envoy_api.envoy.extensions.matching.common_inputs.ssl.v3.ssl_inputs_pb2 import UriSanInput
from kuma.envoy_api.xds.type.matcher.v3.matcher_pb2 import Matcher

SET_FILTER_STATE: Final = "envoy.filters.network.set_filter_state"

Predicate = Matcher.MatcherList.Predicate


@dataclass(frozen=True, slots=True)
class StateKeys:
    """The names under which a policy notes, per connection, who calls."""

    spiffe_id: str
    sni: str


def note_clients(chain: ChainDraft, keys: StateKeys, matches: Collection[Match]) -> None:
    """Note what the matches ask for when the TLS handshake ends, before any other filter looks."""
    state = Config()
    if any(match.spiffe_id is not None for match in matches):
        state.on_downstream_tls_handshake.append(_value(keys.spiffe_id, "%DOWNSTREAM_PEER_URI_SAN%"))
    if any(match.sni is not None for match in matches):
        state.on_downstream_tls_handshake.append(_value(keys.sni, "%REQUESTED_SERVER_NAME%"))
    chain.network_filters.insert(0, Filter(name=SET_FILTER_STATE, typed_config=as_any(state)))


def split_routes(chain: ChainDraft, keys: StateKeys, variants: Sequence[tuple[Match, Callable[[Route], None]]]) -> None:
    """
    Put copies of every route before it, one for each match in order, and let each be written on.

    The clients must have been noted (``note_clients``).
    """
    if chain.http is None:
        return
    for host in chain.http.route_config.virtual_hosts:
        routes = [copy for route in host.routes for copy in (*_variants(route, keys, variants), route)]
        del host.routes[:]
        host.routes.extend(routes)


def predicate(match: Match) -> Predicate | None:
    """A match as a predicate of a matcher; None when it holds for everybody."""
    parts = list(_predicates(match))
    if len(parts) < 2:
        return parts[0] if parts else None
    both = Predicate()
    both.and_matcher.predicate.extend(parts)
    return both


def either(predicates: Sequence[Predicate]) -> Predicate:
    """Whether any of some predicates (at least one) holds."""
    if len(predicates) == 1:
        return predicates[0]
    any_of = Predicate()
    any_of.or_matcher.predicate.extend(predicates)
    return any_of


def expression(match: Match) -> str:
    """
    A match in Envoy's expression language (CEL); empty when all match.

    Expressions know the first URI of a certificate only. In a mesh that is the client's service; one of several is
    known by the first in alphabetical order.
    """
    parts = []
    if match.spiffe_id is not None:
        uri, value = "connection.uri_san_peer_certificate", quoted(match.spiffe_id.value)
        parts.append(f"{uri} == {value}" if match.spiffe_id.type == "Exact" else f"{uri}.startsWith({value})")
    if match.sni is not None:
        parts.append(f"connection.requested_server_name == {quoted(match.sni.value or '')}")
    return " && ".join(parts)


def quoted(text: str) -> str:
    """A text as a literal of the expression language."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _variants(
    route: Route, keys: StateKeys, variants: Sequence[tuple[Match, Callable[[Route], None]]]
) -> Iterator[Route]:
    if not route.HasField("route"):
        return
    for match, write in variants:
        variant = Route()
        variant.CopyFrom(route)
        if match.spiffe_id is not None:
            state = variant.match.filter_state.add(key=keys.spiffe_id)
            state.string_match.safe_regex.regex = uri_san_pattern(match.spiffe_id)
        if match.sni is not None:
            variant.match.filter_state.add(key=keys.sni).string_match.exact = match.sni.value or ""
        write(variant)
        yield variant


def _predicates(match: Match) -> Iterator[Predicate]:
    if match.spiffe_id is not None:
        made = Predicate()
        single = made.single_predicate
        single.input.name = "envoy.matching.inputs.uri_san"
        single.input.typed_config.Pack(UriSanInput())
        single.value_match.safe_regex.google_re2.SetInParent()
        single.value_match.safe_regex.regex = uri_san_pattern(match.spiffe_id)
        yield made
    if match.sni is not None:
        made = Predicate()
        single = made.single_predicate
        single.input.name = "envoy.matching.inputs.server_name"
        single.input.typed_config.Pack(ServerNameInput())
        single.value_match.exact = match.sni.value or ""
        yield made


def _value(key: str, text: str) -> FilterStateValue:
    return FilterStateValue(
        object_key=key,
        factory_key="envoy.string",
        format_string=SubstitutionFormatString(text_format_source=DataSource(inline_string=text)),
        skip_if_empty=True,
    )
