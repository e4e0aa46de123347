"""The listener and clusters of one outbound (spec/xds.md §4.3)."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from kuma.core.xds import http, names, tls
from kuma.core.xds.draft import ChainDraft, ClusterDraft, OutboundDraft
from kuma.core.xds.view import OutboundView
from kuma.envoy_api.envoy.config.cluster.v3.cluster_pb2 import Cluster
from kuma.envoy_api.envoy.config.core.v3.base_pb2 import TrafficDirection
from kuma.envoy_api.envoy.extensions.filters.network.tcp_proxy.v3.tcp_proxy_pb2 import TcpProxy

_CONNECT_TIMEOUT: Final = timedelta(seconds=5)
_TAGS_METADATA: Final = "io.kuma.tags"


def draft_outbound(view: OutboundView, internal_cidrs: tuple[str, ...]) -> OutboundDraft:
    """The outbound before policies."""
    name = names.outbound_listener(view.address, view.port)
    listener = http.listener(name, view.address, view.port, TrafficDirection.OUTBOUND)
    for key, value in view.tags:
        listener.metadata.filter_metadata[_TAGS_METADATA].fields[key].string_value = value
    return OutboundDraft(view, listener, _chain(view, internal_cidrs), [_cluster(view)])


def _chain(view: OutboundView, internal_cidrs: tuple[str, ...]) -> ChainDraft:
    cluster = names.outbound_cluster(view.tags)
    if not view.is_http:
        return ChainDraft(tcp=TcpProxy(stat_prefix=names.sanitized(view.service), cluster=cluster))
    routes = http.one_route(f"outbound:{view.service}", view.service, cluster, names.CATCH_ALL_ROUTE)
    manager = http.connection_manager(view.service, routes, ipv6=view.ipv6, internal_cidrs=internal_cidrs)
    manager.normalize_path.value = True
    return ChainDraft(http=manager, http_filters=[http.grpc_stats()] if view.protocol == "grpc" else [])


def _cluster(view: OutboundView) -> ClusterDraft:
    name = names.outbound_cluster(view.tags)
    cluster = Cluster(name=name, type=Cluster.EDS)
    clean = names.sanitized(name)
    if clean != name:
        cluster.alt_stat_name = clean
    cluster.connect_timeout.FromTimedelta(_CONNECT_TIMEOUT)
    cluster.eds_cluster_config.eds_config.CopyFrom(tls.ADS)
    return ClusterDraft(
        cluster,
        service=view.service,
        protocol=view.protocol,
        # Between proxies of a mesh everything runs over HTTP/2; for TCP the options have no effect.
        http=http.upstream_options("http2"),
        tls=tls.client_context(view.mesh, view.tags) if view.tls else None,
    )
