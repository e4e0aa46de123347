"""Reading a resource as a user wrote it, in Kuma's two forms: fields at the top, or under ``spec``.

Nothing but ``InvalidResource`` and ``BadRequest`` comes out, whatever goes in; all faults of the form are told at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

from kuma.core.errors import BadRequest, InvalidResource, Violation
from kuma.core.model.codec import decode_json
from kuma.core.model.kinds import Form, Kind, Scope
from kuma.core.model.spec import unknown_fields

_META: Final = frozenset({"type", "mesh", "name", "labels", "creationTime", "modificationTime", "kri"})
_PLUGIN: Final = _META | {"snis", "spec", "status"}
_DEFAULT_MESH: Final = "default"
_MOST_FIELDS_NAMED: Final = 20


@dataclass(frozen=True, slots=True)
class Document:
    """What a user wrote; ``written`` is all of it, as data."""

    type: str
    mesh: str
    name: str
    labels: Mapping[str, str]
    spec: Any
    kind: Kind
    written: Mapping[str, Any]

    def unknown(self) -> Iterator[str]:
        """The paths of fields that were dropped, those of the envelope first."""
        plugin = self.kind.form is Form.PLUGIN
        if plugin:
            yield from (key for key in self.written if key not in _PLUGIN)
        if self.kind.scope is Scope.GLOBAL and self.written.get("mesh"):
            yield "mesh"
        yield from unknown_fields(self.spec, _source(self.kind, self.written), "spec" if plugin else "")


def read(kind: Kind, document: Mapping[str, Any]) -> Document:
    """
    Parse a document of a kind.

    Raises:
        BadRequest: it is not an object.
        InvalidResource: with every field of the wrong type, or missing where the schema requires it, and for secrets
            with every field that is not known.
    """
    if not isinstance(document, Mapping):
        raise BadRequest(f'invalid {kind.name} object: "a JSON object is expected"')
    plugin = kind.form is Form.PLUGIN
    faults = list(_meta_faults(kind, document))
    source = _source(kind, document)
    spec: Any = None
    if isinstance(source, Mapping):
        try:
            spec = decode_json(kind.name, dict(source))
        except InvalidResource as error:
            faults += error.violations
    if spec is not None and kind.admin_only:
        # A value in the wrong field would leave the secret empty, and what it was to revoke or to sign would not be.
        reason = 'is not known; the value of a secret belongs into "data" at the top, in base64'
        unknown = islice(unknown_fields(spec, source), _MOST_FIELDS_NAMED)
        faults += [Violation(_shortened(field), reason) for field in unknown]
    if faults:
        raise InvalidResource(faults)
    return Document(
        type=document.get("type") or "",
        mesh=document.get("mesh") or (_DEFAULT_MESH if plugin else ""),
        name=document.get("name") or "",
        labels=document.get("labels") or {},
        spec=spec,
        kind=kind,
        written=document,
    )


def _source(kind: Kind, document: Mapping[str, Any]) -> Any:
    """Where the spec is."""
    if kind.form is Form.PLUGIN:
        return document.get("spec")
    return {key: document[key] for key in document if key not in _META}


def differs_from_url(kind: Kind, mesh: str, name: str, document: Document) -> Iterator[Violation]:
    """Where the document is not about the resource its URL names."""
    if document.name != name:
        yield Violation("name", "name from the URL has to be the same as in body")
    if document.type != kind.name:
        yield Violation("type", "type from the URL has to be the same as in body")
    if kind.scope is Scope.MESH and document.mesh != mesh:
        yield Violation("mesh", "mesh from the URL has to be the same as in body")


def dropped(document: Document) -> Iterator[str]:
    """Sentences about the fields that were dropped."""
    unknown = tuple(document.unknown())
    for field in unknown[:_MOST_FIELDS_NAMED]:
        yield f'field "{_shortened(field)}" is not known and was ignored; check its spelling and place'
    if len(unknown) > _MOST_FIELDS_NAMED:
        yield f"{len(unknown) - _MOST_FIELDS_NAMED} more fields are not known and were ignored"


def _shortened(field: str) -> str:
    return field if len(field) <= 200 else f"{field[:200]}…"


def _meta_faults(kind: Kind, document: Mapping[str, Any]) -> Iterator[Violation]:
    plugin = kind.form is Form.PLUGIN

    def fault(field: str, reason: str) -> Violation:
        # The schema of plugin kinds is checked as one sentence about the object, that of others field by field.
        return Violation("", f"{field} {reason}") if plugin else Violation(field, reason)

    for field in ("type", "mesh", "name"):
        value = document.get(field)
        if value is None:
            if plugin and field != "mesh":
                yield fault(field, "in body is required")
        elif not isinstance(value, str):
            yield fault(field, "in body must be of type string")
        elif plugin and field == "type" and value != kind.name:
            yield fault(field, f"in body should be one of [{kind.name}]")
    labels = document.get("labels")
    if labels is not None:
        if not isinstance(labels, Mapping):
            yield fault("labels", "in body must be of type object")
        else:
            for label, value in labels.items():
                if not isinstance(value, str):
                    yield fault(f'labels["{label}"]', "in body must be of type string")
    if plugin and not isinstance(document.get("spec"), Mapping):
        required = document.get("spec") is None
        yield fault("spec", "in body is required" if required else "in body must be of type object")
