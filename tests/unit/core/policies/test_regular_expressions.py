"""Regular expressions of users, wherever a policy takes one: refused when they are written, or run by Envoy."""

import json
import re
from typing import get_args

import pytest
from pydantic import ValidationError

from kuma.core.model.spec import violations
from kuma.core.policies import BY_KIND, POLICIES
from kuma.core.policies._kit.regex import regex_violations

SERVICE = {"kind": "MeshService", "name": "backend"}
FAULTY = {
    "x(": "missing ): x(",
    "(?=x)": "invalid perl operator: (?=",
    r"(x)\1": r"invalid escape sequence: \1",
    r"\x{100}": r"invalid escape sequence: \x{100",
    "x{1001}": "invalid repetition size: {1001}",
    "(x{1000}){2}": "invalid repetition size: {2}",
    "((" + "x|y" * 200_000 + "){50})": "pattern too large - compile failed",
}
SOUND = [
    "/v[0-9]+",
    "é|ü",
    "x\x00y",
    r"\x00",
    r"\x{ff}",
    r"\pL{1000}",
    "(x|y){0,999}",
    "x" * 100_000,
    "(" * 900 + ")" * 900,
]


def route(match):
    """A MeshHTTPRoute with one match."""
    return {"to": [{"targetRef": SERVICE, "rules": [{"matches": [match], "default": {}}]}]}


def retry(conf):
    """A MeshRetry of requests."""
    return {"to": [{"targetRef": SERVICE, "default": {"http": {"numRetries": 1, **conf}}}]}


PLACES = {
    ("MeshHTTPRoute", "to.rules.matches.path"): (
        "spec.to[0].rules[0].matches[0].path.value",
        lambda text: route({"path": {"type": "RegularExpression", "value": text}}),
    ),
    ("MeshHTTPRoute", "to.rules.matches.headers"): (
        "spec.to[0].rules[0].matches[0].headers[0].value",
        lambda text: route({"headers": [{"name": "a", "type": "RegularExpression", "value": text}]}),
    ),
    ("MeshHTTPRoute", "to.rules.matches.queryParams"): (
        "spec.to[0].rules[0].matches[0].queryParams[0].value",
        lambda text: route({"queryParams": [{"name": "a", "type": "RegularExpression", "value": text}]}),
    ),
    ("MeshRetry", "to.default.http.retriableRequestHeaders"): (
        "spec.to[0].default.conf.http.retriableRequestHeaders[0].value",
        lambda text: retry({"retriableRequestHeaders": [{"name": "a", "type": "RegularExpression", "value": text}]}),
    ),
    ("MeshRetry", "to.default.http.retriableResponseHeaders"): (
        "spec.to[0].default.conf.http.retriableResponseHeaders[0].value",
        lambda text: retry({"retriableResponseHeaders": [{"name": "a", "type": "RegularExpression", "value": text}]}),
    ),
}
every_place = pytest.mark.parametrize("place", PLACES, ids=" ".join)


def places_in(model, path=()):
    """Where a model takes a regular expression: objects whose type may say so, by the names of fields."""
    for field in model.model_fields.values():
        if field.alias == "type" and "RegularExpression" in get_args(field.annotation):
            yield ".".join(path)
        for part in _models(field.annotation):
            yield from places_in(part, (*path, field.alias))


def _models(annotation):
    if hasattr(annotation, "model_fields"):
        yield annotation
    for part in get_args(annotation):
        yield from _models(part)


def faults(place, text):
    """What is wrong with a policy that has this expression at a place."""
    policy, (_, make) = BY_KIND[place[0]], PLACES[place]
    spec = policy.spec.model_validate_json(json.dumps(make(text)))
    return [(fault.field, fault.reason) for fault in policy.validate(spec)]


def test_every_place_is_among_those_tested():
    """A new policy with regular expressions comes with its place here."""
    found = {(policy.kind, place) for policy in POLICIES for place in places_in(policy.spec)}

    assert found == PLACES.keys()


@every_place
@pytest.mark.parametrize("text", FAULTY, ids=lambda text: text[:12])
def test_what_envoy_would_refuse_is_refused_at_every_place(place, text):
    """With the field, and the words of the library that Envoy uses."""
    field = PLACES[place][0]

    assert faults(place, text) == [(field, f"must be a valid regular expression (RE2): {FAULTY[text]}")]


@every_place
def test_what_envoy_takes_is_accepted_at_every_place(place):
    """Also null characters, and expressions of a size that Envoy takes because its proxy's bootstrap says so."""
    assert [faults(place, text) for text in SOUND] == [[]] * len(SOUND)


@every_place
@pytest.mark.parametrize("text", ["", None])
def test_an_expression_is_needed(place, text):
    """Nobody means an empty one; some places want a value of whatever type."""
    field, make = PLACES[place]
    try:
        spec = BY_KIND[place[0]].spec.model_validate_json(json.dumps(make(text)))
    except ValidationError as error:
        found = list(violations(error, "spec"))
    else:
        found = list(BY_KIND[place[0]].validate(spec))

    assert [one.field for one in found] == [field]


def _routes(draft, texts):
    host = draft.chain.http.route_config.virtual_hosts[0]
    del host.routes[:]
    for text in texts:
        path, header, query = (host.routes.add() for _ in range(3))
        path.match.safe_regex.regex = text
        header.match.prefix = query.match.prefix = "/"
        header.match.headers.add(name="a").string_match.safe_regex.regex = text
        query.match.query_parameters.add(name="a").string_match.safe_regex.regex = text
        for one in (path, header, query):
            one.route.cluster = "backend"
    return draft


def test_envoy_takes_what_we_accept(drafts, envoy):
    """As path, header and query parameter."""
    assert not [text for text in SOUND if list(regex_violations(text, "f"))]
    assert envoy.accepts(_routes(drafts.outbound(), SOUND))


@pytest.mark.parametrize("text", FAULTY, ids=lambda text: text[:12])
def test_envoy_refuses_what_we_refuse(drafts, envoy, text):
    """In the same words; nothing is refused that would have worked."""
    with pytest.raises(AssertionError, match=re.escape(FAULTY[text])):
        envoy.accepts(_routes(drafts.outbound(), [text]))
