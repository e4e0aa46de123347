"""A resource as the API shows it: Kuma's envelope in both forms, and what a cluster would hold (``format=k8s``).

Stored resources are shown from their stored text, which is their wire form: reading never parses a spec into a model,
however long a list is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from pydantic_core import from_json

from kuma.core.errors import BadRequest
from kuma.core.model.kinds import BY_NAME, Form, Kind, Scope
from kuma.core.model.labels import MESH_LABEL, kri
from kuma.core.model.resource import Meta, Resource, definition
from kuma.cp.store.decoding import meta_of
from kuma.cp.store.port import Record

KUBERNETES: Final = ("k8s", "kubernetes")
_FORMATS: Final = ("universal", *KUBERNETES)
_SECRETS: Final = {"Secret": "system.kuma.io/secret", "GlobalSecret": "system.kuma.io/global-secret"}


@dataclass(frozen=True, slots=True)
class Shown:
    """A resource on its way to a caller; ``spec`` and ``status`` are JSON data."""

    meta: Meta
    spec: Mapping[str, Any]
    status: Mapping[str, Any] | None = None

    @property
    def kind(self) -> Kind:
        return BY_NAME[self.meta.key.kind]

    @classmethod
    def stored(cls, record: Record) -> Shown:
        spec = from_json(record.spec)
        if record.status is None:
            return cls(meta_of(record), spec, definition(record.key.kind).status(spec))
        return cls(meta_of(record), spec, from_json(record.status))

    @classmethod
    def derived(cls, resource: Resource[Any]) -> Shown:
        return cls(resource.meta, resource.spec.to_json(), resource.status)


def universal(shown: Shown) -> dict[str, Any]:
    """The envelope."""
    kind = shown.kind
    body = head(kind.name, kind, shown.meta)
    if kind.form is Form.LEGACY:
        return body | dict(shown.spec) | body  # metadata first, and no field of a spec can take its place
    body["spec"] = shown.spec
    if kind.has_status:
        body["status"] = dict(shown.status or {})
    return body


def head(type: str, kind: Kind, meta: Meta) -> dict[str, Any]:
    """What stands before the spec. ``type`` differs from the kind for overviews."""
    body: dict[str, Any] = {"type": type}
    if kind.scope is Scope.MESH:
        body["mesh"] = meta.mesh
    body["name"] = meta.name
    body["creationTime"] = time_text(meta.created)
    body["modificationTime"] = time_text(meta.modified)
    if meta.labels:
        body["labels"] = dict(meta.labels)
    if kind.short_name:
        body["kri"] = kri(kind.short_name, meta)
    return body


def reference(meta: Meta) -> dict[str, Any]:
    """A resource as others name it."""
    return {"labels": dict(meta.labels), "mesh": meta.mesh, "name": meta.name, "type": meta.key.kind}


def time_text(time: datetime) -> str:
    """RFC 3339 in UTC with as many digits below the second as needed."""
    whole, _, digits = time.astimezone(UTC).replace(tzinfo=None).isoformat().partition(".")
    digits = digits.rstrip("0")
    return f"{whole}.{digits}Z" if digits else f"{whole}Z"


def in_format(shown: Shown, format: str | None, namespace: str) -> dict[str, Any]:
    """
    The resource in the form asked for.

    Raises:
        BadRequest: no such form.
    """
    if format and format not in _FORMATS:
        raise BadRequest(f'bad request: the query parameter "format" must be one of {", ".join(_FORMATS)}')
    return _kubernetes(shown, namespace) if format in KUBERNETES else universal(shown)


def _kubernetes(shown: Shown, namespace: str) -> dict[str, Any]:
    kind, meta = shown.kind, shown.meta
    labels = dict(meta.labels)
    old_style = kind.form is Form.LEGACY and kind.name not in _SECRETS
    if kind.scope is Scope.MESH and not old_style:
        labels[MESH_LABEL] = meta.mesh
    metadata: dict[str, Any] = {"name": meta.name}
    if _is_namespaced(kind):
        metadata["namespace"] = namespace
    metadata["creationTimestamp"] = time_text(meta.created.replace(microsecond=0))
    if labels:
        metadata["labels"] = labels
    if kind.name in _SECRETS:
        data = {"value": shown.spec.get("data", "")}
        return {"kind": "Secret", "apiVersion": "v1", "metadata": metadata, "data": data, "type": _SECRETS[kind.name]}
    body: dict[str, Any] = {"kind": kind.name, "apiVersion": "kuma.io/v1alpha1", "metadata": metadata}
    if old_style and kind.scope is Scope.MESH:
        body["mesh"] = meta.mesh
    # The one kind whose whole content is what was observed keeps it under "status" in a cluster.
    body["status" if kind.name == "DataplaneInsight" else "spec"] = shown.spec
    if kind.has_status:
        body["status"] = dict(shown.status or {})
    return body


def _is_namespaced(kind: Kind) -> bool:
    """Old-style kinds live in the cluster, but for proxies and their insights (spec/kubernetes.md §3.1)."""
    if kind.form is Form.PLUGIN or kind.name in _SECRETS or kind.has_overview:
        return True
    return kind.name == "DataplaneInsight"
