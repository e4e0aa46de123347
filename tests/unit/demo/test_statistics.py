"""The numbers in the table are what their names say."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kuma.demo.statistics import WINDOW_SECONDS, Sample, Tally, percentile


@pytest.mark.parametrize(
    "values, p50, p99",
    [
        ([], None, None),
        ([7.0], 7.0, 7.0),
        ([1.0, 2.0], 1.0, 2.0),
        ([float(n) for n in range(1, 101)], 50.0, 99.0),
        ([float(n) for n in range(1, 1001)], 500.0, 990.0),
    ],
)
def test_percentiles_are_values_that_were_measured(values, p50, p99):
    """p50 is the middle and p99 the slowest but one in a hundred; nothing is made up between two values."""
    assert percentile(values, 50) == p50
    assert percentile(values, 99) == p99


@given(st.lists(st.floats(0, 10), min_size=1), st.floats(1, 100))
def test_a_percentile_is_not_exceeded_by_so_many(values, percent):
    """At least so many percent of the calls were as fast or faster, and it was one of the calls."""
    found = percentile(sorted(values), percent)

    assert found in values
    assert sum(value <= found for value in values) >= percent / 100 * len(values) - 1e-9


def test_rates_are_those_of_the_last_seconds():
    """A burst long ago does not show in the rate; it stays in the totals."""
    tally = Tally(since=0)
    for moment in range(100):
        tally.add(Sample(moment / 100, 0.001, "api-1", "refused"))
    for moment in range(50):
        tally.add(Sample(90 + moment / 10, 0.002, "api-2"))

    figures = tally.recent(now=100)

    assert figures.per_second == pytest.approx(50 / WINDOW_SECONDS)
    assert figures.errors_per_second == 0
    assert (figures.total, figures.total_errors) == (150, 100)
    assert figures.shares == {"api-2": 1.0}


def test_rate_is_right_from_the_first_second():
    """In the beginning the rate is of the time there was, not of a window that has not passed."""
    tally = Tally(since=50)
    for moment in range(40):
        tally.add(Sample(50 + moment / 20, 0.001))

    assert tally.recent(now=52).per_second == pytest.approx(20)


def test_latency_is_that_of_calls_that_succeeded():
    """A refusal in no time, or a timeout, says nothing about how fast the service is."""
    tally = Tally(since=0)
    tally.add(Sample(1, 0.005, "kv"))
    tally.add(Sample(1, 5.0, error="no answer within 5 s"))

    figures = tally.recent(now=2)

    assert figures.p50 == figures.p99 == 0.005
    assert figures.errors_per_second == pytest.approx(0.5)
    assert figures.last_error is not None
    assert figures.last_error.error == "no answer within 5 s"


def test_shares_tell_who_answered():
    """Two instances that answer in turn have half each."""
    tally = Tally(since=0)
    for number in range(10):
        tally.add(Sample(number, 0.001, f"api-{number % 2 + 1}"))

    assert tally.all(now=10).shares == {"api-1": 0.5, "api-2": 0.5}
    assert tally.all(now=10).per_second == pytest.approx(1)
