"""How the cost grows: per proxy, per service, and where nothing can be shared."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from tests.bench.scenario import Run, Size, storm_only

PROXIES: Final = (100, 200, 400)
SERVICES: Final = (25, 50, 100, 200)
_PROXIES_WHILE_SERVICES_GROW: Final = 100
_SERVICES_WHILE_PROXIES_GROW: Final = 50
ROWS: Final = (
    "all connect at once: CPU (s)",
    "memory above an empty one (MB)",
    "endpoint change: CPU (s)",
    "mesh-wide policy: CPU (s)",
)
"""What is compared between sizes."""


def by_proxies(*, delta: bool, say: Callable[[str], None]) -> list[tuple[int, Run]]:
    """The same mesh with more and more proxies."""
    return [(count, _run(Size(count, _SERVICES_WHILE_PROXIES_GROW, delta=delta), say)) for count in PROXIES]


def by_services(*, delta: bool, say: Callable[[str], None]) -> list[tuple[int, Run]]:
    """As many proxies, each of which consumes more and more services."""
    return [(count, _run(Size(_PROXIES_WHILE_SERVICES_GROW, count, delta=delta), say)) for count in SERVICES]


def nothing_shared(proxies: int, *, delta: bool, say: Callable[[str], None]) -> tuple[Run, Run]:
    """The worst case, every proxy with a policy of its own, beside the usual one."""
    usual = Size(proxies, _SERVICES_WHILE_PROXIES_GROW, delta=delta)
    return _run(usual, say), _run(replace(usual, odd=True), say)


def slope(points: Sequence[tuple[int, float]]) -> float:
    """What one more costs: the slope of the straight line nearest to the points."""
    mean_x = sum(x for x, _ in points) / len(points)
    mean_y = sum(y for _, y in points) / len(points)
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / sum((x - mean_x) ** 2 for x, _ in points)


def _run(size: Size, say: Callable[[str], None]) -> Run:
    odd = ", each with a policy of its own" if size.odd else ""
    say(f"{size.proxies} proxies × {size.services} services{odd}")
    brief = replace(size, endpoint_changes=5, policy_changes=1, idle_seconds=0)
    with tempfile.TemporaryDirectory(prefix="kuma-bench-") as directory:
        return storm_only(brief, Path(directory))
