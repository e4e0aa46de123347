"""
Cases of generated configuration: resources in, the Envoy configuration of one proxy out.

A case is a YAML file of several documents. The first is its header, the others are resources as a user applies them:

    proxy: web-1              # whose configuration is shown
    issued: [backend-1]       # proxies that have shown that they accept mutual TLS (matters for PERMISSIVE)
    joining: [backend-2]      # proxies whose Envoy does not listen yet
    admin: true               # the proxy has an admin interface
    reusePort: true           # what else its kuma-dp, host and Envoy can do
    ipv6: false
    kafka: true

``cases/<name>.yaml`` of a folder has its result in ``golden/<name>.yaml``.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message

from kuma.core.model.codec import decode_json
from kuma.core.model.kinds import BY_NAME, Form, Scope
from kuma.core.model.resource import Key, Meta, Resource, definition
from kuma.core.resources.mesh.backends import enabled_backend
from kuma.core.resources.mesh.spec import MtlsMode
from kuma.core.snapshot.mesh import Changes, MeshSettings, MeshSnapshot
from kuma.core.snapshot.plan import Planner, Traits
from kuma.core.snapshot.proxy import Proxy, proxy_of
from kuma.core.xds.generate import Generator
from kuma.core.xds.names import CLUSTER, ENDPOINT, LISTENER, SECRET
from kuma.core.xds.resources import Desired
from kuma.core.xds.view import AdminView, TlsMode
from kuma.envoy_api.envoy.config.cluster.v3.cluster_pb2 import Cluster
from kuma.envoy_api.envoy.config.endpoint.v3.endpoint_pb2 import ClusterLoadAssignment
from kuma.envoy_api.envoy.config.listener.v3.listener_pb2 import Listener
from kuma.envoy_api.envoy.extensions.transport_sockets.tls.v3.secret_pb2 import Secret

HERE: Final = Path(__file__).parent
UPDATE: Final = bool(os.environ.get("UPDATE_GOLDENS"))
"""Set ``UPDATE_GOLDENS=1`` to write what is generated now; then read the difference before you keep it."""
MESSAGES: Final[Mapping[str, tuple[str, type[Message]]]] = {
    CLUSTER: ("clusters", Cluster),
    ENDPOINT: ("endpoints", ClusterLoadAssignment),
    LISTENER: ("listeners", Listener),
    SECRET: ("secrets", Secret),
}
LOGS: Final = "/logs"
"""Where cases that write files write them."""
WORKDIR: Final = "/run/kuma"
"""Where kuma-dp keeps its files."""
_META: Final = ("type", "mesh", "name", "labels")
_ADMIN: Final = AdminView(9901, "127.0.0.1", "/tmp/kuma/admin.sock", 9902, b"ca of the control plane")  # noqa: S108


class Illegal(Exception):
    """A resource that the control plane would refuse; the text says why."""


@dataclass(frozen=True)
class Case:
    """One case; ``path`` is that of its resources."""

    path: Path

    @property
    def name(self) -> str:
        return f"{self.path.parent.parent.name}/{self.path.stem}"

    @property
    def golden(self) -> Path:
        return self.path.parent.parent / "golden" / self.path.name

    def generate(self) -> Desired:
        """What the proxy gets."""
        header, *documents = yaml.safe_load_all(self.path.read_text())
        changes = changes_of(map(resource_of, documents), header.pop("issued", ()), header.pop("joining", ()))
        mesh = MeshSnapshot(MeshSettings("default")).apply(changes, 1)
        name, traits = header.pop("proxy"), traits_of(header)
        return Planner(Generator()).plan(mesh, mesh.proxies[name], traits).desired()


def cases() -> list[Case]:
    """Every case there is, found by its place."""
    return [Case(path) for path in sorted(HERE.glob("*/cases/*.yaml"))]


def as_yaml(desired: Desired) -> str:
    """Configuration as JSON mapping in YAML, by type and name."""
    shown: dict[str, dict[str, Any]] = {}
    for url, (title, message) in MESSAGES.items():
        for one in desired.of_type(url):
            if url != ENDPOINT or one.name in desired.names(CLUSTER):
                shown.setdefault(title, {})[one.name] = MessageToDict(message.FromString(one.body))
    # By way of JSON: YAML knows no ordered dictionaries.
    return yaml.safe_dump(json.loads(json.dumps(shown)), width=120)


def messages(desired: Desired, url: str) -> Iterator[Any]:
    """The resources of a type as messages."""
    for one in desired.of_type(url):
        yield MESSAGES[url][1].FromString(one.body)


def changes_of(resources: Iterable[Resource[Any]], issued: Iterable[str], joining: Iterable[str]) -> Changes:
    """All of a mesh as changes, from nothing."""
    proxies: dict[str, Proxy | None] = {}
    policies: dict[str, tuple[Resource[Any], ...]] = {}
    settings = None
    for one in resources:
        if one.kind.policy is not None:
            policies[one.kind.name] = (*policies.get(one.kind.name, ()), one)
        elif one.kind.name == "Mesh":
            settings = _settings(one)
        else:
            proxies[one.meta.name] = proxy_of(one)
    return Changes(proxies, policies, dict.fromkeys(issued, True), dict.fromkeys(joining, True), settings)


def traits_of(header: Mapping[str, Any]) -> Traits:
    """What the header of a case says of the proxy's host and Envoy."""
    known = {"admin", "reusePort", "ipv6", "kafka"}
    assert header.keys() <= known, f"unknown fields in the header: {sorted(header.keys() - known)}"
    return Traits(
        admin=_ADMIN if header.get("admin", False) else None,
        reuse_port=header.get("reusePort", False),
        ipv6=header.get("ipv6", True),
        kafka_filter=header.get("kafka", False),
        workdir=WORKDIR,
    )


def resource_of(document: Mapping[str, Any]) -> Resource[Any]:
    """
    A resource as a user writes it.

    Raises:
        Illegal: the control plane would refuse it.
        InvalidResource: the same, because of its form.
    """
    kind = BY_NAME[document["type"]]
    mesh = "" if kind.scope is Scope.GLOBAL else document["mesh"]
    written = document.get("spec", {})
    if kind.form is Form.LEGACY:
        written = {field: value for field, value in document.items() if field not in _META}
    meta = Meta(Key(kind.name, mesh, document["name"]), document.get("labels", {}))
    made = Resource(meta, decode_json(kind.name, written))
    faults = [f"{fault.field}: {fault.reason}" for fault in definition(kind.name).validate(made)]
    if faults:
        raise Illegal(f"{kind.name} {made.meta.name} would be refused: {faults}")
    return made


def _settings(mesh: Resource[Any]) -> MeshSettings:
    enabled = enabled_backend(mesh.spec)
    if enabled is None:
        return MeshSettings(mesh.meta.name)
    mode = TlsMode.PERMISSIVE if enabled.mode is MtlsMode.PERMISSIVE else TlsMode.STRICT
    return MeshSettings(mesh.meta.name, mode, b"roots of the mesh")
