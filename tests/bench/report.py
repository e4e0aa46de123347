"""The table: what was measured, against what is promised."""

from __future__ import annotations

import os
import platform
import shutil
import statistics
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.bench import shape
from tests.bench.scenario import Run
from tests.e2e.harness.processes import ROOT

ANY: Final = 0
"""In place of a number of proxies: however many there are."""
_SENT_AGAIN: Final = "restart under all streams: sent again (bytes per proxy)"
_ALMOST_NOTHING: Final = 64
_BUDGETS: Final[Mapping[str, Mapping[int, float]]] = {
    "endpoint change: last proxy received, p50 (ms)": {1000: 50, 2000: 100},
    "endpoint change: last proxy received, p99 (ms)": {1000: 150, 2000: 250},
    "endpoint change: CPU (s)": {1000: 0.15, 2000: 0.3},
    "mesh-wide policy: last message (s)": {1000: 0.5, 2000: 1},
    "policy for one service: pushes to others": {1000: 0, 2000: 0},
    "all connect at once: CPU (s)": {1000: 4, 2000: 8},
    "all connect at once: all configured (s)": {1000: 5, 2000: 10},
    "idle (% of a core)": {1000: 2, 2000: 4},
    "memory afterwards (MB)": {1000: 220, 2000: 350},
    "GET of a mesh meanwhile, p99 (ms)": {1000: 20, 2000: 20},
    "cold start, empty (s)": {1000: 1, 2000: 1},
    "cold start, all dataplanes stored (s)": {1000: 2, 2000: 2},
    _SENT_AGAIN: {1000: _ALMOST_NOTHING, 2000: _ALMOST_NOTHING},
    "kumactl --help: CPU (ms)": {ANY: 60},
    "kumactl get meshes: CPU (ms)": {ANY: 100},
    "kuma-dp: from its start to that of Envoy (s)": {ANY: 0.3},
    "kuma-dp: memory without Envoy (MB)": {ANY: 40},
    "make demo in a fresh checkout: first request over mTLS (s)": {ANY: 60},
}
"""What is promised, by number of proxies."""


@dataclass(frozen=True, slots=True)
class Measured:
    """All runs of one size and dialect."""

    proxies: int
    dialect: str
    runs: Sequence[Mapping[str, float]]

    def rows(self) -> list[tuple[str, str, str, str, str, str]]:
        """Row, minimum, median, maximum, budget, whether the median keeps it."""
        rows = []
        for name in self.runs[0]:
            values = [one[name] for one in self.runs if name in one]
            promised = name != _SENT_AGAIN or self.dialect == "delta"  # the other dialect has no way to ask
            budget = _BUDGETS.get(name, {}).get(self.proxies) if promised else None
            median = statistics.median(values)
            kept = "" if budget is None else "yes" if median <= budget else "**no**"
            shown = tuple(map(_number, (min(values), median, max(values))))
            rows.append((name, *shown, "" if budget is None else _number(budget), kept))
        return rows


def _number(value: float) -> str:
    if value == int(value) or abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.3f}" if abs(value) < 1 else f"{value:.2f}"


def table(measured: Measured) -> str:
    """As Markdown."""
    head = ("", "min", "median", "max", "budget", "kept")
    lines = ["| " + " | ".join(head) + " |", "|---|---:|---:|---:|---:|---|"]
    lines += ["| " + " | ".join(row) + " |" for row in measured.rows()]
    return "\n".join(lines)


def growth(of: str, runs: Sequence[tuple[int, Run]]) -> str:
    """A section on what one more proxy or service costs."""
    sizes = [count for count, _ in runs]
    lines = [
        f"## Growth by {of}, delta",
        "",
        "| | " + " | ".join(map(str, sizes)) + f" | one more {of} |",
        "|---|" + "---:|" * (len(sizes) + 1),
    ]
    for row in shape.ROWS:
        points = [(count, one.figures[row]) for count, one in runs if row in one.figures]
        shown = " | ".join(_number(value) for _, value in points)
        unit = 1000 * shape.slope(points)
        small = {"CPU (s)": "ms", "above an empty one (MB)": "kB"}
        name = next(word for ending, word in small.items() if row.endswith(ending))
        lines.append(f"| {row} | {shown} | {_number(unit)} {name} |")
    return "\n".join(lines)


