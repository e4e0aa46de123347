"""
Whatever is legal, Envoy accepts; and nothing but what is there decides what a proxy gets.

``RANDOM_SETS`` is how many sets are looked at (500), ``RANDOM_SETS_SEED`` which ones; a failure says how to see it
again. With the Hypothesis profile ``ci`` they are always the same.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from hashlib import sha256
from pathlib import Path
from random import Random, SystemRandom
from time import monotonic
from typing import Final

import pytest
from hypothesis import settings

from kuma.core.errors import InvalidResource
from kuma.core.model.resource import definition
from kuma.core.snapshot.explain import explained
from kuma.core.snapshot.mesh import Changes, MeshSettings, MeshSnapshot
from kuma.core.snapshot.plan import Plan, Planner
from kuma.core.xds.generate import Generator
from kuma.core.xds.resources import Desired
from tests.policies.acceptance import refusal
from tests.policies.golden import Illegal
from tests.policies.random_sets import MESH, LegalSet, content, drawn, legal_set, turned
from tests.policies.smallest import smallest
from tests.policies.writer import Document

SETS: Final = int(os.environ.get("RANDOM_SETS", "500"))
_TOGETHER: Final = 50
"""Sets whose configurations are shown to Envoy at once."""
PARTS: Final = -(-SETS // _TOGETHER)
_HERE: Final = Path(__file__)
_ROOT: Final = _HERE.parents[2]
_ALWAYS_THE_SAME: Final = settings.default is not None and settings.default.derandomize
_SHRINKING: Final = 60
"""Seconds for making a refused set small enough to be read."""


@cache
def base() -> int:
    """What all sets of a run are made of."""
    given = os.environ.get("RANDOM_SETS_SEED", "")
    return int(given) if given else 0 if _ALWAYS_THE_SAME else SystemRandom().randrange(10**12)


@cache
def sets_of(part: int) -> list[LegalSet]:
    """The sets of one part of a run."""
    return drawn(min(_TOGETHER, SETS - part * _TOGETHER), base() + part)


def again(part: int) -> str:
    """How to see a failure again."""
    return (
        f"see it again: RANDOM_SETS={SETS} RANDOM_SETS_SEED={base()} pytest {_HERE.relative_to(_ROOT)} -k part{part:04}"
    )


in_parts = pytest.mark.parametrize(
    # One process looks at all sides of a set, so that it is drawn once.
    "part",
    [pytest.param(part, marks=pytest.mark.xdist_group(f"sets-{part}"), id=f"part{part:04}") for part in range(PARTS)],
)


@in_parts
@pytest.mark.timeout(240)
def test_envoy_accepts_every_legal_set(part, tmp_path):
    """Every configuration of every proxy, in one run of Envoy; one that is refused is shown as a golden case."""
    made = [
        (one, proxy, desired) for one in sets_of(part) for proxy, desired in one.desired(workdir=str(tmp_path)).items()
    ]

    refused = first_refused(tmp_path, made)

    assert refused is None, shown(*refused, tmp_path, part)


@in_parts
@pytest.mark.timeout(240)
def test_the_same_mesh_gives_the_same_bytes(part):
    """In whatever order things are written or came, over another mesh or at once, and whatever was planned before."""
    random, planner = Random(part), Planner(Generator())
    mesh, plans, before = MeshSnapshot(MeshSettings(MESH)), {}, None
    for one in sets_of(part):
        expected = as_bytes(one.desired())

        order = [*range(len(one.documents))]
        random.shuffle(order)
        mesh, plans = moved(mesh, before, one, plans, planner, random)

        assert as_bytes(turned(one).desired(order)) == expected, f"{one.case('…')}\n{again(part)}"
        assert as_bytes(plans) == expected, f"{one.case('…')}\n{again(part)}"
        before = one


def test_other_processes_give_the_same_bytes():
    """Nothing depends on the order of sets and hashes, which Python makes up anew for every process."""
    numbers = [one.number for one in sets_of(0)]
    program = (
        "import json, sys; from tests.policies.test_random_sets import digest; print(digest(json.load(sys.stdin)))"
    )

    printed = [
        subprocess.run(
            [sys.executable, "-c", program],
            input=json.dumps(numbers),
            env={**os.environ, "PYTHONHASHSEED": salt},
            cwd=_ROOT,
            capture_output=True,
            text=True,
            timeout=50,
            check=True,
        ).stdout.strip()
        for salt in ("1", "2")
    ]

    assert printed == [digest(numbers)] * 2, again(0)


@in_parts
@pytest.mark.timeout(240)
def test_what_a_set_does_can_be_told(part):
    """Warnings for whoever writes it, and the account of what holds for each proxy, never fail."""
    for one in sets_of(part):
        for resource in one.resources():
            assert all(definition(resource.kind.name).warnings(resource))
        mesh, planner = MeshSnapshot(MeshSettings(MESH)).apply(one.changes(), 1), Planner(Generator())
        for proxy in mesh.proxies.values():
            selected = planner.plan(mesh, proxy, one.traits()).selected
            for rules in explained(proxy.resource, selected):
                told = [rules.whole, *(rule.effective for rule in rules.to)]
                assert all(effective is None or effective.origins for effective in told)


def digest(numbers: Sequence[int]) -> str:
    """What all proxies of some sets get, in short."""
    whole = sha256()
    for number in numbers:
        for proxy, resources in as_bytes(legal_set(number).desired()).items():
            for (url, name), body in sorted(resources.items()):
                whole.update(repr((proxy, url, name, body)).encode())
    return whole.hexdigest()


def as_bytes(made: Mapping[str, Desired | Plan]) -> dict[str, dict[tuple[str, str], bytes]]:
    """What every proxy gets, by its name."""
    return {proxy: content(one.desired() if isinstance(one, Plan) else one) for proxy, one in sorted(made.items())}


def moved(
    mesh: MeshSnapshot,
    before: LegalSet | None,
    after: LegalSet,
    plans: Mapping[str, Plan],
    planner: Planner,
    random: Random,
) -> tuple[MeshSnapshot, dict[str, Plan]]:
    """A mesh that becomes another by single changes, with plans made in between."""
    steps = [*steps_between(before, after, random)]
    planned = dict(plans)
    for number, step in enumerate(steps):
        mesh = mesh.apply(step, mesh.revision + 1)
        if number == len(steps) - 1 or random.random() < 0.3:
            planned = {
                name: planner.plan(mesh, proxy, after.traits(), planned.get(name))
                for name, proxy in mesh.proxies.items()
            }
    return mesh, planned


def steps_between(before: LegalSet | None, after: LegalSet, random: Random) -> Iterator[Changes]:
    """One change for each thing that is other than before, and some for things that are the same."""
    old = Changes() if before is None else before.changes()
    new = after.changes()
    things = [("settings", ""), *(("proxy", name) for name in {**old.proxies, **new.proxies})]
    current = {kind: list(policies) for kind, policies in old.policies.items()}
    policies = [one for some in (*old.policies.values(), *new.policies.values()) for one in some]
    things += [("policy", one.meta.key) for one in policies]
    random.shuffle(things)
    wanted = {one.meta.key: one for some in new.policies.values() for one in some}
    for what, name in things:
        if what == "settings":
            yield Changes(settings=new.settings)
        elif what == "proxy":
            proxy = new.proxies.get(name)
            # What was seen of a proxy goes with it.
            yield Changes({name: proxy}, issued={name: False}, joining={name: False})
            yield (
                Changes(issued={name: name in new.issued}, joining={name: name in new.joining}) if proxy else Changes()
            )
        else:
            others = [one for one in current.get(name.kind, []) if one.meta.key != name]
            current[name.kind] = [*others, wanted[name]] if name in wanted else others
            yield Changes(policies={name.kind: tuple(current[name.kind])})


Made = tuple[LegalSet, str, Desired]


def first_refused(folder: Path, made: Sequence[Made]) -> tuple[LegalSet, str, str] | None:
    """The first configuration that Envoy refuses, of which set and proxy, with its words."""
    said = refusal(folder, [desired for *_, desired in made])
    if not said:
        return None
    while len(made) > 1:
        half = made[: len(made) // 2]
        found = refusal(folder, [desired for *_, desired in half])
        made, said = (half, found) if found else (made[len(half) :], said)
    one, proxy, desired = made[0]
    return one, proxy, refusal(folder, [desired]) or said


def shown(one: LegalSet, proxy: str, said: str, folder: Path, part: int) -> str:
    """A refused set as small as it can be, as a golden case."""
    deadline = monotonic() + _SHRINKING

    def fails(documents: Sequence[Document]) -> bool:
        try:
            desired = replace(one, documents=tuple(documents)).desired(workdir=str(folder)).get(proxy)
        except (Illegal, InvalidResource):
            return False
        return desired is not None and bool(refusal(folder, [desired]))

    documents = smallest(one.documents, fails, lambda: monotonic() > deadline)
    case = replace(one, documents=tuple(documents)).case(proxy)
    return f"Envoy refuses what {proxy} gets: {said.strip()[-600:]}\n\n{case}\n{again(part)}"
