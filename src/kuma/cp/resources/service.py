"""Reading and writing resources: the one way in, used by the REST API and by proxies that bring their Dataplane.

A write follows spec/api-server.md §4 step by step, because the order decides which error a caller sees. It is a full
replacement; what a user wrote and everything the control plane adds become durable in one batch, or nothing does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from kuma.core.errors import Conflict, InvalidResource, MethodNotAllowed, NotFound, Violation
from kuma.core.model import names
from kuma.core.model.codec import encode_spec
from kuma.core.model.document import Document, differs_from_url, dropped, read
from kuma.core.model.kinds import Kind, Scope
from kuma.core.model.resource import Key, Meta, Resource, definition
from kuma.cp.resources import labels
from kuma.cp.resources.aside import LARGE_TEXT, aside, is_large
from kuma.cp.resources.contract import PLAIN, KindRules, Setting, Wanted
from kuma.cp.resources.history import Step
from kuma.cp.resources.restoring import restoration
from kuma.cp.resources.stored import read as read_stored
from kuma.cp.resources.stored import readable
from kuma.cp.resources.table import RULES
from kuma.cp.store.planning import title
from kuma.cp.store.port import Author, Change, Delete, Put, Record, Store

PROCESS: Final = "Could not process a resource"
CREATE: Final = "Failed to create a resource"
UPDATE: Final = "Failed to update a resource"
RELABEL: Final = "Could not update a resource"
DELETE: Final = "Could not delete a resource"
MESH: Final = "Failed to retrieve Mesh"

_ATTEMPTS: Final = 5
"""How often a write is tried when only the control plane wrote in between."""


@dataclass(frozen=True, slots=True)
class Written:
    """
    The outcome of a write. ``warnings`` are sentences for the user; ``revision`` is one that contains it.

    ``changed`` is False where all was stored already, and nothing was written.
    """

    created: bool
    warnings: tuple[str, ...]
    revision: int
    changed: bool


@dataclass(frozen=True, slots=True)
class Restored:
    """The outcome of a rollback. ``revision`` is one that contains it, 0 where nothing was written."""

    warnings: tuple[str, ...]
    revision: int


class Resources:
    """
    Stored resources, with the rules of writing them. Every method may raise ``StoreUnavailable``.

    ``written`` is told of every change before its writer is: what a caller was told is done holds for its next request.
    ``zone`` is the zone this control plane is, ``environment`` what ``kuma.io/env`` says. ``unsafe_delete`` lets a
    Mesh be deleted while proxies are in it. ``admin_ports``: see ``own_api``.
    """

    def __init__(
        self,
        store: Store,
        clock: Callable[[], datetime],
        written: Callable[[tuple[Change, ...]], None] = lambda _: None,
        *,
        zone: str = "default",
        environment: str = "universal",
        unsafe_delete: bool = False,
        admin_ports: frozenset[int] = frozenset(),
    ) -> None:
        self._store = store
        self._clock = clock
        self._written = written
        self._setting = Setting(store, zone, environment, unsafe_delete, admin_ports)

    async def get(self, kind: Kind, mesh: str, name: str) -> Resource[Any]:
        """One resource; ``mesh`` is empty for global kinds. Raises ``NotFound``, titled if it is the mesh."""
        key = _key(kind, mesh, name)
        record = await self._store.find(key)
        if record is None:
            await self._mesh(kind, mesh)
            raise _missing(key)
        return read_stored(record)

    async def list(self, kind: Kind, mesh: str | None = None) -> tuple[Resource[Any], ...]:
        """All of a kind, of one mesh when given, by mesh then name."""
        return tuple(map(read_stored, await self._store.list(kind.name, mesh)))

    async def revision(self) -> int:
        """The newest committed revision; equal revisions mean equal contents."""
        return await self._store.revision()

    async def put(
        self,
        kind: Kind,
        mesh: str,
        name: str,
        document: Mapping[str, Any],
        *,
        author: Author,
        allowed: Callable[[Kind], None],
        warn: bool = True,
    ) -> Written:
        """
        Create or replace one resource by what a user wrote; without ``warn`` nobody reads warnings, and there are none.

        Raises:
            NotFound: the mesh does not exist.
            BadRequest, InvalidResource: the document, or what it asks for; all faults of one step are told at once.
            AccessDenied: by ``allowed``, which is asked once the document is known to be well formed.
            MethodNotAllowed: the kind is written by the control plane only.
            Conflict: someone else wrote the resource at the same time.
        """
        _require_writable(kind)
        home = await self._mesh(kind, mesh)
        key = _key(kind, mesh, name)
        large = is_large(document)
        parsed = await aside(large, _parse, key, kind, document)
        record = await self._store.find(key)
        _check(_meta_faults(kind, mesh, name, self._setting.zone, parsed), PROCESS)
        allowed(kind)
        rules = RULES.get(kind.name, PLAIN)
        attempt = 1
        while True:
            was_large = record is not None and len(record.spec) > LARGE_TEXT
            stored = await aside(was_large, readable, record)
            draft = await aside(large, self._draft, kind, key, parsed, rules, record)
            wanted = Wanted(draft, record, stored, home, self._clock())
            try:
                return await self._write(rules, parsed, wanted, author, large=large, warn=warn)
            except Conflict:
                # The control plane writes too (health of proxies, roots): that is no reason to bother the user.
                home = await self._mesh(kind, mesh)
                before, record = record, await self._store.find(key)
                if attempt == _ATTEMPTS or not await aside(was_large, _same_to_users, rules, before, record):
                    raise
                attempt += 1

    async def delete(
        self, kind: Kind, mesh: str, name: str, *, author: Author, allowed: Callable[[Kind], None]
    ) -> None:
        """
        Remove one resource and all it owns.

        Raises:
            NotFound: it does not exist, or its mesh does not (then titled).
            AccessDenied: by ``allowed``.
            InvalidResource: something still needs it; the text says what.
            MethodNotAllowed: the kind is written by the control plane only.
        """
        _require_writable(kind)
        await self._mesh(kind, mesh)
        key = _key(kind, mesh, name)
        if kind.admin_only:
            allowed(kind)  # before anything tells whether it exists
        if await self._store.find(key) is None:
            raise _missing(key)
        allowed(kind)
        rules = RULES.get(kind.name, PLAIN)
        try:
            await rules.check_delete(self._setting, key.mesh, name)
        except InvalidResource as error:
            raise InvalidResource(error.violations, title=DELETE, detail=error.detail) from error
        self._written(await self._store.write([Delete(key)], author=author, now=self._clock()))

    async def restore(
        self, steps: Sequence[Step], *, author: Author, allowed: Callable[[Kind], None], dry_run: bool
    ) -> Restored:
        """
        Bring records back to what they were, all of them or none; with ``dry_run`` only see whether it may be.

        Raises:
            AccessDenied, InvalidResource: as ``restoration``.
            Conflict: someone else wrote one of them at the same time.
        """
        now = self._clock()
        wanted = await restoration(self._setting, steps, allowed=allowed, now=now)
        if dry_run or not steps:
            return Restored(wanted.warnings, 0)
        changes = await self._store.write(wanted.batch, author=author, now=now)
        self._written(changes)
        return Restored(wanted.warnings, max((change.revision for change in changes), default=0))

    async def _mesh(self, kind: Kind, mesh: str) -> Record | None:
        """The Mesh a resource lives in, None for global kinds."""
        if kind.scope is Scope.GLOBAL:
            return None
        record = await self._store.find(Key("Mesh", "", mesh))
        if record is None:
            raise NotFound(f'Mesh "{mesh}" does not exist', title=MESH)
        return record

    def _draft(self, kind: Kind, key: Key, parsed: Document, rules: KindRules, record: Record | None) -> Resource[Any]:
        """The resource with all its labels."""
        computed = labels.compute(kind, key.mesh, self._setting.zone, self._setting.environment, parsed.labels)
        computed |= rules.labels(parsed.spec)
        if record is not None:
            _check(labels.changed(record.labels, computed), RELABEL)
        return Resource(Meta(key, computed), definition(kind.name).complete(parsed.spec))

    async def _write(
        self, rules: KindRules, parsed: Document, wanted: Wanted, author: Author, *, large: bool, warn: bool
    ) -> Written:
        record, draft = wanted.record, wanted.resource
        operation = CREATE if record is None else UPDATE
        try:
            prepared = await rules.prepare(self._setting, wanted)
        except InvalidResource as error:
            raise InvalidResource(error.violations, title=operation, detail=error.detail) from error
        key = draft.meta.key
        put = Put(
            key,
            await aside(large, encode_spec, prepared.spec),
            draft.meta.labels,
            status=record.status if record else None,
            owner=record.owner if record else Key("Mesh", "", key.mesh) if key.mesh else None,
            expected_version=record.version if record else 0,
        )
        revision = record.revision if record is not None else 0
        changed = bool(prepared.companions) or not _is_stored(put, record)
        if changed:
            changes = await self._store.write([put, *prepared.companions], author=author, now=wanted.now)
            self._written(changes)
            revision = max((change.revision for change in changes), default=revision)
        final = replace(draft, spec=prepared.spec)
        if not warn:
            return Written(record is None, (), revision, changed)
        about = await aside(large, lambda: (tuple(definition(key.kind).warnings(final)), tuple(dropped(parsed))))
        return Written(record is None, (*about[0], *prepared.warnings, *about[1]), revision, changed)


def _parse(key: Key, kind: Kind, document: Mapping[str, Any]) -> Document:
    try:
        parsed = read(kind, document)
    except InvalidResource as error:
        raise InvalidResource(error.violations, title=PROCESS) from error
    resource = Resource(Meta(key, parsed.labels), parsed.spec)
    _check(definition(kind.name).validate(resource), PROCESS)
    return parsed


def _meta_faults(kind: Kind, mesh: str, name: str, zone: str, parsed: Document) -> Iterator[Violation]:
    yield from differs_from_url(kind, mesh, name, parsed)
    yield from labels.validate(kind, mesh, zone, parsed.labels)
    yield from names.resource_name(name)


def _check(found: Iterator[Violation], operation: str) -> None:
    violations: Sequence[Violation] = tuple(found)
    if violations:
        raise InvalidResource(violations, title=operation)


def _require_writable(kind: Kind) -> None:
    if kind.read_only:
        raise MethodNotAllowed(f"{kind.name} is written by the control plane; it can only be read")


def _same_to_users(rules: KindRules, before: Record | None, after: Record | None) -> bool:
    """Whether nothing that users write changed between two readings."""
    if before is None or after is None:
        return before is after
    old, new = readable(before), readable(after)
    if old is None or new is None:
        return before.version == after.version
    return before.labels == after.labels and rules.users_part(old.spec) == rules.users_part(new.spec)


def _is_stored(put: Put, record: Record | None) -> bool:
    return record is not None and put.spec == record.spec and put.labels == record.labels


def _key(kind: Kind, mesh: str, name: str) -> Key:
    return Key(kind.name, mesh if kind.scope is Scope.MESH else "", name)


def _missing(key: Key) -> NotFound:
    return NotFound(f"{title(key)} does not exist")
