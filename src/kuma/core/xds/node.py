"""Who an Envoy is: what the bootstrap wrote into ``node`` and every stream brings back.

The keys and features below are the contract between the bootstrap (which writes them) and the streams (which read
them), so both sides take them from here. Reading is tolerant of absent keys, because proxies of other versions
connect too, and strict about values that are present and make no sense.

Facts: spec/dataplane.md §3 and §4.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Final

from google.protobuf.json_format import MessageToDict

from kuma.core.errors import BadRequest
from kuma.envoy_api.envoy.config.core.v3.base_pb2 import Node

VERSION: Final = "version"
FEATURES: Final = "features"
WORKDIR: Final = "workdir"
METRICS_CERT_PATH: Final = "metricsCertPath"
METRICS_KEY_PATH: Final = "metricsKeyPath"
SYSTEM_CA_PATH: Final = "systemCaPath"
SPIRE_SOCKET_PATH: Final = "spireAgent.socketPath"
IPV6_ENABLED: Final = "ipv6Enabled"
PROXY_TYPE: Final = "dataplane.proxyType"
RESOURCE: Final = "dataplane.resource"
ADMIN_PORT: Final = "dataplane.admin.port"
ADMIN_ADDRESS: Final = "dataplane.admin.address"
ADMIN_SOCKET_PATH: Final = "dataplane.admin.socketPath"
DNS_PORT: Final = "dataplane.dns.port"
READINESS_PORT: Final = "dataplane.readinessReporter.port"
APP_PROBE_PROXY: Final = "dataplane.appProbeProxy.enabled"
DYNAMIC_METADATA: Final = "dynamicMetadata"
TRANSPARENT_PROXY: Final = "transparentProxy"
OTEL_ENV: Final = "otelEnvInventory"

FEATURE_DELTA_GRPC: Final = "feature-delta-grpc"
FEATURE_SOTW_GRPC: Final = "feature-sotw-grpc"
"""Ours: the proxy was told to speak state-of-the-world."""
FEATURE_UNIFIED_NAMING: Final = "feature-unified-resource-naming"
FEATURE_REUSE_PORT: Final = "feature-reuse-port"
FEATURE_STRICT_INBOUND_PORTS: Final = "feature-strict-inbound-ports"
FEATURE_BIND_OUTBOUNDS: Final = "feature-bind-outbounds"
FEATURE_SPIRE: Final = "feature-spire"

DEPENDENCY_PREFIX: Final = "version.dependencies."
RUN: Final = "kuma-dp.run"
"""Ours, in the dynamic metadata: tells one run of kuma-dp from others of the same name."""
_MAX_ID: Final = 63 + 1 + 253
_NOTHING: Mapping[str, Any] = MappingProxyType({})


class ProxyType(Enum):
    """What a proxy is for; the value is the word in flags, requests and metadata."""

    DATAPLANE = "dataplane"
    INGRESS = "ingress"
    EGRESS = "egress"


@dataclass(frozen=True, slots=True)
class ProxyNode:
    """One connected proxy, as it describes itself. Absent ports are ``None``, absent texts empty."""

    id: str
    mesh: str
    """Empty for zone proxies, which belong to no mesh."""
    name: str
    proxy_type: ProxyType
    resource: str
    """The text of the resource the proxy brings along; empty when it is stored already."""
    features: frozenset[str]
    extensions: frozenset[str]
    """Names of the extensions compiled into the proxy's Envoy."""
    admin_address: str
    admin_port: int | None
    admin_socket: str
    readiness_port: int | None
    dns_port: int | None
    app_probe_proxy: bool
    workdir: str
    system_ca_path: str
    metrics_cert_path: str
    metrics_key_path: str
    spire_socket: str
    ipv6: bool
    versions: Mapping[str, Any]
    """As insights show it: ``kumaDp``, ``envoy`` and, where reported, ``dependencies``."""
    dynamic_metadata: Mapping[str, str]
    transparent_proxy: Mapping[str, Any] | None

    @classmethod
    def parse(cls, node: Node) -> ProxyNode:
        """
        Read what Envoy sent.

        Raises:
            BadRequest: the id or a value cannot be understood; the text names it.
        """
        data = _Metadata(MessageToDict(node.metadata))
        proxy_type = data.proxy_type()
        mesh, name = split_id(node.id, proxy_type)
        dynamic = {key: str(value) for key, value in data.struct(DYNAMIC_METADATA).items()}
        return cls(
            id=node.id,
            mesh=mesh,
            name=name,
            proxy_type=proxy_type,
            resource=data.text(RESOURCE),
            features=_shared(tuple(data.texts(FEATURES))),
            extensions=_shared(tuple(extension.name for extension in node.extensions)),
            admin_address=data.text(ADMIN_ADDRESS),
            admin_port=data.port(ADMIN_PORT),
            admin_socket=data.text(ADMIN_SOCKET_PATH),
            readiness_port=data.port(READINESS_PORT),
            dns_port=data.port(DNS_PORT),
            app_probe_proxy=data.flag(APP_PROBE_PROXY, absent=False),
            workdir=data.text(WORKDIR),
            system_ca_path=data.text(SYSTEM_CA_PATH),
            metrics_cert_path=data.text(METRICS_CERT_PATH),
            metrics_key_path=data.text(METRICS_KEY_PATH),
            spire_socket=data.text(SPIRE_SOCKET_PATH),
            ipv6=data.flag(IPV6_ENABLED, absent=True),
            versions=MappingProxyType(_versions(data.struct(VERSION), dynamic)),
            dynamic_metadata=MappingProxyType(dynamic),
            transparent_proxy=MappingProxyType(data.struct(TRANSPARENT_PROXY)) if TRANSPARENT_PROXY in data else None,
        )


