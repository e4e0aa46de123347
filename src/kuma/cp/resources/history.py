"""What records were at an earlier revision, and what it takes to have them so again.

Nothing is guessed: a state that the change log cannot tell any more is refused. A plan takes back what people did; what
the control plane and proxies wrote is theirs, and secrets stay as they are unless they are named, so that no revoked
token and no old key comes back by accident. Those of a mesh that comes back are what they were when it was deleted,
for the same reason. What a plan leaves alone, it says.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from kuma.core.errors import BadRequest, NotFound
from kuma.core.model.kinds import BY_NAME
from kuma.core.model.resource import Key
from kuma.cp.resources.contract import PLAIN
from kuma.cp.resources.stored import readable
from kuma.cp.resources.table import RULES
from kuma.cp.store.planning import title
from kuma.cp.store.port import ANYWHERE, Change, Operation, Place, Record, Sought, Span, Spans, Store

MOST_RECORDS: Final = 2000
"""How many records one comparison may be about."""

_FEW: Final = 20
"""From so many on, reading all of a kind is cheaper than each by itself."""

_NEWEST: Final = 2**63 - 1
_OURS: Final = "the control plane itself writes it"
_UNNAMED: Final = "a secret comes back only when it is named, or with the mesh that it was deleted with"
_GONE_BEFORE: Final = "it was deleted before its mesh was"
_OUR_MAKING: Final = "the control plane itself made it"
_PROXY_WRITES: Final = "its proxy writes it"
_WITH_PROXY: Final = "the control plane removed it because its proxy was gone"


@dataclass(frozen=True, slots=True)
class Step:
    """
    One record that is not the same at two moments; None where there is none.

    ``as_of`` is the revision right after which it was ``after``, where that is another one than was asked for; else 0.
    """

    key: Key
    before: Record | None
    after: Record | None
    as_of: int = 0


@dataclass(frozen=True, slots=True)
class Left:
    """A record that a plan leaves as it is, although it was different then."""

    key: Key
    reason: str


@dataclass(frozen=True, slots=True)
class Plan:
    """How to get from now (``before``) to the state right after ``revision`` (``after``)."""

    revision: int
    steps: tuple[Step, ...]
    left: tuple[Left, ...]

    @property
    def fingerprint(self) -> str:
        """Equal for equal plans: whoever saw one can ask for exactly that one. Tells nothing of the contents."""
        told = [
            [step.key.kind, step.key.mesh, step.key.name, _revision(step.before), _revision(step.after)]
            for step in self.steps
        ]
        return hashlib.sha256(json.dumps([self.revision, told]).encode()).hexdigest()[:32]

    @property
    def notices(self) -> tuple[str, ...]:
        """Sentences about what becomes something else than it was right after the revision."""
        others: dict[str, list[str]] = defaultdict(list)
        for step in self.steps:
            if step.as_of:
                others[step.key.mesh].append(f'"{step.key.name}"')
        return tuple(
            f'secrets of Mesh "{mesh}" come back as they were when it was deleted, not as they were right after '
            f"revision {self.revision}: {', '.join(names)}"
            for mesh, names in others.items()
        )


async def difference(
    store: Store, earlier: int, later: int | None, place: Place, *, people_only: bool
) -> tuple[Step, ...]:
    """
    The records that differ between the states right after two revisions, the present one where ``later`` is None.

    Raises:
        BadRequest: the log cannot tell one of the states, or too many records differ.
    """
    if later is not None and earlier > later:
        forth = await difference(store, later, earlier, place, people_only=people_only)
        return tuple(Step(step.key, step.after, step.before) for step in forth)
    spans = await _spans(store, earlier, later, place, people_only=people_only)
    steps = (Step(span.first.key, span.first.before, span.last.after) for span in spans.items)
    return tuple(step for step in steps if not _same_text(step.before, step.after))


async def plan_rollback(store: Store, revision: int, place: Place) -> Plan:
    """
    What brings back the state right after a revision: of everything, of a mesh, or of one resource (kind and name).

    Raises:
        BadRequest: the log cannot tell that state, or too many records are concerned.
        NotFound: there is no such resource or mesh, and there was none.
    """
    one = place.kind is not None
    spans = await _spans(store, revision, None, place, people_only=not one)
    if not spans.items:
        await _require_known(store, revision, place)
    concerned = {span.first.key: span for span in spans.items}
    now = await _as_stored(store, concerned)
    fate = _Fate.of(concerned, now)
    if place.kind == "Mesh" and (fate.reborn or fate.going):
        inside = await _spans(store, revision, None, Place(mesh=place.name), people_only=True)
        more = {span.first.key: span for span in inside.items if fate.shared_by(span.first.key)}
        concerned = {**more, **concerned}
        now |= await _as_stored(store, more)
    steps: list[Step] = []
    left: list[Left] = []
    for key, span in concerned.items():
        await asyncio.sleep(0)  # a long plan must not hold the event loop
        asked, then = span.first.before, fate.then(span)
        if _same_to_users(key, now[key], then):
            if then is not asked:
                left.append(Left(key, _GONE_BEFORE))
            continue
        reason = await _why_left(store, span, now[key], then, fate, named=one)
        if reason:
            left.append(Left(key, reason))
        else:
            steps.append(Step(key, now[key], then, 0 if _same_text(then, asked) else span.last.revision - 1))
    return Plan(revision, tuple(steps), tuple(left))


@dataclass(frozen=True, slots=True)
class _Fate:
    """
    Meshes that a plan makes anew and meshes that it removes: their secrets share their fate.

    ``reborn`` has the change with which each of them ended.
    """

    reborn: Mapping[str, Change]
    going: frozenset[str]

    @classmethod
    def of(cls, concerned: Mapping[Key, Span], now: Mapping[Key, Record | None]) -> _Fate:
        meshes = {key.name: (span, now[key]) for key, span in concerned.items() if key.kind == "Mesh"}
        return cls(
            {name: span.last for name, (span, current) in meshes.items() if span.first.before and not current},
            frozenset(name for name, (span, current) in meshes.items() if current and _came_from_person(span.first)),
        )

    def shared_by(self, key: Key) -> bool:
        """Whether a record must come or go where its mesh alone is asked for."""
        return key.mesh in self.going or (key.mesh in self.reborn and _is_secret(key))

    def then(self, span: Span) -> Record | None:
        """What a record is to be again: a secret of a mesh that comes back, what it was when the mesh was deleted."""
        end = self.reborn.get(span.first.key.mesh)
        if end is None or not _is_secret(span.first.key):
            return span.first.before
        last = span.last
        # All changes of one batch have its time. What was revoked or deleted before that stays so.
        together = last.operation is Operation.DELETE and (last.time, last.author) == (end.time, end.author)
        return last.before if together else None


async def _spans(store: Store, after: int, until: int | None, place: Place, *, people_only: bool) -> Spans:
    end = _NEWEST if until is None else until
    found = await store.spans(after, end, place, people_only=people_only, limit=MOST_RECORDS + 1)
    for revision in (after, until):
        if revision is not None and revision > found.revision:
            raise BadRequest(f"revision {revision} does not exist yet: the newest is {found.revision}")
    if after < found.oldest:
        raise BadRequest(
            f"the change log does not reach back to revision {after} any more: the oldest state that it can tell is "
            f"that right after revision {found.oldest}"
        )
    if len(found.items) > MOST_RECORDS:
        raise BadRequest(
            f"more than {MOST_RECORDS} resources changed since revision {after}: ask for one mesh or one resource"
        )
    return found


async def _as_stored(store: Store, keys: Iterable[Key]) -> dict[Key, Record | None]:
    by_place: dict[tuple[str, str], list[Key]] = defaultdict(list)
    for key in keys:
        by_place[key.kind, key.mesh].append(key)
    found: dict[Key, Record | None] = {}
    for (kind, mesh), wanted in by_place.items():
        if len(wanted) > _FEW:
            everything = {record.key: record for record in await store.list(kind, mesh)}
            found |= {key: everything.get(key) for key in wanted}
        else:
            found |= {key: await store.find(key) for key in wanted}
    return found


async def _require_known(store: Store, revision: int, place: Place) -> None:
    if place == ANYWHERE:
        return
    key = Key(place.kind, place.mesh or "", place.name or "") if place.kind else Key("Mesh", "", place.mesh or "")
    if await store.find(key) is None:
        raise NotFound(title=f"There is no {title(key)}, and there was none right after revision {revision}")


async def _why_left(
    store: Store, span: Span, now: Record | None, then: Record | None, fate: _Fate, *, named: bool
) -> str:
    """Why a record is left alone; empty if it is not."""
    key = span.first.key
    kind = BY_NAME.get(key.kind)
    if kind is None or kind.read_only or kind.derived:
        return _OURS
    if _is_secret(key) and not named and key.mesh not in fate.reborn.keys() | fate.going:
        return _UNNAMED
    if key.kind == "Dataplane":
        if span.first.author.is_proxy or span.last.author.is_proxy or await _came_with_proxy(store, then):
            return _PROXY_WRITES
        if now is None and not span.last.author.is_person:
            return _WITH_PROXY
    return "" if then or _came_from_person(span.first) else _OUR_MAKING


def _came_from_person(first: Change) -> bool:
    return first.before is None and first.author.is_person


async def _came_with_proxy(store: Store, then: Record | None) -> bool:
    if then is None:
        return False
    place = Place(then.key.kind, then.key.mesh, then.key.name)
    last = (await store.entries(Sought(place, until=then.revision), limit=1)).items
    return bool(last) and last[0].author.is_proxy


def changes_of(steps: Iterable[Step]) -> dict[Key, Record | None]:
    """How the records of these steps are to end."""
    return {step.key: step.after for step in steps}


def _is_secret(key: Key) -> bool:
    kind = BY_NAME.get(key.kind)
    return kind is not None and kind.admin_only


def _revision(record: Record | None) -> int:
    return record.revision if record else 0


def _same_text(one: Record | None, other: Record | None) -> bool:
    if one is None or other is None:
        return one is other
    return (one.spec, one.labels) == (other.spec, other.labels)


def _same_to_users(key: Key, one: Record | None, other: Record | None) -> bool:
    """Whether two records differ in nothing that people write."""
    users_part = RULES.get(key.kind, PLAIN).users_part
    if one is None or other is None or users_part is PLAIN.users_part or one.labels != other.labels:
        return _same_text(one, other)
    first, second = readable(one), readable(other)
    if first is None or second is None:
        return _same_text(one, other)
    return bool(users_part(first.spec) == users_part(second.spec))
