import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kuma.core.model.resource import Key
from kuma.core.policies._kit.rules import InboundRule, InboundRules
from kuma.core.policies._kit.spec import Match
from kuma.core.policies.meshratelimit.apply import HTTP_FILTER, KEYS, NETWORK_FILTER, inbound
from kuma.core.policies.meshratelimit.spec import Conf
from kuma.core.xds.view import TlsMode
from kuma.envoy_api.envoy.extensions.filters.http.local_ratelimit.v3.local_rate_limit_pb2 import LocalRateLimit
from kuma.envoy_api.envoy.extensions.filters.network.local_ratelimit.v3 import local_rate_limit_pb2 as network
from tests.unit.core.policies.traffic import application, get

KEY = Key("MeshRateLimit", "default", "mine")
WEB = ("spiffe://default/web", "kuma://kuma.io/service/web")
API = ("spiffe://default/api",)
ALL = {
    "local": {
        "http": {
            "requestRate": {"num": 2, "interval": "1h"},
            "onRateLimit": {
                "status": 423,
                "headers": {
                    "set": [{"name": "x-limit", "value": "2"}],
                    "add": [{"name": "x-more", "value": "a"}, {"name": "x-more", "value": "%PROTOCOL%"}],
                },
            },
        },
        "tcp": {"connectionRate": {"num": 3, "interval": "500ms"}},
    }
}


def _requests(num, **more):
    return {"local": {"http": {"requestRate": {"num": num, "interval": "1h"}, **more}}}


def _rule(conf, match=None):
    parsed = None if match is None else Match.model_validate(match)
    return InboundRule(parsed, Conf.model_validate_json(json.dumps(conf)), KEY, "kri_mrl_default___mine_")


def _spiffe(value, kind="Exact"):
    return {"spiffeID": {"type": kind, "value": value}}


def _limit(route):
    config = LocalRateLimit()
    assert route.typed_per_filter_config[HTTP_FILTER].Unpack(config)
    return config


def test_every_knob_of_requests_reaches_the_route(drafts):
    """The limit stands on the route; the filter itself limits nothing."""
    draft = drafts.inbound("http")
    inbound(draft, InboundRules((_rule(ALL),)))

    [chain] = draft.chains
    own = LocalRateLimit()
    assert chain.http_filters[0].name == HTTP_FILTER
    chain.http_filters[0].typed_config.Unpack(own)
    assert own == LocalRateLimit(stat_prefix="rate_limit")
    limit = _limit(chain.routes()[0])
    assert (limit.token_bucket.max_tokens, limit.token_bucket.tokens_per_fill.value) == (2, 2)
    assert limit.token_bucket.fill_interval.seconds == 3600
    assert limit.status.code == 423
    for enabled, key in (
        (limit.filter_enabled, "local_rate_limit_enabled"),
        (limit.filter_enforced, "local_rate_limit_enforced"),
    ):
        assert (enabled.runtime_key, enabled.default_value.numerator) == (key, 100)
    assert [(one.header.key, one.header.value, one.append_action) for one in limit.response_headers_to_add] == [
        ("x-more", "a", 0),
        ("x-more", "%PROTOCOL%", 0),
        ("x-limit", "2", 2),
    ]


def test_an_answer_has_as_many_headers_as_envoy_takes(drafts, envoy):
    """Headers of two merged policies may be too many; those that are set count before those that are added."""
    many = {name: [{"name": f"{name}-{number}", "value": "v"} for number in range(8)] for name in ("set", "add")}
    rate = {"requestRate": {"num": 1, "interval": "1s"}, "onRateLimit": {"headers": many}}
    draft = drafts.inbound()

    inbound(draft, InboundRules((_rule({"local": {"http": rate}}),)))

    given = _limit(draft.chains[0].routes()[0]).response_headers_to_add
    assert [one.header.key for one in given] == ["add-6", "add-7", *(f"set-{number}" for number in range(8))]
    assert envoy.accepts(draft)


@pytest.mark.parametrize("protocol", ["tcp", "kafka", "http", "grpc"])
def test_connections_are_limited_in_front_of_all_filters(drafts, protocol):
    """Whatever is spoken on them."""
    draft = drafts.inbound(protocol)
    inbound(draft, InboundRules((_rule(ALL),)))

    [made] = draft.chains[0].network_filters
    config = network.LocalRateLimit()
    made.typed_config.Unpack(config)
    assert (made.name, config.stat_prefix) == (NETWORK_FILTER, "tcp_rate_limit")
    assert (config.token_bucket.max_tokens, config.token_bucket.fill_interval.nanos) == (3, 500_000_000)


@pytest.mark.parametrize(
    ("protocol", "conf"),
    [
        ("http", None),
        ("http", _requests(1, disabled=True)),
        ("http", {"local": {"http": {"onRateLimit": {"status": 429}}}}),
        ("tcp", {"local": {"tcp": {"connectionRate": {"num": 1, "interval": "1s"}, "disabled": True}}}),
        ("tcp", _requests(1)),
    ],
)
def test_nothing_is_limited_where_nothing_says_so(drafts, protocol, conf):
    """No policy, a disabled one, or one for another protocol: the inbound stays as it was."""
    draft, untouched = drafts.inbound(protocol), drafts.inbound(protocol)
    inbound(draft, InboundRules(() if conf is None else (_rule(conf),)))

    assert draft.chains == untouched.chains


