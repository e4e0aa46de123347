"""The listener and cluster of one inbound (spec/xds.md §4.2)."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from kuma.core.xds import http, names, tls
from kuma.core.xds.draft import ChainDraft, ClusterDraft, InboundDraft
from kuma.core.xds.kafka import kafka_filter
from kuma.core.xds.view import InboundView, TlsMode
from kuma.envoy_api.envoy.config.cluster.v3.cluster_pb2 import Cluster
from kuma.envoy_api.envoy.config.core.v3.base_pb2 import TrafficDirection
from kuma.envoy_api.envoy.config.endpoint.v3.endpoint_components_pb2 import Endpoint, LbEndpoint, LocalityLbEndpoints
from kuma.envoy_api.envoy.config.listener.v3.listener_components_pb2 import FilterChainMatch
from kuma.envoy_api.envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import (
    HttpConnectionManager,
)
from kuma.envoy_api.envoy.extensions.filters.network.tcp_proxy.v3.tcp_proxy_pb2 import TcpProxy

_CONNECT_TIMEOUT: Final = timedelta(seconds=10)
_IDLE_TIMEOUT: Final = timedelta(hours=2)
_STREAM_IDLE_TIMEOUT: Final = timedelta(hours=1)
_TAGS_METADATA: Final = "io.kuma.tags"


def draft_inbound(view: InboundView, internal_cidrs: tuple[str, ...]) -> InboundDraft:
    """The inbound before policies."""
    name = names.inbound_listener(view.address, view.port)
    listener = http.listener(name, view.address, view.port, TrafficDirection.INBOUND)
    listener.enable_reuse_port.value = view.reuse_port
    for key, value in view.tags:
        listener.metadata.filter_metadata[_TAGS_METADATA].fields[key].string_value = value
    if view.tls is TlsMode.PERMISSIVE:
        http.inspect_tls(listener)
    return InboundDraft(view, listener, _local_cluster(view), _chains(view, internal_cidrs))


def _local_cluster(view: InboundView) -> ClusterDraft:
    name = names.local_cluster(view.workload_port)
    endpoint = Endpoint(address=http.socket_address(view.workload_address, view.workload_port))
    cluster = Cluster(name=name, type=Cluster.STATIC, alt_stat_name=names.sanitized(name))
    cluster.connect_timeout.FromTimedelta(_CONNECT_TIMEOUT)
    cluster.load_assignment.cluster_name = name
    cluster.load_assignment.endpoints.append(LocalityLbEndpoints(lb_endpoints=[LbEndpoint(endpoint=endpoint)]))
    options = http.upstream_options(view.protocol, _IDLE_TIMEOUT) if view.is_http else None
    return ClusterDraft(cluster, protocol=view.protocol, http=options)


def _chains(view: InboundView, internal_cidrs: tuple[str, ...]) -> list[ChainDraft]:
    def chain(match: FilterChainMatch | None = None, *, mesh_tls: bool = False) -> ChainDraft:
        draft = ChainDraft(match or FilterChainMatch(), tls.server_context(view.mesh) if mesh_tls else None)
        _add_filters(draft, view, internal_cidrs)
        return draft

    if view.tls is TlsMode.OFF:
        return [chain()]
    if view.tls is TlsMode.STRICT:
        return [chain(mesh_tls=True)]
    return [
        chain(FilterChainMatch(transport_protocol="raw_buffer")),
        # The application's own TLS, which is not ours to end.
        chain(FilterChainMatch(transport_protocol="tls")),
        chain(
            FilterChainMatch(transport_protocol="tls", application_protocols=[names.MESH_ALPN]),
            mesh_tls=True,
        ),
    ]


def _add_filters(chain: ChainDraft, view: InboundView, internal_cidrs: tuple[str, ...]) -> None:
    cluster = names.local_cluster(view.workload_port)
    if not view.is_http:
        if view.kafka_filter:
            chain.network_filters.append(kafka_filter(names.sanitized(cluster)))
        chain.tcp = TcpProxy(stat_prefix=names.sanitized(cluster), cluster=cluster)
        return
    service = view.service
    listener_name = names.inbound_listener(view.address, view.port)
    routes = http.one_route(f"inbound:{service}" if service else listener_name, service or listener_name, cluster)
    routes.request_headers_to_remove.append(names.SOURCE_TAGS_HEADER)
    manager = http.connection_manager(cluster, routes, ipv6=view.ipv6, internal_cidrs=internal_cidrs)
    manager.forward_client_cert_details = HttpConnectionManager.SANITIZE_SET
    manager.set_current_client_cert_details.uri = True
    manager.common_http_protocol_options.idle_timeout.FromTimedelta(_IDLE_TIMEOUT)
    manager.stream_idle_timeout.FromTimedelta(_STREAM_IDLE_TIMEOUT)
    chain.http = manager
    if view.protocol == "grpc":
        chain.http_filters.append(http.grpc_stats())