def worst_case(proxies: int, usual: Run, odd: Run) -> str:
    """A section on proxies that share nothing."""
    lines = [
        f"## Worst case: {proxies} proxies, each with a policy of its own, delta",
        "",
        "| | usual | nothing shared |",
        "|---|---:|---:|",
    ]
    lines += [
        f"| {row} | {_number(value)} | {_number(odd.figures[row])} |"
        for row, value in usual.figures.items()
        if row in odd.figures
    ]
    return "\n".join(lines)


def real_envoys(envoys: int, services: int, run: Run) -> str:
    """A section on real Envoys."""
    lines = [f"## {envoys} real Envoys × {services} services", "", "| | |", "|---|---:|"]
    lines += [f"| {row} | {_number(value)} |" for row, value in run.figures.items()]
    return "\n".join(lines)


def page(
    everything: Sequence[Measured],
    services: int,
    command: str,
    measured_commit: str,
    further: Sequence[str],
    remarks: str,
) -> str:
    """The whole page of the documentation."""
    parts = [
        "# Benchmarks",
        "",
        "How much the control plane costs and how fast it is, measured from outside: the control plane as a user",
        "starts it (own process, default store, TLS, tokens), proxies that speak as Envoy does, one connection each,",
        "and CPU and memory as the kernel counts them. `tests/bench/` is what measures; the proxies share the machine",
        "with the control plane, so trust its CPU-seconds more than the times, which contain the work of the proxies.",
        "",
        f"- command: `{command}`",
        f"- machine: {machine()}",
        f"- commit: {measured_commit}",
        f"- mesh: {services} services, every proxy offers one and consumes all; builtin mTLS STRICT, an allow-all",
        "  MeshTrafficPermission and the policies a new mesh has",
        "- budgets are stated for 1000 and 2000 proxies; a budget is kept when the median keeps it",
    ]
    for one in everything:
        parts += ["", f"## {one.proxies} proxies, {one.dialect}, {len(one.runs)} runs", "", table(one)]
    for section in (*further, *([remarks] if remarks else [])):
        parts += ["", section]
    parts += [
        "",
        "## What the rows mean",
        "",
        "- *endpoint change*: a Dataplane without a proxy gets another address; time from the answer of the REST API",
        "  to the receipt by the last proxy, of 20 changes; CPU of the series per change, insights included.",
        "- *mesh-wide policy*: a MeshTimeout for all, until the last message that follows from it.",
        "- *policy for one service*: the same for the proxies of one service; the others must be sent nothing.",
        "- *all connect at once*: no proxy is known before; each brings its Dataplane and is configured when it has",
        "  clusters, endpoints, secrets and listeners; CPU until the last message, a GET every 50 ms included.",
        "- *restart under all streams*: the control plane is stopped and started while all proxies are connected; what",
        "  it sends although the proxies have it already. Proxies come back as Envoy does, after a random pause.",
    ]
    return "\n".join(parts) + "\n"


def machine() -> str:
    """What it was measured on."""
    info = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    model = next((line.partition(":")[2].strip() for line in info.splitlines() if line.startswith("model name")), "")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    model = model or platform.machine()
    return f"{os.cpu_count()} × {model}, {memory:.0f} GiB, {platform.system()}, Python {platform.python_version()}"


def commit() -> str:
    """Of the tree that was measured."""
    git = shutil.which("git")
    if git is None:
        return "unknown"

    def ask(*arguments: str) -> str:
        done = subprocess.run([git, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
        return done.stdout.strip()

    changed = " with local changes" if ask("status", "--porcelain", "--untracked-files=no", "--", "src") else ""
    return (ask("rev-parse", "--short=12", "HEAD") or "unknown") + changed
