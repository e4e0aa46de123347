"""When a script may be content with a run."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from kuma.demo.observe import ProxyState
from kuma.demo.outcome import shortcomings
from kuma.demo.statistics import Figures, Sample
from kuma.demo.table import EdgeRow, Picture, ProxyRow

FIGURES = Figures(20.0, 0.0, 0.002, 0.01, 300, 0)
OUTSIDE = EdgeRow("you", "web", FIGURES, inside=False)
INSIDE = EdgeRow("web", "api", FIGURES, encrypted=True)
PROXY = ProxyRow("web", 1, ProxyState(online=True))
GOOD = Picture(1, datetime(2026, 3, 1, tzinfo=UTC), timedelta(seconds=15), None, (OUTSIDE, INSIDE), (PROXY,))


def test_a_good_run_has_no_shortcoming():
    """Traffic flowed, nothing failed, all of it inside the mesh was encrypted, all programs are there."""
    assert shortcomings(GOOD, ()) == ()


FAILED = replace(FIGURES, total_errors=3, last_error=Sample(1, 1, error="503 no healthy upstream"))


@pytest.mark.parametrize(
    "picture, said",
    [
        (replace(GOOD, edges=(replace(OUTSIDE, figures=replace(FIGURES, total=0)), INSIDE)), "you → web: no traffic"),
        (
            replace(GOOD, edges=(OUTSIDE, replace(INSIDE, figures=FAILED))),
            "web → api: 3 of 300 calls failed, the last one with: 503 no healthy upstream",
        ),
        (replace(GOOD, edges=(OUTSIDE, replace(INSIDE, encrypted=None))), "web → api: no mutual TLS was seen"),
        (replace(GOOD, edges=(OUTSIDE, replace(INSIDE, encrypted=False))), "web → api: no mutual TLS was seen"),
        (replace(GOOD, proxies=(replace(PROXY, state=None),)), "web: the control plane does not know the proxy"),
        (
            replace(GOOD, proxies=(replace(PROXY, state=ProxyState(online=True, refused=1)),)),
            "web: its Envoy refused 1 configurations",
        ),
    ],
)
def test_whatever_is_wrong_is_said(picture, said):
    """Each reason for exit code 1 is a sentence."""
    assert shortcomings(picture, ()) == (said,)


def test_a_program_that_ended_is_a_shortcoming():
    """Even if nobody noticed."""
    assert shortcomings(GOOD, ("kuma-dp of api-2 was ended by SIGKILL",)) == ("kuma-dp of api-2 was ended by SIGKILL",)
