"""The mesh under test: proxies as kuma-dp and Envoy describe them, and the documents a user writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from kuma.core.xds.bootstrap import BootstrapParams, BootstrapRequest, ProxyFacts, bootstrap
from kuma.envoy_api.envoy.config.core.v3.base_pb2 import Extension

MESH: Final = "default"
MOVING: Final = "moving"
"""A Dataplane without a proxy, whose endpoint is changed."""
_EXTENSIONS: Final = 516
"""As many as Envoy 1.40 lists; names and types are filled up to the 60 kB that this makes there."""
_VERSION: Final = {
    "kumaDp": {"version": "2.14.3", "gitTag": "v2.14.3", "gitCommit": "0" * 40, "buildDate": "2026-01-01T00:00:00Z"},
    "envoy": {"version": "1.40.0", "build": f"{'0' * 40}/1.40.0/Clean/RELEASE/BoringSSL", "kumaDpCompatible": True},
}


def service(number: int) -> str:
    """The name of a service."""
    return f"service-{number:03}"


def dataplane(name: str, offered: int, services: int, address: str) -> dict[str, Any]:
    """A proxy of one service that consumes all services."""
    return {
        "type": "Dataplane",
        "mesh": MESH,
        "name": name,
        "networking": {
            "address": address,
            "inbound": [
                {"port": 8080, "tags": {"kuma.io/service": service(offered), "kuma.io/protocol": "http"}},
            ],
            "outbound": [
                {"port": 20_000 + number, "tags": {"kuma.io/service": service(number)}} for number in range(services)
            ],
        },
    }


def node(document: dict[str, Any], work_dir: Path, ca: str) -> bytes:
    """What the proxy's Envoy calls itself: the node of its bootstrap, and what Envoy adds to it."""
    request = BootstrapRequest.model_validate(
        {
            "mesh": MESH,
            "name": document["name"],
            "dataplaneToken": "in the request",
            "dataplaneResource": json.dumps(document),
            "version": _VERSION,
            "readinessPort": 9902,
            "workdir": str(work_dir),
            "dynamicMetadata": {"version.dependencies.coredns": "1.12.0"},
        }
    )
    facts = ProxyFacts(services=(document["networking"]["inbound"][0]["tags"]["kuma.io/service"],))
    made = bootstrap(request, BootstrapParams(xds_host="localhost", xds_port=1, ca=ca), facts).node
    made.user_agent_name = "envoy"
    made.user_agent_build_version.version.major_number = 1
    made.user_agent_build_version.version.minor_number = 40
    made.extensions.extend(
        Extension(
            name=f"envoy.filters.http.extension_{number:03}",
            category="envoy.filters.http",
            type_urls=[f"envoy.extensions.filters.http.extension_{number:03}.v3.Extension"],
        )
        for number in range(_EXTENSIONS)
    )
    return made.SerializeToString()


def mutual_tls() -> dict[str, Any]:
    """The mesh, with certificates of its own."""
    backend = {"name": "ca-1", "type": "builtin", "mode": "STRICT"}
    return {"type": "Mesh", "name": MESH, "mtls": {"enabledBackend": "ca-1", "backends": [backend]}}


def allow_all() -> dict[str, Any]:
    """Everyone may call everyone."""
    rule = {"targetRef": {"kind": "Mesh"}, "default": {"action": "Allow"}}
    return {
        "type": "MeshTrafficPermission",
        "mesh": MESH,
        "name": "allow-all",
        "spec": {"targetRef": {"kind": "Mesh"}, "from": [rule]},
    }


def timeout(name: str, milliseconds: int, *, of_service: str = "") -> dict[str, Any]:
    """A MeshTimeout for all proxies, or for those of one service, towards all services."""
    selected: dict[str, Any] = {"kind": "Mesh"}
    if of_service:
        selected = {"kind": "MeshSubset", "tags": {"kuma.io/service": of_service}}
    default = {"connectionTimeout": f"{milliseconds}ms", "http": {"requestTimeout": f"{milliseconds * 2}ms"}}
    return {
        "type": "MeshTimeout",
        "mesh": MESH,
        "name": name,
        "spec": {"targetRef": selected, "to": [{"targetRef": {"kind": "Mesh"}, "default": default}]},
    }


def odd_timeout(proxy: str, milliseconds: int) -> dict[str, Any]:
    """A MeshTimeout for one proxy, unlike that of any other."""
    to = {"targetRef": {"kind": "Mesh"}, "default": {"idleTimeout": f"{milliseconds}ms"}}
    return {
        "type": "MeshTimeout",
        "mesh": MESH,
        "name": f"of-{proxy}",
        "spec": {"targetRef": {"kind": "Dataplane", "name": proxy}, "to": [to]},
    }
