"""``python -m tests.bench.run``: measure, print the table, write it into the documentation."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from tests.bench import commands, envoys, shape
from tests.bench.report import ANY, Measured, commit, growth, page, real_envoys, table, worst_case
from tests.bench.scenario import Run, Size, run
from tests.e2e.harness.processes import ROOT

PAGE: Final = ROOT / "docs" / "benchmarks.md"
REAL: Final = ((5, 1000), (40, 50))
"""Numbers of real Envoys, and of services in their mesh."""
_COMMANDS: Final = 10
_NEWCOMERS: Final = 3


def main(arguments: Sequence[str]) -> int:
    """The exit code: 1 when something is wrong that has nothing to do with speed."""
    given = _parser().parse_args(arguments)
    measured_commit = commit()  # now: the tree may move on while this runs
    everything: list[Measured] = []
    faults: list[str] = []
    for proxies in given.proxies:
        for dialect in given.dialect:
            size = Size(proxies, given.services, delta=dialect == "delta")
            if given.check:
                size = replace(size, endpoint_changes=2, policy_changes=1, idle_seconds=0, within=60)
            runs: list[Run] = []
            for number in range(1, given.runs + 1):
                _say(f"{proxies} proxies, {dialect}: run {number} of {given.runs}")
                with tempfile.TemporaryDirectory(prefix="kuma-bench-") as directory:
                    runs.append(run(size, Path(directory)))
                faults += [f"{proxies} proxies, {dialect}: {fault}" for fault in runs[-1].faults]
            everything.append(Measured(proxies, dialect, [one.figures for one in runs]))
            sys.stdout.write(f"\n## {proxies} proxies, {dialect}\n\n{table(everything[-1])}\n\n")
            sys.stdout.flush()
    further: list[str] = []
    if not given.check and not given.no_further:
        further, more = _further(given)
        faults += more
    for fault in faults:
        _say(f"wrong: {fault}")
    if not given.check and not given.no_page:
        if faults:
            _say(f"{PAGE} is left as it was")
        else:
            PAGE.parent.mkdir(exist_ok=True)
            command = " ".join(("python -m tests.bench.run", *arguments))
            PAGE.write_text(page(everything, given.services, command, measured_commit, further, _remarks()))
    return 1 if faults else 0


def _further(given: argparse.Namespace) -> tuple[list[str], list[str]]:
    """Sections on growth, the worst case and real Envoys, and what was wrong in them."""
    faults: list[str] = []
    sections: list[str] = []

    def note(where: str, *runs: Run) -> None:
        faults.extend(f"{where}: {fault}" for one in runs for fault in one.faults)

    def show(section: str) -> None:
        sections.append(section)
        sys.stdout.write(f"\n{section}\n")
        sys.stdout.flush()

    for title, runs in (
        ("proxy", shape.by_proxies(delta=True, say=_say)),
        ("service", shape.by_services(delta=True, say=_say)),
    ):
        note(f"growth by {title}", *(one for _, one in runs))
        show(growth(title, runs))
    _say("commands")
    with tempfile.TemporaryDirectory(prefix="kuma-bench-") as directory:
        costs = commands.run(_COMMANDS, Path(directory))
    for figures in costs[:_NEWCOMERS]:
        with tempfile.TemporaryDirectory(prefix="kuma-bench-") as directory:
            figures.update(commands.newcomer(Path(directory)))
    title = f"## Commands, {_COMMANDS} times each, and {_NEWCOMERS} times the demo from a fresh checkout"
    show(f"{title}\n\n{table(Measured(ANY, 'delta', costs))}")
    usual, odd = shape.nothing_shared(given.odd, delta=True, say=_say)
    note("worst case", usual, odd)
    show(worst_case(given.odd, usual, odd))
    for envoys_, services in REAL:
        _say(f"{envoys_} Envoys × {services} services")
        with tempfile.TemporaryDirectory(prefix="kuma-bench-") as directory:
            real = envoys.run(envoys_, services, Path(directory))
        note(f"{envoys_} Envoys", real)
        show(real_envoys(envoys_, services, real))
    return sections, faults


def _remarks() -> str:
    """What a person wrote about the figures: kept when the page is written anew."""
    begin = "## Misses and next steps"
    text = PAGE.read_text() if PAGE.exists() else ""
    return text[text.index(begin) :].partition("\n## What the rows mean")[0].rstrip() if begin in text else ""


def _say(line: str) -> None:
    sys.stderr.write(line + "\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.run", description=__doc__)
    parser.add_argument("--proxies", type=int, nargs="+", default=[200, 1000, 2000], help="sizes of the fleet")
    parser.add_argument("--services", type=int, default=50, help="services in the mesh")
    parser.add_argument("--dialect", nargs="+", choices=("delta", "sotw"), default=["delta", "sotw"])
    parser.add_argument("--runs", type=int, default=5, help="how often each is measured")
    parser.add_argument("--odd", type=int, default=500, help="proxies of the worst case")
    parser.add_argument("--no-further", action="store_true", help="only the table: no growth, worst case, real Envoys")
    parser.add_argument("--check", action="store_true", help="short: no idle time, few changes, no page written")
    parser.add_argument("--no-page", action="store_true", help="print only")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
