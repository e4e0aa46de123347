"""Every route of the API and which setting of ``access.static`` guards it, for the tests of access.

The routes are the application's own, so a new one is judged at once: by its method and path it is for everyone who may
read or for those who may write, unless a line of ``_GUARDS`` says otherwise.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from kuma.core.model.kinds import KINDS, Kind
from kuma.cp.server.api.routing import Route

OPEN: Final = "open"
"""Guarded by no setting: who is known, or anonymous, may."""
PUBLIC: Final = "public"
"""Answered even to a bad credential."""
BY_DEFAULT_CLOSED: Final = ("admin_resources", "generate_dp_token", "generate_user_token", "generate_zone_token")

_SECRETS: Final = r"(secrets|globalsecrets|global-secrets)"
_GUARDS: Final = (
    (r"GET /", PUBLIC),
    (rf"\w+ (/meshes/{{mesh}})?/{_SECRETS}(/{{name}})?", "admin_resources"),
    (r"GET /_changes(/.*)?", "admin_resources"),
    (r"POST /_rollback/{revision}", "admin_resources"),
    (r"POST /tokens/dataplane", "generate_dp_token"),
    (r"POST /tokens/zone", "generate_zone_token"),
    (r"POST /tokens/user", "generate_user_token"),
    (r"GET /config", "control_plane_metadata"),
    (r"GET .*/dataplanes/{name}/(xds|_config)", "view_config_dump"),
    (r"GET .*/dataplanes/{name}/stats", "view_stats"),
    (r"GET .*/dataplanes/{name}/clusters", "view_clusters"),
    (r"(PUT|DELETE) .*", "write_resources"),
    (r"GET .*", OPEN),
)
_PARAMETERS: Final = {
    "mesh": "default",
    "kri": "kri_m____default_",
    "revision": "1",
}
_MESH: Final = {"kind": "Mesh"}
_SPECS: Final = {
    "MeshHTTPRoute": {"to": [{"targetRef": _MESH, "rules": []}]},
    "MeshTimeout": {"to": [{"targetRef": _MESH, "default": {"idleTimeout": "10s"}}]},
    "MeshTrafficPermission": {"from": [{"targetRef": _MESH, "default": {"action": "Allow"}}]},
    "MeshCircuitBreaker": {"to": [{"targetRef": _MESH, "default": {"connectionLimits": {"maxConnections": 2}}}]},
    "MeshRetry": {"to": [{"targetRef": _MESH, "default": {"http": {"numRetries": 3}}}]},
}
_TOKEN_REQUESTS: Final = {
    "dataplane": {"mesh": "default", "validFor": "1h"},
    "zone": {"scope": ["egress"], "validFor": "1h"},
    "user": {"name": "someone", "validFor": "1h"},
}


def guard_of(route: Route) -> str:
    """The setting that guards a route, or ``OPEN``, or ``PUBLIC``."""
    return next(guard for pattern, guard in _GUARDS if re.fullmatch(pattern, f"{route.method} {route.path}"))


@dataclass(frozen=True, slots=True)
class Request:
    """One request for each route, as complete as needed to get to the question who asks."""

    method: str
    path: str
    guard: str
    document: Any = None
    kind: Kind | None = None
    """Of the resource that it writes or deletes."""

    @property
    def headers(self) -> dict[str, str]:
        return {"content-type": "application/json"} if self.document is not None else {}

    @property
    def body(self) -> bytes | None:
        return None if self.document is None else json.dumps(self.document).encode()

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


def requests(routes: Iterable[Route]) -> list[Request]:
    """A request for each route, in order; the API has no base path."""
    return [_request(route) for route in routes]


def _request(route: Route) -> Request:
    kind = _kind_at(route.path) if route.method in ("PUT", "DELETE") else None
    names = {**_PARAMETERS, "name": name_of(kind) if kind else "default"}
    path = re.sub(r"{(\w+)}", lambda found: names.get(found[1], "some"), route.path)
    document = None
    if route.method == "PUT" and kind is not None:
        document = document_of(kind)
    elif route.method == "POST":
        document = _TOKEN_REQUESTS.get(route.path.rpartition("/")[2], {"dryRun": True})
    return Request(route.method, path, guard_of(route), document, kind)


def name_of(kind: Kind) -> str:
    """What is created and deleted of a kind."""
    return f"matrix-{kind.short_name or kind.path}"


def document_of(kind: Kind) -> dict[str, Any]:
    """A document of a kind; valid where its validity can be known here."""
    document: dict[str, Any] = {"type": kind.name, "name": name_of(kind)}
    if kind.scope.value == "Mesh":
        document["mesh"] = "default"
    if kind.admin_only:
        return document | {"data": "AQI="}
    if kind.name == "Dataplane":
        inbound = {"port": 8080, "tags": {"kuma.io/service": "web"}}
        return document | {"networking": {"address": "10.0.0.1", "inbound": [inbound]}}
    return document | ({"spec": _SPECS.get(kind.name, {"targetRef": _MESH})} if kind.policy else {})


def path_of(kind: Kind) -> str:
    """Where that document is."""
    home = "/meshes/default" if kind.scope.value == "Mesh" else ""
    return f"{home}/{kind.path}/{name_of(kind)}"


def _kind_at(path: str) -> Kind:
    word = path.split("/")[-2]
    return next(kind for kind in KINDS if word in (kind.path, kind.alternative_path))
