"""What a schema cannot say about a MeshHealthCheck."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from kuma.core.errors import Violation
from kuma.core.policies._kit.headers import header_changes_violations
from kuma.core.policies._kit.validation import (
    GREATER_THAN_ZERO_WHEN_DEFINED,
    MUST_BE_DEFINED,
    TOP_LEVEL_KINDS,
    decimal_percentage,
    header_value_violations,
    percentage,
    positive_duration,
    reference_warnings,
    target_ref_violations,
    top_level_warnings,
)
from kuma.core.policies.meshhealthcheck.spec import Conf, Http, MeshHealthCheck

_TO_KINDS: Final = ("Mesh", "MeshService", "MeshExternalService", "MeshMultiZoneService")
_BAD_PATH: Final = "must be a valid path when defined"
_FILE: Final = re.compile(r"/[^\x00]*[^/\x00]")
_PANIC_IS_DEPRECATED: Final = (
    "healthyPanicThreshold for 'to[].default' is deprecated. The setting has been moved to MeshCircuitBreaker policy, "
    "please use MeshCircuitBreaker policy instead."
)


def validate(spec: MeshHealthCheck) -> Iterator[Violation]:
    """Every broken rule."""
    if spec.target_ref is not None:
        yield from target_ref_violations(spec.target_ref, "spec.targetRef", kinds=TOP_LEVEL_KINDS, tags_on_gateway=True)
    for index, item in enumerate(spec.to):
        path = f"spec.to[{index}]"
        yield from target_ref_violations(item.target_ref, f"{path}.targetRef", kinds=_TO_KINDS)
        yield from _conf_violations(item.default, f"{path}.default")


def warnings(spec: MeshHealthCheck) -> Iterator[str]:
    """Deprecated forms, and what is accepted without effect."""
    yield from top_level_warnings(spec.target_ref)
    for index, item in enumerate(spec.to):
        yield from reference_warnings(item.target_ref, f"spec.to[{index}].targetRef")
    if any(item.default.healthy_panic_threshold is not None for item in spec.to):
        yield _PANIC_IS_DEPRECATED


def _conf_violations(conf: Conf, path: str) -> Iterator[Violation]:
    yield from positive_duration(conf.interval, f"{path}.interval")
    yield from positive_duration(conf.timeout, f"{path}.timeout")
    for name, threshold in (
        ("unhealthyThreshold", conf.unhealthy_threshold),
        ("healthyThreshold", conf.healthy_threshold),
    ):
        if threshold == 0:
            yield Violation(f"{path}.{name}", GREATER_THAN_ZERO_WHEN_DEFINED)
    yield from positive_duration(conf.initial_jitter, f"{path}.initialJitter")
    yield from positive_duration(conf.interval_jitter, f"{path}.intervalJitter")
    yield from percentage(conf.interval_jitter_percent, f"{path}.intervalJitterPercent")
    yield from decimal_percentage(conf.healthy_panic_threshold, f"{path}.healthyPanicThreshold")
    yield from positive_duration(conf.no_traffic_interval, f"{path}.noTrafficInterval")
    if conf.event_log_path is not None and not _FILE.fullmatch(conf.event_log_path):
        yield Violation(f"{path}.eventLogPath", _BAD_PATH)
    if conf.http is not None:
        yield from _http_violations(conf.http, f"{path}.http")
    if conf.grpc is not None and conf.grpc.authority is not None:
        yield from header_value_violations(conf.grpc.authority, f"{path}.grpc.authority")
    if conf.http is None and conf.tcp is None and conf.grpc is None:
        yield Violation(path, "must have at least one defined: http, tcp, grpc")


def _http_violations(http: Http, path: str) -> Iterator[Violation]:
    if http.path is not None:
        if not http.path:
            yield Violation(f"{path}.path", MUST_BE_DEFINED)
        yield from header_value_violations(http.path, f"{path}.path")
    if http.request_headers_to_add is not None:
        yield from header_changes_violations(http.request_headers_to_add, f"{path}.requestHeadersToAdd")
    for index, status in enumerate(http.expected_statuses or ()):
        if not 100 <= status <= 599:
            yield Violation(f"{path}.expectedStatuses[{index}]", "must be in inclusive range [100, 599]")
