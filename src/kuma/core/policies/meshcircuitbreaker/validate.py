"""What a schema cannot say about a MeshCircuitBreaker."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from kuma.core.errors import Violation
from kuma.core.policies._kit.validation import (
    FROM_IS_DEPRECATED,
    MUST_BE_DEFINED,
    NO_LIST_DEFINED,
    RULES_EXCLUDE_TO_AND_FROM,
    TOP_LEVEL_KINDS,
    decimal_percentage,
    percentage,
    positive_count,
    positive_decimal,
    positive_duration,
    reference_warnings,
    target_ref_violations,
    top_level_warnings,
)
from kuma.core.policies.meshcircuitbreaker.spec import (
    Conf,
    ConnectionLimits,
    Detectors,
    MeshCircuitBreaker,
    OutlierDetection,
)

_TO_KINDS: Final = ("Mesh", "MeshService", "MeshExternalService", "MeshMultiZoneService")


def validate(spec: MeshCircuitBreaker) -> Iterator[Violation]:
    """Every broken rule."""
    if spec.rules and (spec.to or spec.from_):
        yield Violation("spec", RULES_EXCLUDE_TO_AND_FROM)
    if not (spec.rules or spec.to or spec.from_):
        yield Violation("spec", NO_LIST_DEFINED)
    if spec.target_ref is not None:
        yield from target_ref_violations(
            spec.target_ref,
            "spec.targetRef",
            kinds=TOP_LEVEL_KINDS,
            inbound_policy=bool(spec.rules or spec.from_),
            tags_on_gateway=True,
        )
    for name, items, kinds in (("from", spec.from_, ("Mesh",)), ("to", spec.to, _TO_KINDS)):
        for index, item in enumerate(items):
            path = f"spec.{name}[{index}]"
            yield from target_ref_violations(item.target_ref, f"{path}.targetRef", kinds=kinds)
            yield from _conf_violations(item.default, f"{path}.default")
    for index, rule in enumerate(spec.rules):
        # Kuma reports faults of `rules` under `from`; clients read these paths.
        yield from _conf_violations(rule.default, f"spec.from[{index}].default")


def warnings(spec: MeshCircuitBreaker) -> Iterator[str]:
    """Deprecated forms, and what is accepted without effect."""
    yield from top_level_warnings(spec.target_ref)
    if spec.from_:
        yield FROM_IS_DEPRECATED
    for index, item in enumerate(spec.to):
        yield from reference_warnings(item.target_ref, f"spec.to[{index}].targetRef")


def _conf_violations(conf: Conf, path: str) -> Iterator[Violation]:
    if conf.connection_limits is None and conf.outlier_detection is None:
        yield Violation(path, "at least one of: 'connectionLimits' or 'outlierDetection' should be configured")
    if conf.connection_limits is not None:
        yield from _limits_violations(conf.connection_limits, f"{path}.connectionLimits")
    if conf.outlier_detection is not None:
        yield from _outlier_violations(conf.outlier_detection, f"{path}.outlierDetection")


def _limits_violations(limits: ConnectionLimits, path: str) -> Iterator[Violation]:
    yield from positive_count(limits.max_connections, f"{path}.maxConnections")
    yield from positive_count(limits.max_connection_pools, f"{path}.maxConnectionPools")
    yield from positive_count(limits.max_pending_requests, f"{path}.maxPendingRequests")
    yield from positive_count(limits.max_retries, f"{path}.maxRetries")
    yield from positive_count(limits.max_requests, f"{path}.maxRequests")


def _outlier_violations(outlier: OutlierDetection, path: str) -> Iterator[Violation]:
    yield from positive_duration(outlier.interval, f"{path}.interval")
    yield from positive_duration(outlier.base_ejection_time, f"{path}.baseEjectionTime")
    yield from percentage(outlier.max_ejection_percent, f"{path}.maxEjectionPercent")
    yield from decimal_percentage(outlier.healthy_panic_threshold, f"{path}.healthyPanicThreshold")
    if outlier.detectors is None:
        yield Violation(f"{path}.detectors", MUST_BE_DEFINED)
    else:
        yield from _detectors_violations(outlier.detectors, f"{path}.detectors")


def _detectors_violations(detectors: Detectors, path: str) -> Iterator[Violation]:
    if detectors == Detectors():
        yield Violation(
            path,
            "must have at least one defined: "
            "totalFailures, gatewayFailures, localOriginFailures, successRate, failurePercentage",
        )
    for name, counter in (
        ("totalFailures", detectors.total_failures),
        ("gatewayFailures", detectors.gateway_failures),
        ("localOriginFailures", detectors.local_origin_failures),
    ):
        if counter is not None:
            yield from positive_count(counter.consecutive, f"{path}.{name}.consecutive")
    if (rate := detectors.success_rate) is not None:
        here = f"{path}.successRate"
        yield from positive_count(rate.minimum_hosts, f"{here}.minimumHosts")
        yield from positive_count(rate.request_volume, f"{here}.requestVolume")
        yield from positive_decimal(rate.standard_deviation_factor, f"{here}.standardDeviationFactor")
    if (failures := detectors.failure_percentage) is not None:
        here = f"{path}.failurePercentage"
        yield from positive_count(failures.minimum_hosts, f"{here}.minimumHosts")
        yield from positive_count(failures.request_volume, f"{here}.requestVolume")
        yield from percentage(failures.threshold, f"{here}.threshold")
