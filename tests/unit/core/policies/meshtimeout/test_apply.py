from datetime import timedelta

import pytest

from kuma.core.model.resource import Key
from kuma.core.policies._kit.rules import InboundRule, InboundRules, Merged, Towards
from kuma.core.policies._kit.spec import Match
from kuma.core.policies.meshtimeout.apply import SNI_KEY, SPIFFE_ID_KEY, inbound, outbound
from kuma.core.policies.meshtimeout.spec import Conf
from kuma.core.xds.view import TlsMode
from kuma.envoy_api.envoy.extensions.filters.network.set_filter_state.v3.set_filter_state_pb2 import Config

ALL = {
    "connectionTimeout": "3s",
    "idleTimeout": "20m",
    "http": {
        "requestTimeout": "4s",
        "streamIdleTimeout": "5m",
        "maxStreamDuration": "6m",
        "maxConnectionDuration": "7m",
        "requestHeadersTimeout": "8s",
    },
}
ZERO = {
    "idleTimeout": "0s",
    "http": dict.fromkeys(
        ("requestTimeout", "streamIdleTimeout", "maxStreamDuration", "maxConnectionDuration", "requestHeadersTimeout"),
        "0s",
    ),
}
KEY = Key("MeshTimeout", "default", "mine")


def _towards(conf, service="backend"):
    return Towards({service: Merged(Conf.model_validate(conf), (KEY,))}, spoken=True)


def _catch_all(conf):
    return InboundRules(catch_all=Merged(Conf.model_validate(conf), (KEY,)))


def _rule(conf, match=None):
    parsed = None if match is None else Match.model_validate(match)
    return InboundRule(parsed, Conf.model_validate(conf), KEY, "kri_mt_default___mine_")


def _spiffe(value, kind="Exact"):
    return {"spiffeID": {"type": kind, "value": value}}


def _seconds(duration):
    return duration.ToTimedelta().total_seconds()


def test_every_knob_reaches_an_outbound_over_http(drafts):
    """Each timeout of a `to` entry is written where Envoy looks for it."""
    draft = drafts.outbound("http")
    outbound(draft, _towards(ALL))

    [cluster] = draft.clusters
    [route] = draft.chain.routes()
    options = cluster.http.common_http_protocol_options
    assert _seconds(cluster.cluster.connect_timeout) == 3
    assert _seconds(options.idle_timeout) == 1200
    assert _seconds(options.max_stream_duration) == 360
    assert _seconds(options.max_connection_duration) == 420
    assert _seconds(route.route.timeout) == 4
    assert _seconds(route.route.idle_timeout) == 300
    assert _seconds(draft.chain.http.request_headers_timeout) == 8
    assert _seconds(draft.chain.http.common_http_protocol_options.idle_timeout) == 0


def test_without_any_policy_an_outbound_gets_the_documented_defaults(drafts):
    """5 s to connect, 15 s for a request, 30 min for a quiet stream, 1 h for a quiet connection."""
    draft = drafts.outbound("http")
    outbound(draft, Towards({}))

    [cluster] = draft.clusters
    [route] = draft.chain.routes()
    assert _seconds(cluster.cluster.connect_timeout) == 5
    assert _seconds(cluster.http.common_http_protocol_options.idle_timeout) == 3600
    assert _seconds(route.route.timeout) == 15
    assert _seconds(route.route.idle_timeout) == 1800


def test_without_any_policy_an_inbound_gets_the_documented_defaults(drafts):
    """The same defaults hold for traffic to the application; the stream timeout of the listener stays."""
    draft = drafts.inbound("http")
    inbound(draft, InboundRules())

    [chain] = draft.chains
    [route] = chain.routes()
    assert _seconds(draft.local.cluster.connect_timeout) == 5
    assert _seconds(route.route.timeout) == 15
    assert _seconds(route.route.idle_timeout) == 1800
    assert _seconds(chain.http.stream_idle_timeout) == 3600


@pytest.mark.parametrize("protocol", ["tcp", "kafka"])
def test_connections_without_http_get_their_idle_timeout(drafts, protocol):
    """TCP traffic is cut off after the idle timeout, an hour where nobody says otherwise."""
    default, given = drafts.inbound(protocol), drafts.outbound(protocol)
    inbound(default, InboundRules())
    outbound(given, _towards(ALL))

    assert _seconds(default.chains[0].tcp.idle_timeout) == 3600
    assert _seconds(given.chain.tcp.idle_timeout) == 1200


def test_a_service_nobody_speaks_of_keeps_its_base_values(drafts):
    """Where policies name other services only, the defaults of MeshTimeout do not apply either."""
    draft, untouched = drafts.outbound("http"), drafts.outbound("http")
    outbound(draft, _towards(ALL, service="other"))
    outbound(draft, Towards({}, spoken=True))

    assert draft.chain == untouched.chain
    assert draft.clusters == untouched.clusters


def test_zero_is_written_out(drafts):
    """A zero switches a timeout off; left away, Envoy would set its own."""
    draft = drafts.outbound("http")
    outbound(draft, _towards(ZERO))

    options = draft.clusters[0].http.common_http_protocol_options
    route = draft.chain.routes()[0].route
    for message, field in (
        (options, "idle_timeout"),
        (options, "max_stream_duration"),
        (options, "max_connection_duration"),
        (route, "timeout"),
        (route, "idle_timeout"),
        (draft.chain.http, "request_headers_timeout"),
    ):
        assert message.HasField(field), field
        assert _seconds(getattr(message, field)) == 0


