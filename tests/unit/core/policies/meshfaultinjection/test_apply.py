import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kuma.core.model.resource import Key
from kuma.core.policies._kit.rules import InboundRule, InboundRules, Merged, SubsetRule, TagMatch
from kuma.core.policies._kit.spec import Match
from kuma.core.policies.meshfaultinjection.apply import FAULT, inbound
from kuma.core.policies.meshfaultinjection.spec import Conf
from kuma.core.xds.source_tags import HEADER, header_value
from kuma.core.xds.view import TlsMode
from kuma.envoy_api.envoy.extensions.common.matching.v3.extension_matcher_pb2 import ExtensionWithMatcher
from kuma.envoy_api.envoy.extensions.filters.http.fault.v3.fault_pb2 import HTTPFault
from kuma.envoy_api.envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import (
    HttpFilter,
)
from kuma.envoy_api.envoy.type.v3.percent_pb2 import FractionalPercent
from tests.unit.core.policies.traffic import application, get

KEY = Key("MeshFaultInjection", "default", "mine")
KRI = "kri_mfi_default___mine_"
WEB = ("spiffe://default/web", "kuma://kuma.io/service/web")
API = ("spiffe://default/api",)
ALL = {
    "http": [
        {
            "abort": {"httpStatus": 503, "percentage": "2.5"},
            "delay": {"value": "10s", "percentage": 5},
            "responseBandwidth": {"limit": "50 Mbps", "percentage": "0.0001"},
        },
        {"abort": {"httpStatus": 418, "percentage": 100}},
    ]
}


def _conf(conf):
    return Conf.model_validate_json(json.dumps(conf))


def _abort(status):
    return {"http": [{"abort": {"httpStatus": status, "percentage": 100}}]}


def _subset(conf, *tags):
    return SubsetRule(tuple(tags), Merged(_conf(conf), (KEY,)))


def _rule(conf, match=None, kri=KRI):
    return InboundRule(None if match is None else Match.model_validate(match), _conf(conf), KEY, kri, json.dumps(conf))


def _spiffe(value, kind="Exact"):
    return {"spiffeID": {"type": kind, "value": value}}


def _fault(one):
    config = HTTPFault()
    assert one.typed_config.Unpack(config)
    return config


def test_every_fault_is_a_filter_with_all_its_knobs(drafts):
    """One filter for each entry, in the order written, behind what was there."""
    draft = drafts.inbound("http")
    draft.chains[0].http_filters.append(HttpFilter(name="before"))
    inbound(draft, InboundRules(subsets=(_subset(ALL),)))

    before, first, second = draft.chains[0].http_filters
    assert before.name == "before"
    fault = _fault(first)
    assert (first.name, second.name) == (FAULT, FAULT)
    assert fault.abort.http_status == 503
    assert fault.abort.percentage == FractionalPercent(numerator=250, denominator=FractionalPercent.TEN_THOUSAND)
    assert fault.delay.fixed_delay.seconds == 10
    assert fault.delay.percentage == FractionalPercent(numerator=5)
    assert fault.response_rate_limit.fixed_limit.limit_kbps == 50_000
    assert fault.response_rate_limit.percentage == FractionalPercent(numerator=1, denominator=FractionalPercent.MILLION)
    assert not fault.headers
    assert _fault(second).abort.http_status == 418


@pytest.mark.parametrize(
    ("written", "numerator", "denominator"),
    [
        (0, 0, "HUNDRED"),
        ("100", 100, "HUNDRED"),
        ("12.0", 12, "HUNDRED"),
        ("62.9", 6290, "TEN_THOUSAND"),
        ("1.25", 125, "TEN_THOUSAND"),
        ("33.333", 333_330, "MILLION"),
        ("0.00009", 0, "MILLION"),
    ],
)
def test_percentages_are_as_exact_as_written(drafts, written, numerator, denominator):
    """Decimals choose the denominator; Envoy's finest unit is a millionth."""
    draft = drafts.inbound("http")
    conf = {"http": [{"abort": {"httpStatus": 500, "percentage": written}}]}
    inbound(draft, InboundRules(subsets=(_subset(conf),)))

    percentage = _fault(draft.chains[0].http_filters[0]).abort.percentage
    assert percentage.numerator == numerator
    assert FractionalPercent.DenominatorType.Name(percentage.denominator) == denominator


