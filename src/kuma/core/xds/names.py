"""Names of Envoy resources, filters and secrets. Users' dashboards and patches depend on them (spec/xds.md §3)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from hashlib import sha256
from typing import Final

from kuma.core.model.labels import SERVICE_TAG
from kuma.core.xds.view import Tags

_PREFIX: Final = "type.googleapis.com/envoy"
CLUSTER: Final = f"{_PREFIX}.config.cluster.v3.Cluster"
ENDPOINT: Final = f"{_PREFIX}.config.endpoint.v3.ClusterLoadAssignment"
LISTENER: Final = f"{_PREFIX}.config.listener.v3.Listener"
ROUTE: Final = f"{_PREFIX}.config.route.v3.RouteConfiguration"
SECRET: Final = f"{_PREFIX}.extensions.transport_sockets.tls.v3.Secret"

ADMIN: Final = "kuma:envoy:admin"
READINESS: Final = "kuma:readiness"
ADMIN_SECRET: Final = "kuma:envoy:admin:certificate"  # noqa: S105 - a name
ADS_CLUSTER: Final = "ads_cluster"

TLS_TRANSPORT_SOCKET: Final = "envoy.transport_sockets.tls"
TLS_INSPECTOR: Final = "envoy.filters.listener.tls_inspector"
HTTP_CONNECTION_MANAGER: Final = "envoy.filters.network.http_connection_manager"
TCP_PROXY: Final = "envoy.filters.network.tcp_proxy"
KAFKA_BROKER: Final = "envoy.filters.network.kafka_broker"
ROUTER: Final = "envoy.filters.http.router"
GRPC_STATS: Final = "envoy.filters.http.grpc_stats"
HTTP_PROTOCOL_OPTIONS: Final = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"

MESH_ALPN: Final = "kuma"
"""The ALPN protocol that tells mesh TLS from an application's own TLS."""

CATCH_ALL_ROUTE: Final = "9Zuf5Tg79OuZcQITwBbQykxAk2u4fRKrwYn3//AL4Yo="
"""The route of a service without routing rules: base64 of the SHA-256 of the match list ``[{path prefix /}]``."""

SOURCE_TAGS_HEADER: Final = "x-kuma-tags"

_UNCLEAN: Final = re.compile(r"[^a-zA-Z0-9_-]")
_LONGEST_SERVER_NAME: Final = 255


def sanitized(name: str) -> str:
    """A name as it may stand in a statistic."""
    return _UNCLEAN.sub("_", name)


def host_port(address: str, port: int) -> str:
    """``10.0.0.1:80``; an IPv6 address is bracketed."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def inbound_listener(address: str, port: int) -> str:
    """``inbound:10.0.0.1:80``."""
    return f"inbound:{host_port(address, port)}"


def outbound_listener(address: str, port: int) -> str:
    """``outbound:127.0.0.1:10001``."""
    return f"outbound:{host_port(address, port)}"


def local_cluster(port: int) -> str:
    """The proxy's own application."""
    return f"localhost:{port}"


def outbound_cluster(tags: Tags) -> str:
    """The service's name; with further tags ``<service>-<16 hex of SHA-256 over the sorted tags>``."""
    pairs = dict(tags)
    service = pairs[SERVICE_TAG]
    if len(pairs) == 1:
        return service
    joined = "".join(f"{key}{value}" for key, value in sorted(pairs.items()))
    return f"{service}-{sha256(joined.encode()).digest()[:8].hex()}"


def log_collector(direction: str, host: str, port: int) -> str:
    """
    Where log records go: ``meshaccesslog:opentelemetry:outbound:collector:4317``.

    Named by what it is, not numbered, so that it does not depend on what else a proxy logs; and by direction, because
    a name belongs to one layer of a proxy's resources.
    """
    return f"meshaccesslog:opentelemetry:{direction.lower()}:{host_port(host, port)}"


def sni(tags: Tags, mesh: str) -> str:
    """
    ``backend{mesh=default}``, further tags sorted among them: ``backend{mesh=default,version=v1}``.

    TLS has room for 255 bytes; of a longer name the beginning stays, with a hash of the whole.
    """
    pairs = dict(tags)
    service = pairs.pop(SERVICE_TAG)
    extra: Iterable[str] = (f"{key}={value}" for key, value in sorted({**pairs, "mesh": mesh}.items()))
    whole = f"{service}{{{','.join(extra)}}}"
    if len(whole) <= _LONGEST_SERVER_NAME:
        return whole
    mark = sha256(whole.encode()).hexdigest()[:16]
    return f"{whole[: _LONGEST_SERVER_NAME - 1 - len(mark)]}-{mark}"


def identity_secret(mesh: str) -> str:
    """The secret with a proxy's own certificate."""
    return f"identity_cert:secret:{mesh}"


def mesh_ca_secret(mesh: str) -> str:
    """The secret with the roots that a mesh trusts."""
    return f"mesh_ca:secret:{mesh}"


def service_spiffe_id(mesh: str, service: str) -> str:
    """The URI SAN by which a service is known in its mesh."""
    return f"spiffe://{mesh}/{service}"
