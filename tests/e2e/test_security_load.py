"""Somebody tries tokens, many in a second. In short; `make wrong-tokens` takes the time to measure times."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bench.wrong_tokens import measure


@pytest.mark.timeout(120)
def test_wrong_tokens_keep_nobody_from_the_api(tmp_path: Path):
    """Every one of them is refused, every request of a user with a good one is served meanwhile, none takes long."""
    outcome = measure(tmp_path, rate=200, seconds=3)

    assert outcome.faults == []
    assert outcome.tried.total() == 600
    assert len(outcome.times) > 10
    assert outcome.p99 < 5, "generous: other programs share this machine"