def test_sources_are_told_apart_by_the_tags_their_proxy_sends(drafts):
    """Each tag of a group is a condition on the header; tags it must not have are inverted conditions."""
    draft = drafts.inbound("http")
    web, v2 = TagMatch("kuma.io/service", "web"), TagMatch("version", "v2", negated=True)
    inbound(draft, InboundRules(subsets=(_subset(_abort(500), web, v2),)))

    has, has_not = _fault(draft.chains[0].http_filters[0]).headers
    assert (has.name, has_not.name) == (HEADER, HEADER)
    assert has.string_match.safe_regex.regex == r".*&kuma\.io/service=([^&]*,)?web[,&].*"
    assert (has.invert_match, has_not.invert_match) == (False, True)


@pytest.mark.parametrize("rules", [InboundRules(), InboundRules(subsets=(_subset({"http": [{}]}),))])
def test_without_faults_nothing_is_added(drafts, rules):
    """No policy, or one whose entries say nothing."""
    draft, untouched = drafts.inbound("http"), drafts.inbound("http")
    inbound(draft, rules)

    assert draft.chains == untouched.chains


def test_tcp_has_no_faults(drafts):
    """Only requests can be delayed or aborted."""
    draft, untouched = drafts.inbound("tcp"), drafts.inbound("tcp")
    inbound(draft, InboundRules((_rule(ALL),), subsets=(_subset(ALL),)))

    assert draft.chains == untouched.chains


def test_a_delay_of_nothing_is_no_delay(drafts):
    """Envoy refuses a delay of zero, so it is left out."""
    draft = drafts.inbound("http")
    inbound(draft, InboundRules(subsets=(_subset({"http": [{"delay": {"value": "0s", "percentage": 1}}]}),)))

    assert draft.chains[0].http_filters == []


def test_a_rule_for_everybody_is_a_plain_filter_named_after_its_policy(drafts):
    """Statistics and logs of Envoy tell which policy threw the fault."""
    draft = drafts.inbound("http")
    inbound(draft, InboundRules((_rule(_abort(500)),)))

    [plain] = draft.chains[0].http_filters
    assert plain.name == KRI
    assert _fault(plain).abort.http_status == 500


def test_rules_by_identity_are_skipped_for_others(drafts):
    """A chain without certificates gets only what holds for everybody."""
    rules = (_rule(_abort(501), _spiffe("spiffe://default/web"), "kri_mfi_special"), _rule(_abort(500)))
    draft = drafts.inbound("http", TlsMode.PERMISSIVE)
    inbound(draft, InboundRules(rules))

    plain, secured = draft.chains
    special, other = secured.http_filters
    assert plain.http_filters == [other]
    assert _fault(other).abort.http_status == 500
    assert (special.name, other.name) == ("kri_mfi_special", KRI)
    assert special.typed_config.Is(ExtensionWithMatcher.DESCRIPTOR)


def test_the_matches_of_a_rule_are_one_condition(drafts):
    """A client that several of them hold for is not hit more often; one that holds for all makes it a rule for all."""
    web, all_of_them = _spiffe("spiffe://default/web"), _spiffe("spiffe://default", "Prefix")
    draft, for_all = (drafts.inbound("http", TlsMode.STRICT) for _ in range(2))
    inbound(draft, InboundRules((_rule(_abort(501), web), _rule(_abort(501), all_of_them))))
    inbound(for_all, InboundRules((_rule(_abort(501), web), _rule(_abort(501), {}))))

    [one] = draft.chains[0].http_filters
    wrapped = ExtensionWithMatcher()
    assert one.typed_config.Unpack(wrapped)
    [matcher] = wrapped.xds_matcher.matcher_list.matchers
    assert len(matcher.predicate.not_matcher.or_matcher.predicate) == 2
    assert _fault(for_all.chains[0].http_filters[0]).abort.http_status == 501


def test_server_names_are_looked_at_where_a_rule_asks_for_them(drafts):
    """Only where there is TLS, and requests that could fail."""
    named = InboundRules((_rule(_abort(501), {"sni": {"type": "Exact", "value": "backend.mesh"}}),))
    looked = {}
    for protocol, mode in (("http", TlsMode.STRICT), ("http", TlsMode.OFF), ("tcp", TlsMode.STRICT)):
        draft = drafts.inbound(protocol, mode)
        inbound(draft, named)
        looked[protocol, mode] = bool(draft.listener.listener_filters)

    assert looked == {("http", TlsMode.STRICT): True, ("http", TlsMode.OFF): False, ("tcp", TlsMode.STRICT): False}