def node_id(mesh: str, name: str) -> str:
    """``<mesh>.<name>``; for a zone proxy ``.<name>``."""
    return f"{mesh}.{name}"


def split_id(text: str, proxy_type: ProxyType) -> tuple[str, str]:
    """
    Mesh and name of a node id. Names may contain dots, meshes may not, so the first dot divides.

    Raises:
        BadRequest: not an id that ``node_id`` makes.
    """
    mesh, dot, name = text[: _MAX_ID + 1].partition(".")
    if len(text) > _MAX_ID or not dot or not name or not text.isprintable():
        raise BadRequest(f"node id {text[:_MAX_ID]!r} is not of the form <mesh>.<name>")
    if proxy_type is ProxyType.DATAPLANE and not mesh:
        raise BadRequest(f"node id {text!r} names no mesh, which a dataplane proxy needs: <mesh>.<name>")
    return mesh, name


@lru_cache(maxsize=64)
def _shared(names: tuple[str, ...]) -> frozenset[str]:
    """Equal lists give one object: a thousand proxies on one Envoy build list the same five hundred extensions."""
    return frozenset(names)


def _versions(reported: Mapping[str, Any], dynamic: Mapping[str, str]) -> dict[str, Any]:
    dependencies = {
        key.removeprefix(DEPENDENCY_PREFIX): value
        for key, value in sorted(dynamic.items())
        if key.startswith(DEPENDENCY_PREFIX)
    }
    return {**reported, "dependencies": dependencies} if dependencies else dict(reported)


class _Metadata:
    """Typed access to the metadata; every refusal names the key."""

    def __init__(self, data: Mapping[str, Any]) -> None:
        self._data = data

    def __contains__(self, key: str) -> bool:
        return self._data.get(key) is not None

    def text(self, key: str) -> str:
        value = self._data.get(key)
        if value is None:
            return ""
        if not isinstance(value, str):
            raise _malformed(key, "a text", value)
        return value

    def texts(self, key: str) -> Iterable[str]:
        value = self._data.get(key)
        if value is None:
            return ()
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise _malformed(key, "a list of texts", value)
        return value

    def flag(self, key: str, *, absent: bool) -> bool:
        value = self._data.get(key)
        if value is None:
            return absent
        if value in (True, "true"):
            return True
        if value in (False, "false", ""):
            return False
        raise _malformed(key, "true or false", value)

    def port(self, key: str) -> int | None:
        """Ports travel as text; a number is understood too."""
        value = self._data.get(key)
        if value is None or value == "":
            return None
        text = f"{value:.0f}" if isinstance(value, float) and value.is_integer() else str(value)
        if not text.isascii() or not text.isdigit() or len(text) > 5 or int(text) > 65535:
            raise _malformed(key, "a port from 0 to 65535", value)
        return int(text)

    def struct(self, key: str) -> dict[str, Any]:
        value = self._data.get(key, _NOTHING)
        if not isinstance(value, Mapping):
            raise _malformed(key, "an object", value)
        return dict(value)

    def proxy_type(self) -> ProxyType:
        text = self.text(PROXY_TYPE) or ProxyType.DATAPLANE.value
        try:
            return ProxyType(text)
        except ValueError:
            raise _malformed(PROXY_TYPE, "dataplane, ingress or egress", text) from None


def _malformed(key: str, expected: str, value: object) -> BadRequest:
    return BadRequest(f"node metadata {key} must be {expected}, not {str(value)[:64]!r}")
