"""Half-made Envoy resources that policies write on.

The only mutable objects of the core: created inside ``generate``, handed to each policy in order, packed into
frozen resources, dropped. Nothing keeps a draft.

A listener's filters stay apart from the listener until all policies have run, so that a policy edits a typed message
(an ``HttpConnectionManager``, a ``TcpProxy``) and never unpacks an ``Any``.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from kuma.core.xds.view import InboundView, OutboundView
from kuma.envoy_api.envoy.config.cluster.v3.cluster_pb2 import Cluster
from kuma.envoy_api.envoy.config.listener.v3.listener_components_pb2 import Filter, FilterChainMatch
from kuma.envoy_api.envoy.config.listener.v3.listener_pb2 import Listener
from kuma.envoy_api.envoy.config.route.v3.route_components_pb2 import Route
from kuma.envoy_api.envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import (
    HttpConnectionManager,
    HttpFilter,
)
from kuma.envoy_api.envoy.extensions.filters.network.tcp_proxy.v3.tcp_proxy_pb2 import TcpProxy
from kuma.envoy_api.envoy.extensions.transport_sockets.tls.v3.tls_pb2 import DownstreamTlsContext, UpstreamTlsContext
from kuma.envoy_api.envoy.extensions.upstreams.http.v3.http_protocol_options_pb2 import HttpProtocolOptions


@dataclass(slots=True)
class ClusterDraft:
    """
    A cluster; ``service`` is the destination it leads to, empty for the proxy's own application.

    ``http`` is packed into the cluster's extension protocol options when set.
    """

    cluster: Cluster
    service: str = ""
    protocol: str = "tcp"
    http: HttpProtocolOptions | None = None
    tls: UpstreamTlsContext | None = None


@dataclass(slots=True)
class ChainDraft:
    """
    One filter chain: network filters, then either HTTP (``http`` with ``http_filters``) or TCP (``tcp``).

    The router is appended to ``http_filters`` when packed. ``tls`` None is a plaintext chain.
    """

    match: FilterChainMatch = field(default_factory=FilterChainMatch)
    tls: DownstreamTlsContext | None = None
    network_filters: list[Filter] = field(default_factory=list)
    http: HttpConnectionManager | None = None
    http_filters: list[HttpFilter] = field(default_factory=list)
    tcp: TcpProxy | None = None

    def routes(self) -> list[Route]:
        """Every route of the chain's inline route configuration; empty for a TCP chain."""
        if self.http is None:
            return []
        return [route for host in self.http.route_config.virtual_hosts for route in host.routes]


@dataclass(slots=True)
class InboundDraft:
    """One inbound: its listener, whose chains lead to the proxy's own application, and that cluster."""

    view: InboundView
    listener: Listener
    local: ClusterDraft
    chains: list[ChainDraft]
    extra_clusters: list[ClusterDraft] = field(default_factory=list)
    """What the proxy calls on its own account, such as collectors; of two with one name the first counts."""


@dataclass(slots=True)
class OutboundDraft:
    """One outbound: its listener with one chain, and the clusters the chain leads to."""

    view: OutboundView
    listener: Listener
    chain: ChainDraft
    clusters: list[ClusterDraft]
    internal_cidrs: tuple[str, ...] = ()
    routed: bool = False
    """Whether rules for single requests decide where they go."""
    extra_clusters: list[ClusterDraft] = field(default_factory=list)
    """What the proxy calls on its own account, such as collectors; of two with one name the first counts."""
