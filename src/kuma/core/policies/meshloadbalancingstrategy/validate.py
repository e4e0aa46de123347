"""What a schema cannot say about a MeshLoadBalancingStrategy."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from math import isqrt
from typing import Final

from kuma.core.errors import Violation
from kuma.core.policies._kit.spec import TargetRef
from kuma.core.policies._kit.validation import (
    GREATER_THAN_ZERO,
    MUST_BE_DEFINED,
    MUST_NOT_BE_EMPTY,
    NEEDS_AN_ITEM,
    TOP_LEVEL_KINDS,
    decimal_percentage,
    header_value_violations,
    not_negative_duration,
    positive_count,
    reference_warnings,
    target_ref_violations,
    top_level_warnings,
)
from kuma.core.policies.meshloadbalancingstrategy.spec import (
    Conf,
    CrossZone,
    Failover,
    HashPolicies,
    HashPolicy,
    LeastRequest,
    LoadBalancer,
    LocalZone,
    Maglev,
    MeshLoadBalancingStrategy,
    RingHash,
    To,
)
from kuma.core.units import parse_decimal

_TO_KINDS: Final = ("Mesh", "MeshService", "MeshMultiZoneService")
_ROUTE: Final = "MeshHTTPRoute"
_ONLY_HASH_POLICIES: Final = "field is not allowed when targetRef.kind is MeshHTTPRoute, only hashPolicies is supported"
_GIVEN_TWICE: Final = "hashPolicies already specified in the root level"
_LARGEST_BIAS: Final = Decimal(10**9)


def validate(spec: MeshLoadBalancingStrategy) -> Iterator[Violation]:
    """Every broken rule."""
    if spec.target_ref is not None:
        yield from target_ref_violations(spec.target_ref, "spec.targetRef", kinds=TOP_LEVEL_KINDS, tags_on_gateway=True)
    if not spec.to:
        yield Violation("spec.to", NEEDS_AN_ITEM)
    for index, item in enumerate(spec.to):
        path = f"spec.to[{index}]"
        yield from _reference_violations(item, f"{path}.targetRef", on_gateway=spec.target.kind == "MeshGateway")
        yield from _conf_violations(item.default, item.target_ref, f"{path}.default")


def warnings(spec: MeshLoadBalancingStrategy) -> Iterator[str]:
    """Deprecated forms, and what is accepted without effect."""
    yield from top_level_warnings(spec.target_ref)
    for index, item in enumerate(spec.to):
        path = f"spec.to[{index}]"
        yield from reference_warnings(item.target_ref, f"{path}.targetRef")
        for name, policies in _hash_policies(item.default.load_balancer):
            here = f"{path}.default.loadBalancer.{name}.hashPolicies"
            yield f"configuration '{here}' is deprecated, use '{path}.default.hashPolicies' instead"
            for number, policy in enumerate(policies):
                if policy.type == "SourceIP":
                    yield f"SourceIP type for '{here}[{number}].type' is deprecated, use Connection instead"


def _reference_violations(item: To, path: str, *, on_gateway: bool) -> Iterator[Violation]:
    ref = item.target_ref
    if on_gateway and item.default.load_balancer is not None and ref.kind not in {"", "Mesh"}:
        yield Violation(f"{path}.kind", "value is not supported, only Mesh is allowed if loadBalancer is set")
        return
    yield from target_ref_violations(ref, path, kinds=_TO_KINDS if on_gateway else (*_TO_KINDS, _ROUTE))


def _conf_violations(conf: Conf, ref: TargetRef, path: str) -> Iterator[Violation]:
    if ref.kind == _ROUTE:
        yield from _hash_violations(conf.hash_policies, f"{path}.hashPolicies")
        for name, value in (("loadBalancer", conf.load_balancer), ("localityAwareness", conf.locality_awareness)):
            if value is not None:
                yield Violation(f"{path}.{name}", _ONLY_HASH_POLICIES)
        return
    if conf.load_balancer is not None:
        yield from _balancer_violations(conf.load_balancer, f"{path}.loadBalancer")
    if conf.locality_awareness is not None:
        here = f"{path}.localityAwareness"
        yield from _local_violations(conf.locality_awareness.local_zone, f"{here}.localZone")
        yield from _cross_violations(conf.locality_awareness.cross_zone, ref, f"{here}.crossZone")
    yield from _hash_violations(conf.hash_policies, f"{path}.hashPolicies")
    if conf.hash_policies is not None:
        for name, _ in _hash_policies(conf.load_balancer):
            yield Violation(f"{path}.loadBalancer.{name}.hashPolicies", _GIVEN_TWICE)


def _hash_policies(balancer: LoadBalancer | None) -> Iterator[tuple[str, HashPolicies]]:
    """Hash policies at their old place."""
    if balancer is None:
        return
    for name, part in (("ringHash", balancer.ring_hash), ("maglev", balancer.maglev)):
        if part is not None and part.hash_policies is not None:
            yield name, part.hash_policies


def _balancer_violations(balancer: LoadBalancer, path: str) -> Iterator[Violation]:
    """Parts of other types are checked too: a policy that is merged over this one may name their type."""
    if balancer.ring_hash is not None:
        yield from _ring_violations(balancer.ring_hash, f"{path}.ringHash")
    if balancer.maglev is not None:
        yield from _maglev_violations(balancer.maglev, f"{path}.maglev")
    if balancer.least_request is not None:
        yield from _least_violations(balancer.least_request, f"{path}.leastRequest")


def _ring_violations(ring: RingHash, path: str) -> Iterator[Violation]:
    yield from _hash_violations(ring.hash_policies, f"{path}.hashPolicies")
    if ring.min_ring_size is not None and ring.max_ring_size is not None and ring.min_ring_size > ring.max_ring_size:
        yield Violation(f"{path}.minRingSize", "must not be greater than maxRingSize")


def _maglev_violations(maglev: Maglev, path: str) -> Iterator[Violation]:
    yield from _hash_violations(maglev.hash_policies, f"{path}.hashPolicies")
    if maglev.table_size is not None and not _is_prime(maglev.table_size):
        yield Violation(f"{path}.tableSize", "must be a prime number, such as 65537")


def _is_prime(number: int) -> bool:
    return number > 1 and all(number % divisor for divisor in range(2, isqrt(number) + 1))


def _least_violations(least: LeastRequest, path: str) -> Iterator[Violation]:
    if least.active_request_bias is None:
        return
    here = f"{path}.activeRequestBias"
    try:
        number = parse_decimal(str(least.active_request_bias))
    except ValueError:
        yield Violation(here, "string must be a valid number")
        return
    if number < 0:
        yield Violation(here, "must be greater or equal then: 0")
    if number > _LARGEST_BIAS:
        yield Violation(here, f"must not be greater than {_LARGEST_BIAS}")


def _hash_violations(policies: HashPolicies | None, path: str) -> Iterator[Violation]:
    for index, policy in enumerate(policies or ()):
        yield from _one_hash_violations(policy, f"{path}[{index}]")


def _one_hash_violations(policy: HashPolicy, path: str) -> Iterator[Violation]:
    name, needed = {
        "Header": ("header", policy.header),
        "Cookie": ("cookie", policy.cookie),
        "QueryParameter": ("queryParameter", policy.query_parameter),
        "FilterState": ("filterState", policy.filter_state),
        "Connection": ("connection", policy.connection),
        "SourceIP": ("connection", policy.connection),
    }[policy.type]
    if needed is None:
        yield Violation(f"{path}.{name}", MUST_BE_DEFINED)
    if policy.header is not None:
        yield from header_value_violations(policy.header.name, f"{path}.header.name")
    if policy.cookie is not None:
        here = f"{path}.cookie"
        yield from header_value_violations(policy.cookie.name, f"{here}.name")
        yield from not_negative_duration(policy.cookie.ttl, f"{here}.ttl")
        if policy.cookie.path is not None:
            yield from header_value_violations(policy.cookie.path, f"{here}.path")
            if not policy.cookie.path.startswith("/"):
                yield Violation(f"{here}.path", "must be an absolute path")


def _local_violations(zone: LocalZone | None, path: str) -> Iterator[Violation]:
    tags = zone.affinity_tags or () if zone is not None else ()
    for index, tag in enumerate(tags):
        here = f"{path}.affinityTags[{index}]"
        if not tag.key:
            yield Violation(f"{here}.key", MUST_NOT_BE_EMPTY)
        yield from positive_count(tag.weight, f"{here}.weight")
    if len({tag.weight is None for tag in tags}) > 1:
        yield Violation(f"{path}.affinityTags", "all or none affinity tags should have weight")


def _cross_violations(cross: CrossZone | None, ref: TargetRef, path: str) -> Iterator[Violation]:
    if cross is None:
        return
    if ref.kind == "MeshService" and (ref.section_name or ref.labels):
        yield Violation(path, "must not be set: MeshService traffic is local")
    for index, rule in enumerate(cross.failover or ()):
        yield from _failover_violations(rule, f"{path}.failover[{index}]")
    if cross.failover_threshold is not None:
        here, value = f"{path}.failoverThreshold.percentage", cross.failover_threshold.percentage
        wrong = list(decimal_percentage(value, here))
        yield from wrong
        if not wrong and parse_decimal(str(value)) == 0:
            yield Violation(here, GREATER_THAN_ZERO)


def _failover_violations(rule: Failover, path: str) -> Iterator[Violation]:
    if rule.from_ is not None:
        here = f"{path}.from.zones"
        if not rule.from_.zones:
            yield Violation(here, MUST_NOT_BE_EMPTY)
        for index, zone in enumerate(rule.from_.zones):
            if not zone:
                yield Violation(f"{here}[{index}]", MUST_NOT_BE_EMPTY)
    if rule.to.type in {"Any", "None"} and rule.to.zones:
        yield Violation(f"{path}.to.zones", f"must be empty when type is {rule.to.type}")
    if rule.to.type in {"AnyExcept", "Only"} and not rule.to.zones:
        yield Violation(f"{path}.to.zones", f"must not be empty when type is {rule.to.type}")