def test_a_client_named_by_a_rule_has_a_limit_of_its_own(drafts):
    """Its route comes first and takes from the wider rules what its own leaves open; disabled means no limit."""
    special = _rule(_requests(9), _spiffe("spiffe://default/web"))
    free = _rule({"local": {"http": {"disabled": True}}}, _spiffe("spiffe://default/admin", "Prefix"))
    draft = drafts.inbound("http", TlsMode.PERMISSIVE)
    inbound(draft, InboundRules((special, free, _rule(ALL))))

    plain, secured = draft.chains
    web, admin, other = secured.routes()
    assert web.match.filter_state[0].key == KEYS.spiffe_id
    assert (_limit(web).token_bucket.max_tokens, _limit(web).status.code) == (9, 423)
    assert HTTP_FILTER not in admin.typed_per_filter_config
    assert _limit(other).token_bucket.max_tokens == 2
    assert [_limit(route).token_bucket.max_tokens for route in plain.routes()] == [2]


def test_envoy_accepts_every_knob(drafts, envoy):
    """Requests, connections, and clients by identity and server name."""
    match = {**_spiffe("spiffe://default/a.b"), "sni": {"type": "Exact", "value": "backend.mesh"}}
    made = [
        drafts.inbound("http", TlsMode.PERMISSIVE),
        drafts.inbound("grpc", TlsMode.STRICT, workload_port=8081),
        drafts.inbound("tcp", TlsMode.STRICT, workload_port=8082),
    ]
    for draft in made:
        inbound(draft, InboundRules((_rule(_requests(1), match), _rule(ALL))))

    assert envoy.accepts(*made)


def test_requests_over_the_limit_are_answered_as_configured(drafts, envoy):
    """Two pass, the third gets the status and the headers."""
    with application() as port:
        draft = drafts.inbound("http", workload_port=port)
        inbound(draft, InboundRules((_rule({"local": {"http": ALL["local"]["http"]}}),)))
        with envoy.running(draft):
            answers = [get(draft.view.port) for _ in range(3)]

    assert [answer.status for answer in answers] == [200, 200, 423]
    assert answers[2].all("x-limit") == ["2"]
    assert answers[2].all("x-more") == ["a", "http/1.1"]
    assert answers[0].all("x-limit") == []


def test_clients_do_not_use_up_each_others_limits(drafts, envoy, authority):
    """One client may ask once, all others together twice."""
    special = _rule(_requests(1), _spiffe("spiffe://default/web"))
    with application() as port:
        draft = drafts.inbound("http", TlsMode.STRICT, workload_port=port)
        inbound(draft, InboundRules((special, _rule(_requests(2)))))
        with envoy.running(draft):
            answers = [
                get(draft.view.port, authority=authority, uris=uris).status for uris in (WEB, WEB, API, API, API)
            ]

    assert answers == [200, 429, 200, 200, 429]


RATES = st.fixed_dictionaries(
    {"num": st.integers(1, 2**31 - 1), "interval": st.sampled_from(["51ms", "1h", "876000h"])}
)
HEADER = st.fixed_dictionaries({"name": st.sampled_from(["a", "x-b"]), "value": st.sampled_from(["", "%%"])})
HEADERS = st.lists(HEADER, max_size=16)
ANSWERS = st.fixed_dictionaries(
    {},
    optional={
        "status": st.sampled_from([200, 404, 429, 503]),
        "headers": st.fixed_dictionaries({}, optional={"set": HEADERS, "add": HEADERS}),
    },
)
CONFS = st.fixed_dictionaries(
    {},
    optional={
        "http": st.fixed_dictionaries(
            {}, optional={"disabled": st.booleans(), "requestRate": RATES, "onRateLimit": ANSWERS}
        ),
        "tcp": st.fixed_dictionaries({}, optional={"disabled": st.booleans(), "connectionRate": RATES}),
    },
)
MATCHES = st.none() | st.sampled_from(
    [
        {},
        _spiffe("spiffe://default/web"),
        _spiffe("spiffe://default", "Prefix"),
        {"sni": {"type": "Exact", "value": "backend.mesh"}},
        {**_spiffe("spiffe://default/web"), "sni": {"type": "Exact", "value": "backend.mesh"}},
    ]
)
PROTOCOLS = st.sampled_from(["http", "http2", "grpc", "tcp", "kafka"])
MODES = st.sampled_from(list(TlsMode))


@given(confs=st.lists(st.tuples(CONFS, MATCHES), max_size=4), protocol=PROTOCOLS, mode=MODES)
def test_any_rules_can_be_applied(drafts, confs, protocol, mode):
    """What was accepted never fails later; every route there was is still there, after the copies for clients."""
    draft = drafts.inbound(protocol, mode)
    before = [len(chain.routes()) for chain in draft.chains]
    inbound(draft, InboundRules(tuple(_rule({"local": conf}, match) for conf, match in confs)))

    for chain, routes in zip(draft.chains, before, strict=True):
        plain = [route for route in chain.routes() if not route.match.filter_state]
        assert len(plain) == routes
        assert chain.routes()[len(chain.routes()) - routes :] == plain
