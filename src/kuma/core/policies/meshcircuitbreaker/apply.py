"""What Envoy gets from MeshCircuitBreaker (spec/policies.md §6).

Every cluster of a proxy reports what is left of its limits, with or without a policy. A detector that is not given is
switched off explicitly, because Envoy would otherwise run it with its own defaults.
"""

from __future__ import annotations

from typing import Final

from google.protobuf.wrappers_pb2 import UInt32Value

from kuma.core.policies._kit.rules import InboundRules, Towards
from kuma.core.policies.meshcircuitbreaker.spec import (
    Conf,
    ConnectionLimits,
    Consecutive,
    FailurePercentage,
    OutlierDetection,
    SuccessRate,
)
from kuma.core.units import parse_decimal
from kuma.core.xds.draft import ClusterDraft, InboundDraft, OutboundDraft
from kuma.envoy_api.envoy.config.cluster.v3.circuit_breaker_pb2 import CircuitBreakers
from kuma.envoy_api.envoy.config.cluster.v3.cluster_pb2 import Cluster
from kuma.envoy_api.envoy.config.cluster.v3.outlier_detection_pb2 import OutlierDetection as EnvoyOutlierDetection
from kuma.envoy_api.envoy.config.core.v3.base_pb2 import DEFAULT

_ON: Final = 100
_LARGEST: Final = 2**32 - 1


def outbound(draft: OutboundDraft, rules: Towards[Conf]) -> None:
    """Limit traffic to other services."""
    for cluster in draft.clusters:
        conf = rules.towards(cluster.service or draft.view.service)
        if conf is not None:
            _write(cluster.cluster, conf)


def inbound(draft: InboundDraft, rules: InboundRules[Conf]) -> None:
    """Limit traffic to the proxy's own application."""
    if rules.catch_all is not None:
        _write(draft.local.cluster, rules.catch_all.conf)


def every_cluster(draft: ClusterDraft) -> None:
    """Have Envoy report how much of each limit is left."""
    _thresholds(draft.cluster).track_remaining = True


def _thresholds(cluster: Cluster) -> CircuitBreakers.Thresholds:
    """The cluster's limits for requests of normal priority."""
    for present in cluster.circuit_breakers.thresholds:
        if present.priority == DEFAULT:
            return present
    return cluster.circuit_breakers.thresholds.add(priority=DEFAULT)


def _write(cluster: Cluster, conf: Conf) -> None:
    if conf.connection_limits is not None:
        _write_limits(_thresholds(cluster), conf.connection_limits)
    outlier = conf.outlier_detection
    if outlier is not None and not outlier.disabled:
        cluster.outlier_detection.CopyFrom(_outlier_detection(outlier))
        if outlier.healthy_panic_threshold is not None:
            percent = float(parse_decimal(str(outlier.healthy_panic_threshold)))
            cluster.common_lb_config.healthy_panic_threshold.value = percent


def _write_limits(thresholds: CircuitBreakers.Thresholds, limits: ConnectionLimits) -> None:
    _set(thresholds.max_connections, limits.max_connections)
    _set(thresholds.max_connection_pools, limits.max_connection_pools)
    _set(thresholds.max_pending_requests, limits.max_pending_requests)
    _set(thresholds.max_retries, limits.max_retries)
    _set(thresholds.max_requests, limits.max_requests)


def _outlier_detection(conf: OutlierDetection) -> EnvoyOutlierDetection:
    made = EnvoyOutlierDetection(split_external_local_origin_errors=conf.split_external_and_local_errors or False)
    if conf.interval is not None:
        made.interval.FromTimedelta(conf.interval)
    if conf.base_ejection_time is not None:
        made.base_ejection_time.FromTimedelta(conf.base_ejection_time)
    _set(made.max_ejection_percent, conf.max_ejection_percent)
    detectors = conf.detectors
    total, gateway, local = (
        (None, None, None)
        if detectors is None
        else (detectors.total_failures, detectors.gateway_failures, detectors.local_origin_failures)
    )
    _write_counter(made.enforcing_consecutive_5xx, made.consecutive_5xx, total)
    _write_counter(made.enforcing_consecutive_gateway_failure, made.consecutive_gateway_failure, gateway)
    _write_counter(made.enforcing_consecutive_local_origin_failure, made.consecutive_local_origin_failure, local)
    if detectors is not None:
        _write_success_rate(made, detectors.success_rate)
        _write_failure_percentage(made, detectors.failure_percentage)
    return made


def _write_counter(enforcing: UInt32Value, limit: UInt32Value, conf: Consecutive | None) -> None:
    _set(enforcing, 0 if conf is None else _ON)
    if conf is not None:
        _set(limit, conf.consecutive)


def _write_success_rate(made: EnvoyOutlierDetection, conf: SuccessRate | None) -> None:
    # The second one counts only where local errors are told apart from the service's own.
    for enforcing in (made.enforcing_success_rate, made.enforcing_local_origin_success_rate):
        _set(enforcing, 0 if conf is None else _ON)
    if conf is None:
        return
    _set(made.success_rate_minimum_hosts, conf.minimum_hosts)
    _set(made.success_rate_request_volume, conf.request_volume)
    if conf.standard_deviation_factor is not None:
        thousandths = int(parse_decimal(str(conf.standard_deviation_factor)) * 1000)
        _set(made.success_rate_stdev_factor, min(thousandths, _LARGEST))


def _write_failure_percentage(made: EnvoyOutlierDetection, conf: FailurePercentage | None) -> None:
    for enforcing in (made.enforcing_failure_percentage, made.enforcing_failure_percentage_local_origin):
        _set(enforcing, 0 if conf is None else _ON)
    if conf is None:
        return
    _set(made.failure_percentage_minimum_hosts, conf.minimum_hosts)
    _set(made.failure_percentage_request_volume, conf.request_volume)
    _set(made.failure_percentage_threshold, conf.threshold)


def _set(field: UInt32Value, value: int | None) -> None:
    """Set a number that may be absent; a zero is written, not left away."""
    if value is not None:
        field.value = value
