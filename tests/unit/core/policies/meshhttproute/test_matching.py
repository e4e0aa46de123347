import base64
import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kuma.core.policies.meshhttproute.matching import (
    CATCH_ALL,
    combined,
    destinations,
    entries,
    envoy_matches,
    matches_text,
    route_name,
)
from kuma.core.policies.meshhttproute.spec import Conf, Match, Rule
from kuma.core.xds.names import CATCH_ALL_ROUTE


def _match(**fields):
    return Match.model_validate_json(json.dumps(fields))


def _exact(value):
    return {"type": "Exact", "value": value}


def _prefix(value):
    return {"type": "PathPrefix", "value": value}


def _regex(value):
    return {"type": "RegularExpression", "value": value}


def _rule(*matches, **default):
    return Rule.model_validate_json(json.dumps({"matches": [m.to_json() for m in matches], "default": default}))


def _to(service, weight=1, **fields):
    return {"kind": "MeshService", "name": service, "weight": weight, **fields}


def test_the_route_of_everything_has_the_name_that_dashboards_know():
    """The text that is hashed is the one Go writes, so names are those of Kuma."""
    assert matches_text([CATCH_ALL]) == '[{"path":{"value":"/","type":"PathPrefix"}}]'
    assert route_name([CATCH_ALL]) == CATCH_ALL_ROUTE == "9Zuf5Tg79OuZcQITwBbQykxAk2u4fRKrwYn3//AL4Yo="


def test_a_route_is_named_by_all_its_matches_as_go_writes_them():
    """Fields in Kuma's order, empty ones left out, characters escaped as Go does."""
    match = _match(
        headers=[{"value": "a&b", "name": "x"}, {"name": "y", "type": "Present"}],
        queryParams=[{"name": "q", "value": "", "type": "Exact"}],
        method="GET",
        path=_regex("/<é\u2028>"),
    )
    text = (
        '[{"path":{"value":"/\\u003cé\\u2028\\u003e","type":"RegularExpression"},"method":"GET",'
        '"queryParams":[{"type":"Exact","name":"q","value":""}],'
        '"headers":[{"type":"Exact","name":"x","value":"a\\u0026b"},{"type":"Present","name":"y"}]},{}]'
    )

    assert matches_text([match, Match(headers=())]) == text
    assert route_name([match, Match()]) == base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def test_the_most_specific_match_is_tried_first():
    """Exact before prefixes before expressions before none; longer ones, methods, more headers, more parameters."""
    header, other = {"name": "a", "value": "1"}, {"name": "b", "value": "1"}
    query = {"name": "q", "type": "Exact", "value": "1"}
    ordered = [
        _match(path=_exact("/a")),
        _match(path=_prefix("/long")),
        _match(path=_prefix("/b"), method="GET"),
        _match(path=_prefix("/b"), headers=[header, other]),
        _match(path=_prefix("/b"), headers=[header], queryParams=[query]),
        _match(path=_prefix("/b"), headers=[header]),
        _match(path=_prefix("/b"), queryParams=[query]),
        _match(path=_prefix("/c")),
        _match(path=_regex("/long.*")),
        _match(path=_regex("/.*")),
        _match(method="GET"),
    ]

    assert [entry.match for entry in entries([_rule(*reversed(ordered))])] == [*ordered, CATCH_ALL]


def test_equally_specific_matches_keep_the_order_in_which_they_are_written():
    """The rule written first is tried first."""
    first, second = _rule(_match(path=_exact("/b"))), _rule(_match(path=_exact("/a")), _match(path=_exact("/aa")))

    assert [entry.match.path.value for entry in entries([first, second])] == ["/b", "/a", "/aa", "/"]


def test_what_no_rule_takes_goes_to_the_service():
    """A route for everything stands at the end, named as without rules; one that the user wrote is not repeated."""
    own = _rule(CATCH_ALL, _match(path=_prefix("/a")), backendRefs=[_to("other")])
    [only] = entries([])
    written = entries([own])

    assert (only.match, only.name, only.conf.backend_refs) == (CATCH_ALL, CATCH_ALL_ROUTE, None)
    assert [entry.match.path.value for entry in written] == ["/a", "/"]
    assert {entry.name for entry in written} == {route_name(own.matches)}
    assert all(entry.conf == own.default for entry in written)


def test_rules_of_a_policy_with_more_weight_come_first():
    """Within a policy the order written stays; across policies the one with the highest priority leads."""
    a, b, c = (_rule(_match(path=_exact(path))) for path in ("/a", "/b", "/c"))

    assert combined([Conf(rules=(a, b)), Conf(rules=(c,))]).rules == (c, a, b)
    assert combined([]).rules == ()


def test_rules_with_equal_matches_are_one_rule():
    """Each part is that of the strongest policy that has it, and the rule moves to where that policy put it."""
    match, other = _match(path=_exact("/a")), _rule(_match(path=_exact("/b")))
    weak = _rule(match, backendRefs=[_to("one")], filters=[{"type": "RequestRedirect", "requestRedirect": {}}])
    strong = _rule(match, backendRefs=[_to("two")])
    [first, second] = combined([Conf(rules=(other, weak)), Conf(rules=(strong,))]).rules

    assert [ref.name for ref in first.default.backend_refs] == ["two"]
    assert first.default.filters == weak.default.filters
    assert second == other


