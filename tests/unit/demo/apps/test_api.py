"""Who the API says called it."""

from __future__ import annotations

import pytest

from kuma.demo.apps.api import caller


@pytest.mark.parametrize(
    "header, identity",
    [
        ("", ""),
        ("By=spiffe://default/api;Hash=ab;URI=spiffe://default/web", "spiffe://default/web"),
        ("Hash=1;URI=spiffe://default/far,Hash=2;URI=spiffe://default/web", "spiffe://default/web"),
        ("By=spiffe://default/api;Hash=ab", ""),
        ("URI=http://elsewhere", ""),
    ],
)
def test_caller_is_the_nearest_certificate(header, identity):
    """Of several hops the last one is the one this proxy checked; what is no SPIFFE identity is none."""
    assert caller(header) == identity
