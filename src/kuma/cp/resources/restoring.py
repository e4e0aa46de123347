"""Bringing records back by the rules of every other write: valid, permitted, in one batch, or not at all.

Each record is judged in the world as it will be: a Mesh finds the secrets that come back with it, a Dataplane the Mesh.
What was valid then and is not now is refused, with every fault of every resource. A mesh that comes back gets nothing
that new meshes get, but a key for the tokens of its proxies where none was left: it could not be used without.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from kuma.core.errors import InvalidResource, Violation
from kuma.core.model.codec import encode_spec
from kuma.core.model.kinds import BY_NAME, Kind
from kuma.core.model.resource import Key, Resource, definition
from kuma.cp.resources import labels
from kuma.cp.resources.aside import LARGE_TEXT, aside
from kuma.cp.resources.contract import PLAIN, Setting, Wanted
from kuma.cp.resources.history import Step, changes_of
from kuma.cp.resources.stored import read, readable
from kuma.cp.resources.table import RULES
from kuma.cp.store.planning import not_found, title
from kuma.cp.store.port import Delete, Put, Reader, Record
from kuma.cp.tokens.keys import new_signing_key
from kuma.cp.tokens.kinds import TokenKind

ROLLBACK: Final = "Could not roll back"
_NEW_KEY: Final = "there is no key any more that signs the tokens of its proxies, so it gets a new one"


@dataclass(frozen=True, slots=True)
class Restoration:
    """The batch that brings records back, and sentences for the user."""

    batch: tuple[Put | Delete, ...]
    warnings: tuple[str, ...]


class World:
    """The records as they will be once ``changed`` is written."""

    def __init__(self, store: Reader, changed: Mapping[Key, Record | None]) -> None:
        self._store = store
        self._changed = changed
        self._known = dict(changed)

    async def find(self, key: Key) -> Record | None:
        if key not in self._known:
            self._known[key] = await self._store.find(key)
        return self._known[key]

    async def get(self, key: Key) -> Record:
        record = await self.find(key)
        if record is None:
            raise not_found(key)
        return record

    async def list(self, kind: str, mesh: str | None = None) -> tuple[Record, ...]:
        stored = {record.key: record for record in await self._store.list(kind, mesh)}
        meant = {key: new for key, new in self._changed.items() if key.kind == kind and mesh in {None, key.mesh}}
        found = {key: record for key, record in {**stored, **meant}.items() if record is not None}
        return tuple(found[key] for key in sorted(found))


async def restoration(
    setting: Setting, steps: Sequence[Step], *, allowed: Callable[[Kind], None], now: datetime
) -> Restoration:
    """
    The writes that make ``before`` of each step ``after``.

    Raises:
        AccessDenied: by ``allowed``, which is asked for every kind.
        InvalidResource: some of the records may not be written, or not be removed; the text says which and why.
    """
    for kind in sorted({step.key.kind for step in steps}):
        allowed(BY_NAME[kind])
    future = replace(setting, store=World(setting.store, changes_of(steps)))
    puts: list[Put] = []
    companions: list[Put] = []
    deletes: list[Delete] = []
    warnings: list[str] = []
    faults: list[Violation] = []
    for step in sorted(steps, key=_place):
        await asyncio.sleep(0)  # a long plan must not hold the event loop
        try:
            if step.after is None:
                await _check_delete(future, step.key)
                deletes.append(Delete(step.key, expected_version=step.before.version if step.before else None))
            else:
                put, beside, told = await _put(future, step, step.after, now)
                puts.append(put)
                companions += beside
                warnings += told
        except InvalidResource as error:
            faults += [replace(fault, field=_named(step.key, fault.field)) for fault in _faults(error)]
    if faults:
        raise InvalidResource(faults, title=ROLLBACK, detail="Nothing was changed")
    # Owners come first and go last.
    return Restoration((*puts, *companions, *reversed(deletes)), tuple(warnings))


def _place(step: Step) -> tuple[int, Key]:
    kind = step.key.kind
    return 0 if kind == "Mesh" else 1 if BY_NAME[kind].admin_only else 2, step.key


async def _check_delete(setting: Setting, key: Key) -> None:
    await RULES.get(key.kind, PLAIN).check_delete(setting, key.mesh, key.name)


async def _put(setting: Setting, step: Step, then: Record, now: datetime) -> tuple[Put, Iterable[Put], Iterable[str]]:
    kind = BY_NAME[step.key.kind]
    home = await setting.store.find(Key("Mesh", "", then.key.mesh)) if then.key.mesh else None
    if then.key.mesh and home is None:
        reason = (
            f'Mesh "{then.key.mesh}" does not exist; bring it back with all that was in it: leave out type and name'
        )
        raise InvalidResource.of("mesh", reason)
    resource = await aside(len(then.spec) > LARGE_TEXT, _valid, setting, kind, step.before, then)
    # The record is given also where there is none now: this is no beginning.
    wanted = Wanted(resource, step.before or then, readable(step.before), home, now)
    prepared = await RULES.get(kind.name, PLAIN).prepare(setting, wanted)
    put = Put(
        step.key,
        then.spec if prepared.spec == resource.spec else encode_spec(prepared.spec),
        then.labels,
        status=step.before.status if step.before else None,
        owner=then.owner,
        expected_version=step.before.version if step.before else 0,
    )
    companions, warnings = prepared.companions, prepared.warnings
    if kind.name == "Mesh" and step.before is None and not await _has_signing_key(setting.store, step.key.name):
        companions = (*companions, await new_signing_key(TokenKind.DATAPLANE, step.key.name))
        warnings = (*warnings, _NEW_KEY)
    # What is odd about the resource itself was told when it was written.
    return put, companions, [_named(step.key, text) for text in warnings]


async def _has_signing_key(store: Reader, mesh: str) -> bool:
    kind = TokenKind.DATAPLANE
    secrets = await store.list(kind.secret_kind, mesh)
    return any(kind.serial_of(secret.key.name, mesh) is not None for secret in secrets)


def _valid(setting: Setting, kind: Kind, before: Record | None, then: Record) -> Resource[Any]:
    resource = read(then)
    faults = [*_label_faults(setting, kind, before, then), *definition(kind.name).validate(resource)]
    if faults:
        raise InvalidResource(faults)
    return resource


def _label_faults(setting: Setting, kind: Kind, before: Record | None, then: Record) -> Iterator[Violation]:
    yield from labels.validate(kind, then.key.mesh, setting.zone, then.labels)
    if before is not None:
        yield from labels.changed(before.labels, then.labels)


def _faults(error: InvalidResource) -> Sequence[Violation]:
    return error.violations or (Violation("", error.detail),)


def _named(key: Key, text: str) -> str:
    return f"{title(key)}: {text}" if text else title(key)
