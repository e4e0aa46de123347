"""A resource as the API shows it: Kuma's envelope in both forms, and what a cluster would hold (``format=k8s``)."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from kuma.core.errors import BadRequest
from kuma.core.model.kinds import Form, Kind, Scope
from kuma.core.model.labels import MESH_LABEL, kri
from kuma.core.model.resource import Meta, Resource

KUBERNETES: Final = ("k8s", "kubernetes")
_FORMATS: Final = ("universal", *KUBERNETES)
_SECRETS: Final = {"Secret": "system.kuma.io/secret", "GlobalSecret": "system.kuma.io/global-secret"}


def universal(resource: Resource[Any]) -> dict[str, Any]:
    """The envelope."""
    kind = resource.kind
    body = head(kind.name, kind, resource.meta)
    spec: dict[str, Any] = resource.spec.to_json()
    if kind.form is Form.LEGACY:
        return body | spec | body  # metadata first, and no field of a spec can take its place
    body["spec"] = spec
    if kind.has_status:
        body["status"] = dict(resource.status or {})
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


def in_format(resource: Resource[Any], format: str | None, namespace: str) -> dict[str, Any]:
    """
    The resource in the form asked for.

    Raises:
        BadRequest: no such form.
    """
    if format and format not in _FORMATS:
        raise BadRequest(f'bad request: the query parameter "format" must be one of {", ".join(_FORMATS)}')
    return _kubernetes(resource, namespace) if format in KUBERNETES else universal(resource)


def _kubernetes(resource: Resource[Any], namespace: str) -> dict[str, Any]:
    kind, meta = resource.kind, resource.meta
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
        data = base64.b64encode(resource.spec.data or b"").decode()
        return {
            "kind": "Secret",
            "apiVersion": "v1",
            "metadata": metadata,
            "data": {"value": data},
            "type": _SECRETS[kind.name],
        }
    body: dict[str, Any] = {"kind": kind.name, "apiVersion": "kuma.io/v1alpha1", "metadata": metadata}
    if old_style and kind.scope is Scope.MESH:
        body["mesh"] = meta.mesh
    # The one kind whose whole content is what was observed keeps it under "status" in a cluster.
    body["status" if kind.name == "DataplaneInsight" else "spec"] = resource.spec.to_json()
    if kind.has_status:
        body["status"] = dict(resource.status or {})
    return body


def _is_namespaced(kind: Kind) -> bool:
    """Old-style kinds live in the cluster, but for proxies and their insights (spec/kubernetes.md §3.1)."""
    if kind.form is Form.PLUGIN or kind.name in _SECRETS or kind.has_overview:
        return True
    return kind.name == "DataplaneInsight"


def without_label(labels: Mapping[str, str], label: str) -> dict[str, str]:
    return {key: value for key, value in labels.items() if key != label}
