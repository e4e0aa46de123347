"""The benchmark in small: what must hold on any machine, however slow. Times are `make bench`'s business."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bench.scenario import Size, run


@pytest.mark.timeout(90)
@pytest.mark.parametrize("dialect", ["delta", "sotw"])
def test_a_small_fleet_gets_all_it_needs_and_nothing_else(tmp_path: Path, dialect: str):
    """
    Everyone is configured, a policy for one service reaches nobody else, a restarted control plane re-sends nothing.

    The last is a promise of the delta dialect only.
    """
    size = Size(30, 10, delta=dialect == "delta", endpoint_changes=2, policy_changes=1, idle_seconds=0, within=20)

    assert run(size, tmp_path).faults == []
