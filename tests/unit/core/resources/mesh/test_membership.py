"""Who may be in a mesh, and the words of a refusal."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kuma.core.resources.dataplane.spec import Dataplane
from kuma.core.resources.mesh.membership import refusals
from kuma.core.resources.mesh.spec import Mesh


def mesh(requirements=(), restrictions=()):
    """A mesh with these rules."""
    rules = {
        "requirements": [{"tags": tags} for tags in requirements],
        "restrictions": [{"tags": tags} for tags in restrictions],
    }
    return Mesh.model_validate({"constraints": {"dataplaneProxy": rules}})


def proxy(*tag_sets, gateway=None):
    """A proxy whose inbounds have these tags."""
    inbounds = [{"port": 80 + index, "tags": tags} for index, tags in enumerate(tag_sets)]
    networking = {"address": "10.0.0.1", "inbound": inbounds}
    return Dataplane.model_validate({"networking": networking | ({"gateway": {"tags": gateway}} if gateway else {})})


def fields(rules, dataplane):
    """Where the proxy is refused, with which of the two."""
    return [(one.field, one.reason.partition(")")[0].rpartition(".")[2]) for one in refusals("m", rules, dataplane)]


WEB = {"kuma.io/service": "web", "team": "a"}


@pytest.mark.parametrize(
    "rules",
    [
        pytest.param(Mesh(), id="no constraints"),
        pytest.param(mesh(), id="empty lists"),
        pytest.param(mesh([WEB]), id="the very tags"),
        pytest.param(mesh([{"team": "b"}, {"team": "a"}]), id="one of several requirements"),
        pytest.param(mesh([{"team": "*"}]), id="any value"),
        pytest.param(mesh([], [{"team": "b"}]), id="restriction of another value"),
        pytest.param(mesh([], [{"team": "a", "kuma.io/service": "db"}]), id="only part of a restriction"),
        pytest.param(mesh([], [{"owner": "*"}]), id="restriction of a tag it has not"),
    ],
)
def test_a_proxy_that_fits_is_taken_in(rules):
    """Any one requirement is enough; a restriction has to hold whole."""
    assert fields(rules, proxy(WEB)) == []


@pytest.mark.parametrize(
    "rules, which",
    [
        pytest.param(mesh([{"team": "b"}]), ["requirements"], id="another value"),
        pytest.param(mesh([{"team": "a", "zone": "*"}]), ["requirements"], id="half of a requirement"),
        pytest.param(mesh([], [{"team": "*"}]), ["restrictions"], id="restricted"),
        pytest.param(mesh([WEB], [WEB]), ["restrictions"], id="a restriction wins"),
        pytest.param(mesh([{"x": "y"}], [WEB]), ["requirements", "restrictions"], id="both at once"),
    ],
)
def test_a_proxy_that_does_not_fit_is_refused(rules, which):
    """With the field whose tags do not fit."""
    assert fields(rules, proxy(WEB)) == [("networking.inbound[0].tags", one) for one in which]


def test_each_service_of_a_proxy_is_judged_by_itself():
    """One good inbound does not let another in, and two halves make no whole."""
    rules = mesh([{"team": "a", "zone": "z"}])
    assert fields(rules, proxy({"team": "a", "zone": "z"}, {"team": "a"}, {"zone": "z"})) == [
        ("networking.inbound[1].tags", "requirements"),
        ("networking.inbound[2].tags", "requirements"),
    ]


def test_a_gateway_is_judged_by_its_tags():
    """As an inbound is."""
    assert fields(mesh([{"team": "a"}]), proxy(gateway={"kuma.io/service": "edge"})) == [
        ("networking.gateway.tags", "requirements")
    ]


def test_a_proxy_that_offers_nothing_does_not_slip_through():
    """Without inbounds it has no tags, so it meets no requirement; no restriction names it either."""
    assert fields(mesh([{"team": "*"}], [{"team": "*"}]), proxy()) == [("networking", "requirements")]
    assert fields(mesh([], [{"team": "*"}]), proxy()) == []


def test_a_refusal_names_the_mesh_its_rules_and_the_tags():
    """So that the reader knows what to change, and where."""
    [refused] = refusals("demo", mesh([{"team": "b"}, {"team": "c", "x": "*"}]), proxy(WEB))
    assert refused.reason == (
        'mesh "demo" takes only proxies with tags [team=b] or [team=c x=*] (constraints.dataplaneProxy.requirements); '
        "here the tags are [kuma.io/service=web team=a]"
    )
    [refused] = refusals("demo", mesh([], [{"team": "z"}, {"team": "*"}]), proxy(WEB))
    assert refused.reason == (
        'mesh "demo" takes no proxies with tags [team=*] (constraints.dataplaneProxy.restrictions); '
        "here the tags are [kuma.io/service=web team=a]"
    )
    [refused] = refusals("demo", mesh([{"n": str(number)} for number in range(99)]), proxy(WEB))
    assert "[n=4] or … (" in refused.reason


TAGS = st.dictionaries(st.sampled_from("abc"), st.sampled_from("xy"), max_size=3)
RULES = st.lists(st.dictionaries(st.sampled_from("abc"), st.sampled_from("xy*"), min_size=1, max_size=3), max_size=3)


@given(TAGS, RULES, RULES)
def test_more_requirements_let_more_in_and_more_restrictions_fewer(tags, one, other):
    """Whatever the rules are: requirements are alternatives, restrictions add up."""
    before = fields(mesh(one), proxy(tags))
    if one and not before:
        assert fields(mesh([*one, *other]), proxy(tags)) == []
    if fields(mesh([], one), proxy(tags)):
        assert fields(mesh([], [*one, *other]), proxy(tags))
