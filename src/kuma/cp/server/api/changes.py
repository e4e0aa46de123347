"""The change log and rollback (ours): ``/_changes``, what changed between revisions, ``/_rollback/{revision}``.

For administrators only, who also need the right to write what they bring back. What is spelt wrong is refused: nothing
is answered, or done, as if it had been left out. No answer holds the value of a secret: where one differs, the
revisions that wrote it are told in its place.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from pydantic import StrictBool, ValidationError
from pydantic_core import from_json
from starlette.responses import Response

from kuma.core.errors import BadRequest, Conflict, InvalidResource, NotFound, Violation
from kuma.core.model.kinds import BY_NAME, Scope
from kuma.core.model.resource import Key
from kuma.core.model.spec import LegacySpec, unknown_fields, violations
from kuma.core.model.text import Limits
from kuma.cp.resources.aside import LARGE_TEXT, aside
from kuma.cp.resources.history import Plan, Step, difference, plan_rollback
from kuma.cp.server.api.call import Call, json_reply
from kuma.cp.server.api.envelope import Shown, time_text, universal
from kuma.cp.server.api.paging import Page, part_of, url_with
from kuma.cp.server.api.ports import Backends, Restored
from kuma.cp.server.api.reading import Reading
from kuma.cp.server.api.resources import REVISION_HEADER
from kuma.cp.server.api.revisions import revision_of
from kuma.cp.server.api.routing import Route
from kuma.cp.store.port import Change, Entry, Place, Record, Sought

LIST: Final = "Could not retrieve the change log"
COMPARE: Final = "Could not compare revisions"
ROLLBACK: Final = "Could not roll back"
_NOT_WRITTEN: Final = ("creationTime", "modificationTime", "kri", "status")
"""What an envelope tells beside what people write."""

_FEW_STEPS: Final = 20
_FILTERS: Final = ("mesh", "type", "name", "all")


class RollbackRequest(LegacySpec):
    """
    Body of ``POST /_rollback/{revision}``: one resource (``type``, ``name``, ``mesh``), a ``mesh``, or everything.

    ``plan`` is that of an earlier answer: nothing is done if it would be another one now.
    """

    type: str = ""
    mesh: str = ""
    name: str = ""
    dry_run: StrictBool = False
    plan: str = ""


class ChangeRoutes:
    """See the module."""

    def __init__(self, backends: Backends, reading: Reading) -> None:
        self._backends = backends
        self._reading = reading

    def routes(self) -> Iterator[Route]:
        yield Route("GET", "/_changes", self._list, LIST)
        yield Route("GET", "/_changes/difference", self._difference, COMPARE)
        yield Route("GET", "/_changes/{revision}", self._one, "Could not retrieve the change")
        yield Route("POST", "/_rollback/{revision}", self._rollback, ROLLBACK)

    async def _list(self, call: Call) -> Response:
        self._backends.access.check_history(call.user)
        _require_known(call, *_FILTERS, "user", "since", "until", "size", "offset")
        until = call.first("until")
        sought = Sought(
            _place_in_query(call),
            call.first("user") or None,
            _since(call.first("since")),
            revision_of(until, "until") if until else None,
            people_only=not call.flag("all"),
        )
        size, offset = part_of(call)
        found = await self._backends.store.entries(sought, limit=size, offset=offset)
        following = None
        if offset + size < found.total and found.items:
            # What is written meanwhile must not move the pages.
            following = url_with(call, offset=offset + size, until=sought.until or found.items[0].revision)
        return json_reply(Page(found.total, found.items, following).body(_entry))

    async def _one(self, call: Call) -> Response:
        self._backends.access.check_history(call.user)
        _require_known(call)
        revision = revision_of(call.parameters["revision"])
        found = await self._backends.store.history(after=revision - 1, limit=1)
        if not found or found[0].revision != revision:
            raise NotFound(
                title=f"Revision {revision} is not in the change log: it does not exist, was trimmed, or wrote what is "
                "not logged (insights, health)"
            )
        change = found[0]
        shown = _step(Step(change.key, change.before, change.after))
        return json_reply({**_entry(change), **shown})

    async def _difference(self, call: Call) -> Response:
        self._backends.access.check_history(call.user)
        _require_known(call, *_FILTERS, "from", "to")
        earlier, later = call.first("from"), call.first("to")
        if not earlier:
            raise BadRequest('bad request: the query parameter "from" is missing: a revision; "to" is now if left out')
        since, until = revision_of(earlier, "from"), revision_of(later, "to") if later else None
        steps = await difference(
            self._backends.store, since, until, _place_in_query(call), people_only=not call.flag("all")
        )
        return await _reply(steps, {"from": since, "to": until})

    async def _rollback(self, call: Call) -> Response:
        self._backends.access.check_history(call.user)
        self._reading.require_writable(BY_NAME["Mesh"])
        _require_known(call)
        revision = revision_of(call.parameters["revision"])
        request = await self._request(call)
        plan = await plan_rollback(self._backends.store, revision, _place_in(request))
        if request.plan and request.plan != plan.fingerprint:
            raise Conflict("what would change now is not what was looked at")
        restored = await self._backends.resources.restore(
            plan.steps, author=call.author, allowed=call.may_write(self._backends.access), dry_run=request.dry_run
        )
        return await _reply(plan.steps, _outcome(plan, restored), restored.revision)

    async def _request(self, call: Call) -> RollbackRequest:
        document = await call.document(Limits(size=self._backends.config.api_server.max_body_bytes))
        if not isinstance(document, dict):
            raise BadRequest("bad request: a JSON object is expected")
        try:
            request = RollbackRequest.model_validate(document)
        except ValidationError as error:
            raise InvalidResource(violations(error)) from None
        # A filter that is spelt wrong must not become "everything".
        unknown = [Violation(field, "is not known") for field in unknown_fields(request, document, "")]
        if unknown:
            raise InvalidResource(unknown)
        return request


def _require_known(call: Call, *known: str) -> None:
    """Raises ``BadRequest`` for query parameters other than these."""
    unknown = next((name for name, _ in call.query if name not in known), None)
    if unknown is not None:
        those = f"those that are: {', '.join(known)}" if known else "there are none here"
        raise BadRequest(f'bad request: the query parameter "{unknown}" is not known; {those}')


def _place_in_query(call: Call) -> Place:
    return Place(call.first("type") or None, call.first("mesh") or None, call.first("name") or None)


def _place_in(request: RollbackRequest) -> Place:
    """What a rollback is about."""
    if not request.type and not request.name:
        return Place(mesh=request.mesh or None)
    kind = BY_NAME.get(request.type)
    faults = []
    if kind is None:
        faults.append(Violation("type", "is not the type of a resource"))
    elif kind.read_only:
        faults.append(
            Violation("type", f"{kind.name} is written by the control plane itself and cannot be rolled back")
        )
    elif kind.scope is Scope.MESH and not request.mesh:
        faults.append(Violation("mesh", "cannot be empty"))
    if not request.name:
        faults.append(Violation("name", "cannot be empty"))
    if faults or kind is None:
        raise InvalidResource(faults)
    return Place(kind.name, request.mesh if kind.scope is Scope.MESH else "", request.name)


def _since(text: str | None) -> datetime | None:
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise BadRequest("bad request: since is a time like 2026-01-31T12:00:00Z") from None


def _entry(entry: Entry | Change) -> dict[str, Any]:
    shown = {
        "revision": entry.revision,
        "time": time_text(entry.time),
        "user": entry.author.name,
        "groups": list(entry.author.groups),
        "address": entry.author.address,
        "action": entry.operation.value,
        **_named(entry.key),
    }
    return shown if entry.note is None else {**shown, "token": from_json(entry.note)}


def _named(key: Key) -> dict[str, str]:
    return {"type": key.kind, **({"mesh": key.mesh} if key.mesh else {}), "name": key.name}


async def _reply(steps: Iterable[Step], head: Mapping[str, Any], written: int = 0) -> Response:
    found = tuple(steps)
    images = [record for step in found for record in (step.before, step.after) if record is not None]
    large = len(found) > _FEW_STEPS or sum(len(record.spec) for record in images) > LARGE_TEXT
    headers = {REVISION_HEADER: str(written)} if written else None
    return await aside(large, lambda: json_reply({**head, "changes": [_step(step) for step in found]}, 200, headers))


def _step(step: Step) -> dict[str, Any]:
    before, after = _documents(step.before, step.after)
    shown = {**_named(step.key), "before": before, "after": after}
    return {**shown, "asOf": step.as_of} if step.as_of else shown


def _outcome(plan: Plan, restored: Restored) -> dict[str, Any]:
    return {
        "revision": plan.revision,
        "plan": plan.fingerprint,
        "written": restored.revision,
        "warnings": [*plan.notices, *restored.warnings],
        "leftAlone": [{**_named(one.key), "reason": one.reason} for one in plan.left],
    }


def _documents(before: Record | None, after: Record | None) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """Both as one would apply them, but for the values of secrets."""
    same_value = before is not None and after is not None and before.spec == after.spec
    return _document(before, same_value=same_value), _document(after, same_value=same_value)


def _document(record: Record | None, *, same_value: bool) -> dict[str, Any] | None:
    if record is None:
        return None
    kind = BY_NAME.get(record.key.kind)
    if kind is None:
        return {**_named(record.key), "spec": from_json(record.spec)}
    document = universal(Shown.stored(record))
    if kind.admin_only:
        document["data"] = "(sealed)" if same_value else f"(sealed, as written by revision {record.revision})"
    return {field: value for field, value in document.items() if field not in _NOT_WRITTEN}
