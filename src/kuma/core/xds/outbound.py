"""The listener and clusters of one outbound (spec/xds.md §4.3)."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from kuma.core.model.labels import SERVICE_TAG
from kuma.core.xds import http, names, tls
from kuma.core.xds.draft import ChainDraft, ClusterDraft, OutboundDraft
from kuma.core.xds.view import Backend, OutboundView, Tags
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
    chain = http_chain(view, internal_cidrs) if view.is_http else _tcp_chain(view)
    own = Backend(view.tags, view.protocol, view.tls)
    return OutboundDraft(view, listener, chain, [_cluster(view.mesh, own)], internal_cidrs)


def lead_to(draft: OutboundDraft, tags: Tags) -> str:
    """
    The name of the cluster for a destination, which is added to the draft on first use.

    ``tags`` must be the outbound's own or those of one of its view's backends.
    """
    name = names.outbound_cluster(tags)
    if all(cluster.cluster.name != name for cluster in draft.clusters):
        backend = next(backend for backend in draft.view.backends if backend.tags == tags)
        draft.clusters.append(_cluster(draft.view.mesh, backend))
    return name


def http_chain(view: OutboundView, internal_cidrs: tuple[str, ...]) -> ChainDraft:
    """A chain that sends every HTTP request to the outbound's own destination."""
    cluster = names.outbound_cluster(view.tags)
    routes = http.one_route(f"outbound:{view.service}", view.service, cluster, names.CATCH_ALL_ROUTE)
    manager = http.connection_manager(view.service, routes, ipv6=view.ipv6, internal_cidrs=internal_cidrs)
    manager.normalize_path.value = True
    if view.caller.on_requests:
        header = manager.route_config.request_headers_to_add.add()
        header.header.key, header.header.value = names.SOURCE_TAGS_HEADER, view.caller.tags
    return ChainDraft(http=manager, http_filters=[http.grpc_stats()] if view.protocol == "grpc" else [])


def _tcp_chain(view: OutboundView) -> ChainDraft:
    cluster = names.outbound_cluster(view.tags)
    return ChainDraft(tcp=TcpProxy(stat_prefix=names.sanitized(view.service), cluster=cluster))


def _cluster(mesh: str, backend: Backend) -> ClusterDraft:
    name = names.outbound_cluster(backend.tags)
    cluster = Cluster(name=name, type=Cluster.EDS)
    clean = names.sanitized(name)
    if clean != name:
        cluster.alt_stat_name = clean
    cluster.connect_timeout.FromTimedelta(_CONNECT_TIMEOUT)
    cluster.eds_cluster_config.eds_config.CopyFrom(tls.ADS)
    return ClusterDraft(
        cluster,
        service=dict(backend.tags)[SERVICE_TAG],
        protocol=backend.protocol,
        # Between proxies of a mesh everything runs over HTTP/2; for TCP the options have no effect.
        http=http.upstream_options("http2"),
        tls=tls.client_context(mesh, backend.tags) if backend.tls else None,
    )