def test_envoy_accepts_every_knob(drafts, envoy):
    """All faults, by tags, by identity and server name, for everybody."""
    both = {**_spiffe("spiffe://default/a", "Prefix"), "sni": {"type": "Exact", "value": "backend.mesh"}}
    rules = InboundRules((_rule(ALL, _spiffe("spiffe://default/web")), _rule(ALL, both), _rule(ALL)))
    tags = TagMatch("kuma.io/service", "web"), TagMatch("version", "*", negated=True)
    made = [
        drafts.inbound("http", TlsMode.PERMISSIVE),
        drafts.inbound("grpc", workload_port=8081),
    ]
    inbound(made[0], rules)
    inbound(made[1], InboundRules(subsets=(_subset(ALL, *tags), _subset(ALL))))

    assert envoy.accepts(*made)


def test_the_source_tags_decide_who_meets_a_fault(drafts, envoy):
    """One service fails, also when it is one of several of a proxy; a longer name and an unknown source do not."""
    web = TagMatch("kuma.io/service", "web")
    not_web = TagMatch("kuma.io/service", "web", negated=True)
    callers = [{"kuma.io/service": ["web"], "version": ["1"]}, {"kuma.io/service": ["a", "web"]},
               {"kuma.io/service": ["big-web"]}, {"kuma.io/service": ["web2"]}]  # fmt: skip
    with application() as port:
        draft = drafts.inbound("http", workload_port=port)
        inbound(draft, InboundRules(subsets=(_subset(_abort(501), web), _subset(_abort(418), not_web))))
        with envoy.running(draft):
            answers = [get(draft.view.port, headers={HEADER: header_value(tags)}).status for tags in callers]
            answers.append(get(draft.view.port).status)

    assert answers == [501, 501, 418, 418, 418]


def test_the_identity_decides_who_meets_a_fault(drafts, envoy, authority):
    """Every rule that holds for a client counts, the most specific first; a client is known by any of its services."""
    rules = (
        _rule({"http": [{"delay": {"value": "300ms", "percentage": 100}}]}, _spiffe("spiffe://default/web")),
        _rule(_abort(501), _spiffe("spiffe://default/ap", "Prefix")),
        _rule(_abort(418)),
    )
    with application() as port:
        draft = drafts.inbound("http", TlsMode.STRICT, workload_port=port)
        inbound(draft, InboundRules(rules))
        with envoy.running(draft):
            answers = []
            for uris in (WEB, API, ("spiffe://default/other",), ("spiffe://default/x", *WEB)):
                begun = time.monotonic()
                status = get(draft.view.port, authority=authority, uris=uris).status
                answers.append((status, time.monotonic() - begun >= 0.3))

    assert answers == [(418, True), (501, False), (418, False), (418, True)]


PERCENTAGES = st.integers(0, 100) | st.decimals(0, 100, places=6).map(str)
FAULTS = st.fixed_dictionaries(
    {},
    optional={
        "abort": st.fixed_dictionaries({"httpStatus": st.integers(200, 599), "percentage": PERCENTAGES}),
        "delay": st.fixed_dictionaries({"value": st.sampled_from(["0s", "1ms", "1h"]), "percentage": PERCENTAGES}),
        "responseBandwidth": st.fixed_dictionaries(
            {"limit": st.sampled_from(["1kbps", "50 Mbps", "2Gbps"]), "percentage": PERCENTAGES}
        ),
    },
)
CONFS = st.fixed_dictionaries({}, optional={"http": st.lists(FAULTS, max_size=3)})
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
    """What was accepted never fails later; no percentage ever exceeds the whole."""
    draft = drafts.inbound(protocol, mode)
    inbound(draft, InboundRules(tuple(_rule(conf, match) for conf, match in confs)))
    by_tags = drafts.inbound(protocol, mode)
    inbound(by_tags, InboundRules(subsets=tuple(_subset(conf, TagMatch("a", "*")) for conf, _ in confs)))

    whole = {0: 100, 1: 10_000, 2: 1_000_000}
    for chain in by_tags.chains:
        for one in chain.http_filters:
            fault = _fault(one)
            for percentage in (fault.abort.percentage, fault.delay.percentage, fault.response_rate_limit.percentage):
                assert percentage.numerator <= whole[percentage.denominator]
    assert all(chain.http is not None for chain in draft.chains if chain.http_filters)
