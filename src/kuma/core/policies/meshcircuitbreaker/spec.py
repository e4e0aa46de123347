"""What a user may write in a MeshCircuitBreaker."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from kuma.core.model.spec import Duration, Spec
from kuma.core.policies._kit.spec import PolicySpec, TargetRef
from kuma.core.policies._kit.validation import Count, Entries, Number


class ConnectionLimits(Spec):
    """How much may be under way to one destination at once."""

    max_connections: Count | None = None
    max_connection_pools: Count | None = None
    max_pending_requests: Count | None = None
    max_retries: Count | None = None
    max_requests: Count | None = None


class Consecutive(Spec):
    """A detector that counts failures in a row."""

    consecutive: Count | None = None


class SuccessRate(Spec):
    """A detector that compares an endpoint with the others."""

    minimum_hosts: Count | None = None
    request_volume: Count | None = None
    standard_deviation_factor: Number | None = None


class FailurePercentage(Spec):
    """A detector with a fixed limit of failures."""

    minimum_hosts: Count | None = None
    request_volume: Count | None = None
    threshold: Count | None = None


class Detectors(Spec):
    """What counts as a failing endpoint; a detector that is not given is off."""

    total_failures: Consecutive | None = None
    gateway_failures: Consecutive | None = None
    local_origin_failures: Consecutive | None = None
    success_rate: SuccessRate | None = None
    failure_percentage: FailurePercentage | None = None


class OutlierDetection(Spec):
    """When an endpoint is left out, and for how long."""

    disabled: bool | None = None
    interval: Duration | None = None
    base_ejection_time: Duration | None = None
    max_ejection_percent: Count | None = None
    split_external_and_local_errors: bool | None = None
    healthy_panic_threshold: Number | None = None
    detectors: Detectors | None = None


class Conf(Spec):
    """Limits and outlier detection for one direction of traffic."""

    connection_limits: ConnectionLimits | None = None
    outlier_detection: OutlierDetection | None = None


class Item(Spec):
    """An entry of ``to`` (destinations) or ``from`` (sources)."""

    target_ref: TargetRef
    default: Conf = Conf()


class Rule(Spec):
    """What holds for all traffic to the proxy's own application."""

    default: Conf = Conf()


class MeshCircuitBreaker(PolicySpec):
    """The spec of a MeshCircuitBreaker."""

    to: Entries[Item] = ()
    from_: Annotated[Entries[Item], Field(alias="from")] = ()
    rules: Entries[Rule] = ()
