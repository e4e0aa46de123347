from kuma.core.policies._kit.spec import Match
from kuma.core.xds.clients import either, expression, predicate


def _match(**fields):
    return Match.model_validate(fields)


SPIFFE = {"type": "Exact", "value": "spiffe://d/a"}
SNI = {"type": "Exact", "value": "a.b"}


def test_a_match_is_an_expression_for_access_logs():
    """Both conditions must hold; an empty match is no condition."""
    assert expression(_match()) == ""
    assert expression(_match(spiffeID=SPIFFE)) == 'connection.uri_san_peer_certificate == "spiffe://d/a"'
    assert expression(_match(spiffeID={**SPIFFE, "type": "Prefix"}, sni=SNI)) == (
        'connection.uri_san_peer_certificate.startsWith("spiffe://d/a") && connection.requested_server_name == "a.b"'
    )


def test_quotes_cannot_end_a_literal():
    """What a user writes stays data."""
    assert expression(_match(sni={"type": "Exact", "value": 'a"\\'})).endswith(r'"a\"\\"')


def test_a_match_is_a_predicate_for_matchers():
    """One condition stands alone, two are joined, none is nothing."""
    one = predicate(_match(sni=SNI))
    both = predicate(_match(spiffeID=SPIFFE, sni=SNI))

    assert predicate(_match()) is None
    assert one.single_predicate.value_match.exact == "a.b"
    assert len(both.and_matcher.predicate) == 2
    assert either([one]) is one
    assert len(either([one, both]).or_matcher.predicate) == 2
