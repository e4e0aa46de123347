"""
What Envoy gets from MeshLoadBalancingStrategy on clusters and routes (spec/policies.md §12).

Which endpoints are near is told by ``locality``, because it changes the endpoints of a cluster, not the cluster.
"""

from __future__ import annotations

from typing import Final

from kuma.core.policies._kit.rules import Towards
from kuma.core.policies.meshloadbalancingstrategy.locality import has_weights
from kuma.core.policies.meshloadbalancingstrategy.spec import (
    Conf,
    Connection,
    Cookie,
    FilterState,
    HashPolicies,
    HashPolicy,
    LeastRequest,
    LoadBalancer,
    Maglev,
    Named,
    RingHash,
)
from kuma.core.units import parse_decimal
from kuma.core.xds.draft import OutboundDraft
from kuma.envoy_api.envoy.config.cluster.v3.cluster_pb2 import Cluster
from kuma.envoy_api.envoy.config.route.v3.route_components_pb2 import RouteAction

ENVOY_MIN_RING_SIZE: Final = 1024
_LB_POLICIES: Final = {
    "RoundRobin": Cluster.ROUND_ROBIN,
    "LeastRequest": Cluster.LEAST_REQUEST,
    "RingHash": Cluster.RING_HASH,
    "Random": Cluster.RANDOM,
    "Maglev": Cluster.MAGLEV,
}
_HASH_FUNCTIONS: Final = {
    "XXHash": Cluster.RingHashLbConfig.XX_HASH,
    "MurmurHash2": Cluster.RingHashLbConfig.MURMUR_HASH_2,
}


def outbound(draft: OutboundDraft, rules: Towards[Conf]) -> None:
    """Choose endpoints as asked for, by the same endpoint for requests that are alike."""
    for cluster in draft.clusters:
        conf = rules.towards(cluster.service or draft.view.service)
        if conf is not None:
            _write_cluster(cluster.cluster, conf)
    for route in draft.chain.routes():
        if route.HasField("route"):
            conf = rules.on_route(draft.view.service, route.name)
            if conf is not None:
                route.route.hash_policy.extend(map(_hash_policy, _hash_policies(conf)))


def _write_cluster(cluster: Cluster, conf: Conf) -> None:
    if has_weights(conf.locality_awareness):
        cluster.common_lb_config.locality_weighted_lb_config.SetInParent()
    balancer = conf.load_balancer
    if balancer is None:
        return
    cluster.lb_policy = _LB_POLICIES[balancer.type]
    match balancer:
        case LoadBalancer(type="LeastRequest", least_request=LeastRequest() as least):
            _write_least_request(cluster, least)
        case LoadBalancer(type="RingHash", ring_hash=RingHash() as ring):
            _write_ring_hash(cluster.ring_hash_lb_config, ring)
        case LoadBalancer(type="Maglev", maglev=Maglev(table_size=int() as size)):
            cluster.maglev_lb_config.table_size.value = size


def _write_least_request(cluster: Cluster, conf: LeastRequest) -> None:
    if conf.choice_count is not None:
        cluster.least_request_lb_config.choice_count.value = conf.choice_count
    if conf.active_request_bias is not None:
        bias = float(parse_decimal(str(conf.active_request_bias)))
        cluster.least_request_lb_config.active_request_bias.default_value = bias


def _write_ring_hash(config: Cluster.RingHashLbConfig, conf: RingHash) -> None:
    config.SetInParent()
    config.hash_function = _HASH_FUNCTIONS[conf.hash_function or "XXHash"]
    smallest = conf.min_ring_size
    if conf.max_ring_size is not None:
        config.maximum_ring_size.value = conf.max_ring_size
        # Envoy refuses a smallest size, be it its own or merged from another policy, above the largest.
        if (ENVOY_MIN_RING_SIZE if smallest is None else smallest) > conf.max_ring_size:
            smallest = conf.max_ring_size
    if smallest is not None:
        config.minimum_ring_size.value = smallest


def _hash_policies(conf: Conf) -> HashPolicies:
    """Those at the root; at their old place they count only for the balancer in use."""
    if conf.hash_policies is not None:
        return conf.hash_policies
    match conf.load_balancer:
        case LoadBalancer(type="RingHash", ring_hash=RingHash(hash_policies=tuple() as policies)):
            return policies
        case LoadBalancer(type="Maglev", maglev=Maglev(hash_policies=tuple() as policies)):
            return policies
    return ()


def _hash_policy(conf: HashPolicy) -> RouteAction.HashPolicy:
    made = RouteAction.HashPolicy(terminal=conf.terminal or False)
    match conf:
        case HashPolicy(type="Header", header=Named() as header):
            made.header.header_name = header.name
        case HashPolicy(type="Cookie", cookie=Cookie() as cookie):
            made.cookie.name = cookie.name
            made.cookie.path = cookie.path or ""
            if cookie.ttl is not None:
                made.cookie.ttl.FromTimedelta(cookie.ttl)
        case HashPolicy(type="QueryParameter", query_parameter=Named() as parameter):
            made.query_parameter.name = parameter.name
        case HashPolicy(type="FilterState", filter_state=FilterState() as state):
            made.filter_state.key = state.key
        case HashPolicy(connection=Connection(source_ip=bool() as by_address)):
            made.connection_properties.source_ip = by_address
        case _:
            made.connection_properties.source_ip = conf.type == "SourceIP"
    return made