def test_grpc_connections_get_no_http_limits(drafts):
    """Long gRPC streams are not ended by the cluster's idle timeout or duration limits."""
    draft = drafts.outbound("grpc")
    outbound(draft, _towards(ALL))

    assert not draft.clusters[0].http.HasField("common_http_protocol_options")
    assert _seconds(draft.chain.routes()[0].route.timeout) == 4


def test_a_stream_timeout_another_policy_has_set_is_not_replaced_by_the_default(drafts):
    """The default only fills what is empty."""
    draft = drafts.outbound("http")
    draft.chain.routes()[0].route.idle_timeout.seconds = 7
    outbound(draft, Towards({}))

    assert _seconds(draft.chain.routes()[0].route.idle_timeout) == 7


def test_an_identity_gets_its_own_timeouts(drafts):
    """A rule for one client is tried before the route for all others, and takes the rest from it."""
    draft = drafts.inbound("http", TlsMode.STRICT)
    special = _rule({"http": {"requestTimeout": "2s"}}, _spiffe("spiffe://default/client"))
    inbound(draft, InboundRules((special, _rule(ALL)), _catch_all(ALL).catch_all))

    own, other = draft.chains[0].routes()
    [state] = own.match.filter_state
    assert state.key == SPIFFE_ID_KEY
    assert state.string_match.safe_regex.regex == r"(.*,)?spiffe://default/client(,.*)?"
    assert (_seconds(own.route.timeout), _seconds(own.route.idle_timeout)) == (2, 300)
    assert not other.match.filter_state
    assert (_seconds(other.route.timeout), _seconds(other.route.idle_timeout)) == (4, 300)


def test_the_identity_is_remembered_when_the_tls_handshake_ends(drafts):
    """The network filter that notes who calls comes before all others."""
    draft = drafts.inbound("http", TlsMode.STRICT)
    match = {**_spiffe("spiffe://default/a", "Prefix"), "sni": {"type": "Exact", "value": "backend.mesh"}}
    inbound(draft, InboundRules((_rule({"http": {"requestTimeout": "2s"}}, match),)))

    config = Config()
    draft.chains[0].network_filters[0].typed_config.Unpack(config)
    noted = {
        value.object_key: value.format_string.text_format_source.inline_string
        for value in config.on_downstream_tls_handshake
    }
    assert noted == {SPIFFE_ID_KEY: "%DOWNSTREAM_PEER_URI_SAN%", SNI_KEY: "%REQUESTED_SERVER_NAME%"}
    assert [part.name for part in draft.listener.listener_filters] == ["envoy.filters.listener.tls_inspector"]


def test_the_more_specific_rule_is_tried_first_and_completed_by_the_wider_one(drafts):
    """Exact before prefix before none; of equals the later, higher-ranked one; gaps are filled downwards."""
    exact_low = _rule({"http": {"requestTimeout": "1s"}}, _spiffe("spiffe://default/a"))
    exact_high = _rule({"http": {"streamIdleTimeout": "2s"}}, _spiffe("spiffe://default/a"))
    prefix = _rule({"http": {"requestTimeout": "9s", "streamIdleTimeout": "9s"}}, _spiffe("spiffe://default", "Prefix"))
    draft = drafts.inbound("http", TlsMode.STRICT)
    inbound(draft, InboundRules((exact_low, exact_high, prefix)))

    first, _, third, last = draft.chains[0].routes()
    assert (_seconds(first.route.timeout), _seconds(first.route.idle_timeout)) == (1, 2)
    assert third.match.filter_state[0].string_match.safe_regex.regex == "(.*,)?spiffe://default.*"
    assert (_seconds(third.route.timeout), _seconds(third.route.idle_timeout)) == (9, 9)
    assert (_seconds(last.route.timeout), _seconds(last.route.idle_timeout)) == (15, 1800)


def test_a_plaintext_chain_cannot_tell_clients_apart(drafts):
    """In PERMISSIVE mode only the chain with certificates gets routes per client."""
    draft = drafts.inbound("http", TlsMode.PERMISSIVE)
    inbound(draft, InboundRules((_rule({"http": {"requestTimeout": "2s"}}, _spiffe("spiffe://default/a")),)))

    plain, secured = draft.chains
    assert (len(plain.routes()), len(plain.network_filters)) == (1, 0)
    assert (len(secured.routes()), len(secured.network_filters)) == (2, 1)


def test_envoy_accepts_every_knob(drafts, envoy):
    """Envoy takes all timeouts, zeros, and rules by identity and server name."""
    match = {**_spiffe("spiffe://default/a.b-c"), "sni": {"type": "Exact", "value": "backend.mesh"}}
    special = _rule({"http": {"requestTimeout": "2s", "streamIdleTimeout": "0s"}}, match)
    made = [
        drafts.inbound("http", TlsMode.PERMISSIVE),
        drafts.inbound("grpc", TlsMode.STRICT, workload_port=8081),
        drafts.inbound("tcp", workload_port=8082),
    ]
    for draft in made:
        inbound(draft, InboundRules((special,), _catch_all(ALL).catch_all))
    to = [drafts.outbound("http2", "a"), drafts.outbound("tcp", "b")]
    outbound(to[0], _towards(ALL, "a"))
    outbound(to[1], _towards(ZERO, "b"))

    assert envoy.accepts(*made, *to)


def test_durations_keep_fractions():
    """Half a second is half a second on the wire."""
    assert Conf.model_validate({"connectionTimeout": "500ms"}).connection_timeout == timedelta(seconds=0.5)
