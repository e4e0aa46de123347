"""The status of policies that may send to collectors: whether the collectors they refer to exist.

Sentences, reasons and the order are Kuma's, because scripts wait for this condition.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

_LISTS: Final = ("to", "from", "rules")
_NO_REFERENCES: Final = "No MeshOpenTelemetryBackend references configured"


def backend_refs_status(spec: Mapping[str, Any]) -> Mapping[str, Any]:
    """
    The status of a policy; ``spec`` is in its wire form.

    MeshOpenTelemetryBackend is not served yet, so no reference leads anywhere.
    """
    missing = sorted(set(_references(spec)))
    condition = {
        "type": "BackendRefsResolved",
        "status": "False" if missing else "True",
        "reason": "UnresolvedBackendRefs" if missing else "AllBackendRefsResolved",
        "message": f"Unresolved MeshOpenTelemetryBackend references: {', '.join(missing)}"
        if missing
        else _NO_REFERENCES,
    }
    return {"conditions": [condition]}


def _references(spec: Mapping[str, Any]) -> Iterator[str]:
    for entry in (spec, *(entry for name in _LISTS for entry in spec.get(name, ()))):
        for backend in entry.get("default", {}).get("backends", ()):
            reference = backend.get("openTelemetry", {}).get("backendRef")
            if reference is not None:
                labels = sorted(reference.get("labels", {}).items())
                yield "labels:" + ",".join(f"{key}={value}" for key, value in labels)
