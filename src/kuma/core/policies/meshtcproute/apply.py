"""What Envoy gets from MeshTCPRoute (spec/policies.md §11): where an outbound's connections go."""

from __future__ import annotations

from kuma.core.policies._kit.backends import BackendRef, service_tags, shares, write_shares
from kuma.core.policies._kit.rules import Towards
from kuma.core.policies.meshtcproute.spec import Conf
from kuma.core.xds import names
from kuma.core.xds.draft import ChainDraft, OutboundDraft
from kuma.core.xds.outbound import lead_to
from kuma.envoy_api.envoy.extensions.filters.network.tcp_proxy.v3.tcp_proxy_pb2 import TcpProxy

NOWHERE = "kuma:no-backend"
"""A cluster that never exists: connections are closed, as nothing is left that they may be led to."""


def outbound(draft: OutboundDraft, rules: Towards[Conf]) -> None:
    """
    Lead connections to the rule's backends.

    A service that speaks HTTP is taken over as a whole, unless MeshHTTPRoute has rules for it.
    """
    conf = rules.towards(draft.view.service)
    if conf is None or conf.backend_refs is None or draft.routed:
        return

    def cluster_of(ref: BackendRef) -> str | None:
        tags = service_tags(ref)
        return None if tags is None else lead_to(draft, tags)

    split = shares(conf.backend_refs, cluster_of)
    tcp = TcpProxy(stat_prefix=names.sanitized(draft.view.service), cluster=NOWHERE)
    if split:
        write_shares(tcp, split)
    draft.chain = ChainDraft(tcp=tcp)
