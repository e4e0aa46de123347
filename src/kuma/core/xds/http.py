"""The HTTP connection managers and protocol options all listeners and clusters are made of."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from kuma.core.xds import names
from kuma.core.xds.pack import as_any
from kuma.envoy_api.envoy.config.core.v3.address_pb2 import Address, CidrRange, SocketAddress
from kuma.envoy_api.envoy.config.core.v3.base_pb2 import TrafficDirection
from kuma.envoy_api.envoy.config.core.v3.protocol_pb2 import Http2ProtocolOptions
from kuma.envoy_api.envoy.config.core.v3.protocol_pb2 import HttpProtocolOptions as CommonOptions
from kuma.envoy_api.envoy.config.listener.v3.listener_components_pb2 import ListenerFilter
from kuma.envoy_api.envoy.config.listener.v3.listener_pb2 import Listener
from kuma.envoy_api.envoy.config.route.v3.route_components_pb2 import Route, RouteAction, RouteMatch, VirtualHost
from kuma.envoy_api.envoy.config.route.v3.route_pb2 import RouteConfiguration
from kuma.envoy_api.envoy.extensions.filters.http.grpc_stats.v3.config_pb2 import FilterConfig as GrpcStats
from kuma.envoy_api.envoy.extensions.filters.listener.tls_inspector.v3.tls_inspector_pb2 import TlsInspector
from kuma.envoy_api.envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import (
    HttpConnectionManager,
    HttpFilter,
)
from kuma.envoy_api.envoy.extensions.upstreams.http.v3.http_protocol_options_pb2 import HttpProtocolOptions

KNOWN_INTERNAL_CIDRS: Final = (
    "10.0.0.0/8",
    "192.168.0.0/16",
    "172.16.0.0/12",
    "fc00::/7",
    "fd00::/8",
    "127.0.0.1/32",
    "::1/128",
)
"""Default of ``ipam.knownInternalCIDRs``: callers whose ``x-envoy-internal`` Envoy may believe."""


def socket_address(address: str, port: int) -> Address:
    """A TCP address."""
    return Address(socket_address=SocketAddress(address=address, port_value=port))


def listener(name: str, address: str, port: int, direction: TrafficDirection) -> Listener:
    """A listener without chains."""
    return Listener(name=name, address=socket_address(address, port), traffic_direction=direction)


def inspect_tls(listener: Listener) -> None:
    """Let the listener's chains and filters know of TLS, ALPN and the server name asked for."""
    if all(present.name != names.TLS_INSPECTOR for present in listener.listener_filters):
        listener.listener_filters.append(ListenerFilter(name=names.TLS_INSPECTOR, typed_config=as_any(TlsInspector())))


def grpc_stats() -> HttpFilter:
    """Counts gRPC statuses."""
    return HttpFilter(name=names.GRPC_STATS, typed_config=as_any(GrpcStats(emit_filter_state=True)))


def connection_manager(
    stat_name: str, routes: RouteConfiguration, *, ipv6: bool, internal_cidrs: tuple[str, ...]
) -> HttpConnectionManager:
    """An HTTP connection manager with inline routes and no filters."""
    manager = HttpConnectionManager(
        stat_prefix=names.sanitized(stat_name),
        codec_type=HttpConnectionManager.AUTO,
        route_config=routes,
    )
    internal = manager.internal_address_config
    internal.unix_sockets = False
    internal.cidr_ranges.extend(_cidr(text) for text in internal_cidrs if ipv6 or ":" not in text)
    return manager


def one_route(name: str, host: str, cluster: str, route_name: str = "") -> RouteConfiguration:
    """A route configuration that sends everything to one cluster."""
    action = RouteAction(cluster=cluster)
    action.timeout.SetInParent()
    route = Route(name=route_name, match=RouteMatch(prefix="/"), route=action)
    routes = RouteConfiguration(name=name, virtual_hosts=[VirtualHost(name=host, domains=["*"], routes=[route])])
    routes.validate_clusters.value = False
    return routes


def upstream_options(protocol: str, idle: timedelta | None = None) -> HttpProtocolOptions:
    """HTTP/1.1 for ``http``, else HTTP/2; ``idle`` closes connections that carry nothing."""
    options = HttpProtocolOptions()
    if protocol == "http":
        options.explicit_http_config.http_protocol_options.SetInParent()
    else:
        options.explicit_http_config.http2_protocol_options.CopyFrom(Http2ProtocolOptions())
    if idle is not None:
        common = CommonOptions()
        common.idle_timeout.FromTimedelta(idle)
        options.common_http_protocol_options.CopyFrom(common)
    return options


def as_asked(options: HttpProtocolOptions) -> None:
    """Speak the version of HTTP that the caller speaks, where nobody says what is understood behind."""
    options.use_downstream_protocol_config.http_protocol_options.SetInParent()
    options.use_downstream_protocol_config.http2_protocol_options.SetInParent()


def _cidr(text: str) -> CidrRange:
    address, length = text.split("/")
    cidr = CidrRange(address_prefix=address)
    cidr.prefix_len.value = int(length)
    return cidr
