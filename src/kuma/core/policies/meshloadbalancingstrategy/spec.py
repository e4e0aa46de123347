"""What a user may write in a MeshLoadBalancingStrategy."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from kuma.core.model.spec import Duration, Spec
from kuma.core.policies._kit.spec import PolicySpec, TargetRef
from kuma.core.policies._kit.validation import Count, Entries, Number

Name = Annotated[str, Field(min_length=1)]
RingSize = Annotated[int, Field(ge=1, le=8_000_000)]


class AffinityTag(Spec):
    """A tag by which endpoints are near to a proxy that has the same value."""

    key: str
    weight: Count | None = None


class LocalZone(Spec):
    """How traffic is shared among the endpoints of the own zone."""

    affinity_tags: tuple[AffinityTag, ...] | None = None


class FromZones(Spec):
    """The zones whose proxies a failover rule holds for."""

    zones: tuple[str, ...]


class ToZones(Spec):
    """The zones that a failover rule leads to."""

    type: Literal["None", "Only", "Any", "AnyExcept"]
    zones: tuple[str, ...] | None = None


class Failover(Spec):
    """Where traffic goes when no endpoint before is well; without ``from_`` it holds for every zone."""

    from_: Annotated[FromZones | None, Field(alias="from")] = None
    to: ToZones


class FailoverThreshold(Spec):
    """The percentage of endpoints that must be well, or else traffic begins to go elsewhere."""

    percentage: Number


class CrossZone(Spec):
    """What happens when the own zone has no endpoint that is well."""

    failover: tuple[Failover, ...] | None = None
    failover_threshold: FailoverThreshold | None = None


class LocalityAwareness(Spec):
    """Whether near endpoints are preferred, and what near means."""

    disabled: bool | None = None
    local_zone: LocalZone | None = None
    cross_zone: CrossZone | None = None


class Named(Spec):
    """A header or a query parameter that requests are told apart by."""

    name: Name


class Cookie(Spec):
    """A cookie that requests are told apart by; with ``ttl`` one is given to who has none."""

    name: Name
    ttl: Duration | None = None
    path: str | None = None


class Connection(Spec):
    """The connection that requests are told apart by."""

    source_ip: Annotated[bool | None, Field(alias="sourceIP")] = None


class FilterState(Spec):
    """An object of Envoy's filters that requests are told apart by."""

    key: Name


class HashPolicy(Spec):
    """One thing by which requests go to the same endpoint. A ``terminal`` one ends the list once there is a hash."""

    type: Literal["Header", "Cookie", "Connection", "SourceIP", "QueryParameter", "FilterState"]
    terminal: bool | None = None
    header: Named | None = None
    cookie: Cookie | None = None
    connection: Connection | None = None
    query_parameter: Named | None = None
    filter_state: FilterState | None = None


HashPolicies = tuple[HashPolicy, ...]


class RoundRobin(Spec):
    """One endpoint after the other; nothing to set."""


class Random(Spec):
    """Any endpoint; nothing to set."""


class LeastRequest(Spec):
    """The endpoint with the fewest requests among some that are drawn."""

    choice_count: Annotated[int, Field(ge=2, le=2**31 - 1)] | None = None
    active_request_bias: Number | None = None


class RingHash(Spec):
    """The endpoint next to a hash on a ring."""

    hash_function: Literal["XXHash", "MurmurHash2"] | None = None
    min_ring_size: RingSize | None = None
    max_ring_size: RingSize | None = None
    hash_policies: HashPolicies | None = None


class Maglev(Spec):
    """The endpoint that a table tells for a hash."""

    table_size: Annotated[int, Field(ge=1, le=5_000_011)] | None = None
    hash_policies: HashPolicies | None = None


class LoadBalancer(Spec):
    """How an endpoint is chosen."""

    type: Literal["RoundRobin", "LeastRequest", "RingHash", "Random", "Maglev"]
    round_robin: RoundRobin | None = None
    least_request: LeastRequest | None = None
    ring_hash: RingHash | None = None
    random: Random | None = None
    maglev: Maglev | None = None


class Conf(Spec):
    """How traffic to one destination is shared among its endpoints."""

    locality_awareness: LocalityAwareness | None = None
    load_balancer: LoadBalancer | None = None
    hash_policies: HashPolicies | None = None


class To(Spec):
    """A destination."""

    target_ref: TargetRef
    default: Conf = Conf()


class MeshLoadBalancingStrategy(PolicySpec):
    """The spec of a MeshLoadBalancingStrategy."""

    to: Entries[To] = ()
