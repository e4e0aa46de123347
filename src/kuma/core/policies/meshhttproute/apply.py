"""What Envoy gets from MeshHTTPRoute (spec/policies.md §10): the routes of an outbound, and clusters they lead to."""

from __future__ import annotations

from kuma.core.policies._kit.backends import BackendRef, Weighted, service_tags, shares
from kuma.core.policies._kit.rules import Towards
from kuma.core.policies.meshhttproute.filters import envoy_routes
from kuma.core.policies.meshhttproute.matching import entries
from kuma.core.policies.meshhttproute.spec import Conf
from kuma.core.xds import names
from kuma.core.xds.draft import OutboundDraft
from kuma.core.xds.http import as_asked
from kuma.core.xds.outbound import http_chain, lead_to
from kuma.core.xds.view import HTTP_PROTOCOLS


def outbound(draft: OutboundDraft, rules: Towards[Conf]) -> None:
    """
    Replace the one route of an outbound by those of its rules.

    A service that does not speak HTTP is taken for one that does, because its rules only make sense so.
    """
    conf = rules.towards(draft.view.service)
    if conf is None or not conf.rules:
        return
    if draft.chain.http is None:
        draft.chain = http_chain(draft.view, draft.internal_cidrs)
    draft.routed = True

    def cluster_of(ref: BackendRef) -> str | None:
        tags = service_tags(ref)
        return None if tags is None else lead_to(draft, tags)

    itself = (Weighted(names.outbound_cluster(draft.view.tags), 1),)
    assert draft.chain.http is not None  # noqa: S101 - made just above
    host = draft.chain.http.route_config.virtual_hosts[0]
    del host.routes[:]
    for entry in entries(conf.rules):
        backends = entry.conf.backend_refs
        split = itself if backends is None else shares(backends, cluster_of)
        host.routes.extend(envoy_routes(entry, split, cluster_of))
    for cluster in draft.clusters:
        # The proxy there hands the bytes on as they come: HTTP/2 between proxies would be HTTP/2 for the application.
        if cluster.http is not None and cluster.protocol not in HTTP_PROTOCOLS:
            as_asked(cluster.http)
