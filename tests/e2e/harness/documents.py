"""The files a user writes, as text."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import trustme
import yaml


@dataclass(frozen=True, slots=True)
class Inbound:
    """A service offered through a proxy."""

    service: str
    protocol: str
    port: int
    application_port: int
    tags: Mapping[str, str] = field(default_factory=dict)
    probe: bool = False

    def document(self) -> dict[str, object]:
        return {
            "port": self.port,
            "servicePort": self.application_port,
            "serviceAddress": "127.0.0.1",
            "tags": {"kuma.io/service": self.service, "kuma.io/protocol": self.protocol, **self.tags},
            **({"serviceProbe": {"tcp": {}}} if self.probe else {}),
        }


def dataplane(
    name: str,
    mesh: str,
    inbounds: Sequence[Inbound],
    outbounds: Mapping[str, int],
    *,
    admin_port: int,
    address: str = "127.0.0.1",
) -> str:
    """A Dataplane; ``outbounds`` gives the local port for each service it calls."""
    document = {
        "type": "Dataplane",
        "mesh": mesh,
        "name": name,
        "networking": {
            "address": address,
            "admin": {"port": admin_port},
            "inbound": [inbound.document() for inbound in inbounds],
            "outbound": [
                {"port": port, "address": "127.0.0.1", "tags": {"kuma.io/service": service}}
                for service, port in outbounds.items()
            ],
        },
    }
    return yaml.safe_dump(document, sort_keys=False)


def mesh(name: str, *backends: Mapping[str, object], enabled: str = "") -> str:
    """A Mesh; without backends mutual TLS is off, else the named one issues, by default the first."""
    document: dict[str, object] = {"type": "Mesh", "name": name}
    if backends:
        document["mtls"] = {"enabledBackend": enabled or backends[0]["name"], "backends": list(backends)}
    return yaml.safe_dump(document, sort_keys=False)


def builtin(name: str, *, mode: str = "STRICT", leaf: str = "") -> dict[str, object]:
    """A builtin backend; ``leaf`` is how long certificates of proxies live."""
    rotation = {"dpCert": {"rotation": {"expiration": leaf}}} if leaf else {}
    return {"name": name, "type": "builtin", "mode": mode, **rotation}


def provided(name: str, authority: trustme.CA) -> dict[str, object]:
    """A backend with a CA of the user's own, written into the mesh itself."""
    cert, key = authority.cert_pem.bytes().decode(), authority.private_key_pem.bytes().decode()
    return {
        "name": name,
        "type": "provided",
        "mode": "STRICT",
        "conf": {"cert": {"inlineString": cert}, "key": {"inlineString": key}},
    }


def permission(mesh: str, name: str, *, action: str = "Allow", to: str = "", source: str = "") -> str:
    """A MeshTrafficPermission: to one service or all, from one service or all."""
    target = f"{{kind: MeshSubset, tags: {{kuma.io/service: {to}}}}}" if to else "{kind: Mesh}"
    caller = f"{{kind: MeshSubset, tags: {{kuma.io/service: {source}}}}}" if source else "{kind: Mesh}"
    return textwrap.dedent(
        f"""\
        type: MeshTrafficPermission
        mesh: {mesh}
        name: {name}
        spec:
          targetRef: {target}
          from:
            - targetRef: {caller}
              default:
                action: {action}
        """
    )
