"""The admin interface and readiness of a proxy as Envoy resources (spec/xds.md §4.1).

Unlike Kuma, the admin listener's own certificate comes as a secret and is not written into the listener: so the
listener stays the same across restarts of the control plane, and the certificate can be renewed.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from kuma.core.xds import http, names, tls
from kuma.core.xds.draft import ChainDraft, ClusterDraft
from kuma.core.xds.pack import packed_listener
from kuma.core.xds.resources import XdsResource
from kuma.core.xds.view import AdminView
from kuma.envoy_api.envoy.config.cluster.v3.cluster_pb2 import Cluster
from kuma.envoy_api.envoy.config.core.v3.address_pb2 import Address, Pipe
from kuma.envoy_api.envoy.config.core.v3.base_pb2 import DataSource, TrafficDirection
from kuma.envoy_api.envoy.config.endpoint.v3.endpoint_components_pb2 import Endpoint, LbEndpoint, LocalityLbEndpoints
from kuma.envoy_api.envoy.config.listener.v3.listener_components_pb2 import FilterChainMatch
from kuma.envoy_api.envoy.config.route.v3.route_components_pb2 import Route, RouteAction, RouteMatch, VirtualHost
from kuma.envoy_api.envoy.config.route.v3.route_pb2 import RouteConfiguration
from kuma.envoy_api.envoy.extensions.transport_sockets.tls.v3.common_pb2 import (
    CertificateValidationContext,
    SubjectAltNameMatcher,
)
from kuma.envoy_api.envoy.extensions.transport_sockets.tls.v3.tls_pb2 import CommonTlsContext, DownstreamTlsContext
from kuma.envoy_api.envoy.type.matcher.v3.string_pb2 import StringMatcher

_CONNECT_TIMEOUT: Final = timedelta(seconds=5)
CLIENT_NAME: Final = "kuma-cp"
"""The DNS name in the control plane's client certificate, the only one the admin listener lets in."""
_READY: Final = "/ready"


def admin_clusters(view: AdminView) -> tuple[ClusterDraft, ...]:
    """The clusters of the admin interface and of the readiness reporter."""
    if view.socket_path:
        admin = Address(pipe=Pipe(path=view.socket_path))
    else:
        admin = http.socket_address(view.admin_address, view.port)
    readiness = http.socket_address(view.admin_address, view.readiness_port)
    return _static(names.ADMIN, admin), _static(names.READINESS, readiness)


def has_admin_listener(view: AdminView) -> bool:
    """
    Whether the control plane reaches the admin interface by a listener.

    On the admin interface's own address there is no second one: the control plane uses the socket there. And Envoy
    would refuse one where the application's traffic arrives.
    """
    return view.address != view.admin_address and not view.taken


def admin_listener(view: AdminView, internal_cidrs: tuple[str, ...]) -> XdsResource:
    """Readiness for everybody, the admin interface for the control plane."""
    listener = http.listener(names.ADMIN, view.address, view.port, TrafficDirection.INBOUND)
    listener.enable_reuse_port.value = False
    http.inspect_tls(listener)

    def chain(routes: list[Route], match: FilterChainMatch, context: DownstreamTlsContext | None) -> ChainDraft:
        config = RouteConfiguration(virtual_hosts=[VirtualHost(name=names.ADMIN, domains=["*"], routes=routes)])
        config.validate_clusters.value = False
        manager = http.connection_manager(names.ADMIN, config, ipv6=True, internal_cidrs=internal_cidrs)
        return ChainDraft(match, context, http=manager)

    ready = _route(_READY, names.READINESS, rewrite=_READY)
    everything = _route("/", names.ADMIN)
    return packed_listener(
        listener,
        [
            chain([ready], FilterChainMatch(), None),
            chain([ready, everything], FilterChainMatch(transport_protocol="tls"), _server_context(view)),
        ],
    )


def _server_context(view: AdminView) -> DownstreamTlsContext:
    san = SubjectAltNameMatcher(san_type=SubjectAltNameMatcher.DNS, matcher=StringMatcher(exact=CLIENT_NAME))
    common = CommonTlsContext(
        tls_certificate_sds_secret_configs=[tls.sds_secret(names.ADMIN_SECRET)],
        validation_context=CertificateValidationContext(
            trusted_ca=DataSource(inline_bytes=view.trusted_ca), match_typed_subject_alt_names=[san]
        ),
    )
    context = DownstreamTlsContext(common_tls_context=common)
    context.require_client_certificate.value = True
    return context


def _route(prefix: str, cluster: str, rewrite: str = "") -> Route:
    return Route(match=RouteMatch(prefix=prefix), route=RouteAction(cluster=cluster, prefix_rewrite=rewrite))


def _static(name: str, address: Address) -> ClusterDraft:
    cluster = Cluster(name=name, type=Cluster.STATIC, alt_stat_name=names.sanitized(name))
    cluster.connect_timeout.FromTimedelta(_CONNECT_TIMEOUT)
    cluster.load_assignment.cluster_name = name
    endpoint = LbEndpoint(endpoint=Endpoint(address=address))
    cluster.load_assignment.endpoints.append(LocalityLbEndpoints(lb_endpoints=[endpoint]))
    return ClusterDraft(cluster)