def test_destinations_are_all_services_that_may_get_requests_or_copies():
    """References to objects and backends without weight need no cluster of a service."""
    mirror = {"type": "RequestMirror", "requestMirror": {"backendRef": _to("copy", 0)}}
    subset = {"kind": "MeshServiceSubset", "name": "web", "tags": {"version": "v2", "a": "b"}}
    conf = Conf(
        rules=(
            _rule(CATCH_ALL, backendRefs=[_to("one"), _to("none", 0), _to("object", port=80)], filters=[mirror]),
            _rule(CATCH_ALL, backendRefs=[subset, {"kind": "MeshExternalService", "name": "out"}]),
            _rule(CATCH_ALL, backendRefs=[_to("named", sectionName="http")]),
        )
    )

    assert list(destinations(conf)) == [
        (("kuma.io/service", "one"),),
        (("kuma.io/service", "copy"),),
        (("a", "b"), ("kuma.io/service", "web"), ("version", "v2")),
    ]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (None, [("prefix", "/")]),
        (_prefix("/"), [("prefix", "/")]),
        (_prefix("/v1"), [("path", "/v1"), ("prefix", "/v1/")]),
        (_exact("/v1"), [("path", "/v1")]),
    ],
)
def test_a_path_prefix_ends_at_a_slash(path, expected):
    """`/v1` matches `/v1` and `/v1/a` and never `/v10`, for which Envoy needs two matches."""
    found = envoy_matches(_match(path=path))

    assert [(name := one.WhichOneof("path_specifier"), getattr(one, name)) for one in found] == expected


def test_all_conditions_of_a_match_stand_on_each_of_its_envoy_matches():
    """Method, headers and query parameters; of several on one name the first counts."""
    match = _match(
        path=_prefix("/v1"),
        method="POST",
        headers=[
            {"name": "exact", "value": "1"},
            {"name": "exact", "value": "2"},
            {"name": "present", "type": "Present"},
            {"name": "absent", "type": "Absent"},
            {"name": "prefix", "type": "Prefix", "value": "p"},
            {"name": "any", "type": "Prefix"},
            {"name": "regex", "type": "RegularExpression", "value": "r.*"},
        ],
        queryParams=[
            {"name": "q", "type": "Exact", "value": "1"},
            {"name": "q", "type": "Exact", "value": "2"},
            {"name": "r", "type": "RegularExpression", "value": "r.*"},
        ],
    )
    first, second = envoy_matches(match)
    method, exact, present, absent, prefix, anything, regex = first.headers
    one, other = first.query_parameters

    assert (method.name, method.string_match.exact) == (":method", "POST")
    assert (exact.name, exact.string_match.exact) == ("exact", "1")
    assert (present.present_match, absent.present_match, anything.present_match) == (True, False, True)
    assert absent.HasField("present_match")
    assert prefix.string_match.prefix == "p"
    assert regex.string_match.safe_regex.regex == "r.*"
    assert (one.name, one.string_match.exact) == ("q", "1")
    assert other.string_match.safe_regex.regex == "r.*"
    assert (list(second.headers), list(second.query_parameters)) == (list(first.headers), list(first.query_parameters))


def test_an_expression_matches_the_path():
    """The user's expression reaches Envoy as it is."""
    [one] = envoy_matches(_match(path=_regex("/a|b")))

    assert one.safe_regex.regex == "/a|b"


MATCHES = st.builds(
    _match,
    path=st.none() | st.sampled_from([_prefix("/"), _prefix("/a"), _prefix("/ab"), _exact("/a"), _regex("/.*")]),
    method=st.none() | st.sampled_from(["GET", "POST"]),
    headers=st.lists(st.sampled_from([{"name": "a", "value": "1"}, {"name": "b", "type": "Absent"}]), max_size=2),
)
RULES = st.lists(st.builds(_rule, MATCHES, MATCHES), max_size=4)


@given(rules=RULES)
def test_every_match_is_tried_once_and_everything_is_taken(rules):
    """Ordering loses nothing, and someone takes every request."""
    found = entries(rules)
    written = [match for rule in rules for match in rule.matches]

    assert len(found) - len(written) == (CATCH_ALL not in written)
    assert all(match in [entry.match for entry in found] for match in written)
    assert CATCH_ALL in [entry.match for entry in found]


@given(weak=RULES, strong=RULES)
def test_combining_keeps_every_match_once(weak, strong):
    """No rule gets lost between policies, and what is combined stays as it is when combined again."""
    made = combined([Conf(rules=tuple(weak)), Conf(rules=tuple(strong))])
    texts = [matches_text(rule.matches) for rule in made.rules]

    assert sorted(texts) == sorted({matches_text(rule.matches) for rule in [*weak, *strong]})
    assert combined([made]) == made
