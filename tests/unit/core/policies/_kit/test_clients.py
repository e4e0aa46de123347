from hypothesis import given
from hypothesis import strategies as st

from kuma.core.model.resource import Key
from kuma.core.policies._kit.clients import as_written, by_client, cases
from kuma.core.policies._kit.rules import InboundRule
from kuma.core.policies._kit.spec import Match
from kuma.core.policies.meshtimeout.spec import Conf


def _match(exact=None, prefix=None, sni=None):
    spiffe = {"type": "Exact", "value": exact} if exact else {"type": "Prefix", "value": prefix} if prefix else None
    return Match.model_validate({"spiffeID": spiffe, "sni": {"type": "Exact", "value": sni} if sni else None})


def _rule(match, name="p", **conf):
    return InboundRule(match, Conf.model_validate(conf), Key("MeshTimeout", "default", name), f"kri_{name}")


WEB = _match(exact="spiffe://d/web")
ALL_OF_D = _match(prefix="spiffe://d")


def test_the_most_specific_match_is_tried_first():
    """Exact before prefix before a server name alone; with a server name before without."""
    named, both = _match(sni="a.b"), _match(prefix="spiffe://d", sni="a.b")
    order = [match for match, _ in by_client([_rule(match) for match in (named, ALL_OF_D, both, WEB)])]

    assert order == [WEB, both, ALL_OF_D, named]


def test_a_longer_prefix_is_tried_before_a_shorter_one():
    """In whatever order they were written, and whichever policy they stand in; the shorter one fills the gaps."""
    team = _match(prefix="spiffe://d/team-a")
    wide, narrow = _rule(ALL_OF_D, "high", idleTimeout="1s", connectionTimeout="1s"), _rule(team, idleTimeout="2s")

    for rules in ([narrow, wide], [wide, narrow]):
        first, second = cases(Conf, rules)
        assert (first.match, second.match) == (team, ALL_OF_D)
        assert first.merged.conf.to_json() == {"idleTimeout": "2s", "connectionTimeout": "1s"}


def test_the_matches_of_a_rule_are_together_as_written():
    """And those of different rules, or of different policies, are not."""

    def rule(match, text, name):
        return InboundRule(match, Conf(), Key("MeshTimeout", "default", name), f"kri_{name}", text)

    rules = [rule(WEB, "a", "p"), rule(WEB, "b", "p"), rule(WEB, "a", "q"), rule(ALL_OF_D, "a", "p")]

    assert as_written(rules) == [[rules[0], rules[3]], [rules[1]], [rules[2]]]


def test_gaps_are_filled_from_what_also_holds_for_the_client():
    """The narrow rule decides, then the wider one, then what holds for everybody."""
    rules = [
        _rule(WEB, "narrow", idleTimeout="1s"),
        _rule(ALL_OF_D, "wide", idleTimeout="2s", connectionTimeout="2s"),
        _rule(None, "plain", idleTimeout="3s", http={"requestTimeout": "3s"}),
    ]
    web, wide, everybody = cases(Conf, rules)

    assert web.merged.conf.to_json() == {
        "idleTimeout": "1s",
        "connectionTimeout": "2s",
        "http": {"requestTimeout": "3s"},
    }
    assert wide.merged.conf.to_json()["idleTimeout"] == "2s"
    assert (everybody.match, everybody.merged.conf.to_json()["idleTimeout"]) == (None, "3s")
    assert [case.kri for case in (web, wide, everybody)] == ["kri_narrow", "kri_wide", "kri_plain"]


def test_one_match_in_two_policies_is_one_case():
    """The higher-ranked policy wins, the other one fills its gaps."""
    rules = [_rule(WEB, "low", idleTimeout="1s", connectionTimeout="1s"), _rule(WEB, "high", idleTimeout="2s")]
    [case] = cases(Conf, rules)

    assert case.merged.conf.to_json() == {"idleTimeout": "2s", "connectionTimeout": "1s"}
    assert (case.kri, [origin.name for origin in case.merged.origins]) == ("kri_high", ["low", "high"])


def test_an_empty_match_is_for_everybody():
    """`matches: [{}]` says the same as no matches."""
    [case] = cases(Conf, [_rule(Match(), idleTimeout="1s")])

    assert case.match is None


@given(st.lists(st.sampled_from([None, WEB, ALL_OF_D, _match(sni="a.b"), Match()]), max_size=6))
def test_whoever_is_spoken_of_gets_one_case(matches):
    """As many cases as different matches, the one for everybody last."""
    found = cases(Conf, [_rule(match, idleTimeout="1s") for match in matches])

    assert {case.match for case in found} == {None if match == Match() else match for match in matches}
    assert all(case.match is not None for case in found[:-1])
