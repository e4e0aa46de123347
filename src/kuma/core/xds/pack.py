"""From drafts to frozen resources."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import Message

from kuma.core.xds import names
from kuma.core.xds.draft import ChainDraft, ClusterDraft, InboundDraft, OutboundDraft
from kuma.core.xds.resources import XdsResource
from kuma.envoy_api.envoy.config.cluster.v3.cluster_pb2 import Cluster
from kuma.envoy_api.envoy.config.core.v3.base_pb2 import TransportSocket
from kuma.envoy_api.envoy.config.listener.v3.listener_components_pb2 import Filter, FilterChain
from kuma.envoy_api.envoy.config.listener.v3.listener_pb2 import Listener
from kuma.envoy_api.envoy.extensions.filters.http.router.v3.router_pb2 import Router
from kuma.envoy_api.envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import (
    HttpConnectionManager,
    HttpFilter,
)


def as_any(message: Message) -> AnyMessage:
    """A message in an ``Any``, byte-equal for equal messages."""
    packed = AnyMessage()
    packed.Pack(message, deterministic=True)
    return packed


_ROUTER: Final = HttpFilter(name=names.ROUTER, typed_config=as_any(Router()))


def tls_socket(context: Message) -> TransportSocket:
    """The TLS transport socket with a downstream or upstream context."""
    return TransportSocket(name=names.TLS_TRANSPORT_SOCKET, typed_config=as_any(context))


def cluster_resource(cluster: Cluster) -> XdsResource:
    """A complete cluster, with what it takes its endpoints from."""
    awaits = (cluster.eds_cluster_config.service_name or cluster.name) if cluster.type == Cluster.EDS else ""
    return XdsResource.of(names.CLUSTER, cluster.name, cluster, awaits=awaits)


def packed_cluster(draft: ClusterDraft) -> XdsResource:
    """A cluster with its protocol options and TLS."""
    if draft.http is not None:
        draft.cluster.typed_extension_protocol_options[names.HTTP_PROTOCOL_OPTIONS].Pack(draft.http, deterministic=True)
    if draft.tls is not None:
        draft.cluster.transport_socket.CopyFrom(tls_socket(draft.tls))
    return cluster_resource(draft.cluster)


def packed_listener(listener: Listener, chains: list[ChainDraft], clusters: Iterable[ClusterDraft] = ()) -> XdsResource:
    """A listener with its chains, in order, and the clusters it leads to."""
    listener.filter_chains.extend(_chain(chain) for chain in chains)
    leads_to = frozenset(draft.cluster.name for draft in clusters)
    return XdsResource.of(names.LISTENER, listener.name, listener, leads_to=leads_to)


def packed_inbound(draft: InboundDraft) -> tuple[XdsResource, ...]:
    """The listener and cluster of an inbound."""
    return (
        packed_listener(draft.listener, draft.chains, [draft.local]),
        packed_cluster(draft.local),
        *_packed_once(draft.extra_clusters, {draft.local.cluster.name}),
    )


def packed_outbound(draft: OutboundDraft) -> tuple[XdsResource, ...]:
    """The listener and clusters of an outbound."""
    return (
        packed_listener(draft.listener, [draft.chain], draft.clusters),
        *(packed_cluster(cluster) for cluster in draft.clusters),
        *_packed_once(draft.extra_clusters, {cluster.cluster.name for cluster in draft.clusters}),
    )


def _packed_once(drafts: Iterable[ClusterDraft], taken: set[str]) -> Iterator[XdsResource]:
    """The clusters whose name is not taken yet."""
    for draft in drafts:
        if draft.cluster.name not in taken:
            taken.add(draft.cluster.name)
            yield packed_cluster(draft)


def _chain(draft: ChainDraft) -> FilterChain:
    chain = FilterChain(filters=draft.network_filters)
    if draft.match.ListFields():
        chain.filter_chain_match.CopyFrom(draft.match)
    if draft.http is not None:
        chain.filters.append(_filter(names.HTTP_CONNECTION_MANAGER, _with_filters(draft.http, draft.http_filters)))
    if draft.tcp is not None:
        chain.filters.append(_filter(names.TCP_PROXY, draft.tcp))
    if draft.tls is not None:
        chain.transport_socket.CopyFrom(tls_socket(draft.tls))
    return chain


def _with_filters(http: HttpConnectionManager, filters: list[HttpFilter]) -> HttpConnectionManager:
    http.http_filters.extend((*filters, _ROUTER))
    return http


def _filter(name: str, config: Message) -> Filter:
    return Filter(name=name, typed_config=as_any(config))
