"""What a schema cannot say about a MeshFaultInjection."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from kuma.core.errors import Violation
from kuma.core.policies._kit.validation import (
    GATEWAYS_COME_LATER,
    GREATER_THAN_ZERO,
    MUST_BE_DEFINED,
    MUST_NOT_BE_DEFINED,
    NOT_WITH_GATEWAYS,
    RULES_EXCLUDE_FROM,
    TOP_LEVEL_KINDS,
    decimal_percentage,
    includes_gateways,
    match_violations,
    not_negative_duration,
    reference_warnings,
    target_ref_violations,
    top_level_warnings,
)
from kuma.core.policies.meshfaultinjection.spec import Abort, Conf, Delay, MeshFaultInjection, ResponseBandwidth

_FROM_KINDS: Final = ("Mesh", "MeshSubset", "MeshServiceSubset", "MeshService")
_BANDWIDTH: Final = re.compile(r"([0-9]{1,9})\s?([kMG])bps")
_KILOBITS: Final = {"k": 1, "M": 1000, "G": 1_000_000}


def kilobits_per_second(limit: str) -> int | None:
    """``50 Mbps`` is 50000; None when it is no bandwidth."""
    found = _BANDWIDTH.fullmatch(limit)
    return None if found is None else int(found[1]) * _KILOBITS[found[2]]


def validate(spec: MeshFaultInjection) -> Iterator[Violation]:
    """Every broken rule."""
    with_gateways = includes_gateways(spec.target)
    if spec.rules and spec.from_:
        yield Violation("spec", RULES_EXCLUDE_FROM)
    if spec.target_ref is not None:
        yield from target_ref_violations(
            spec.target_ref,
            "spec.targetRef",
            kinds=TOP_LEVEL_KINDS,
            inbound_policy=bool(spec.rules or spec.from_),
            tags_on_gateway=True,
        )
    if spec.from_ and with_gateways:
        yield Violation("spec.from", NOT_WITH_GATEWAYS)
    else:
        for index, item in enumerate(spec.from_):
            path = f"spec.from[{index}]"
            yield from target_ref_violations(item.target_ref, f"{path}.targetRef", kinds=_FROM_KINDS)
            yield from _conf_violations(item.default, f"{path}.default")
    if spec.to and not with_gateways:
        yield Violation("spec.to", MUST_NOT_BE_DEFINED)
    else:
        for index, item in enumerate(spec.to):
            path = f"spec.to[{index}]"
            yield from target_ref_violations(item.target_ref, f"{path}.targetRef", kinds=("Mesh",))
            yield from _conf_violations(item.default, f"{path}.default")
    for index, rule in enumerate(spec.rules):
        path = f"spec.rules[{index}]"
        for number, match in enumerate(rule.matches):
            yield from match_violations(match, f"{path}.matches[{number}]")
        yield from _conf_violations(rule.default, f"{path}.default")


def warnings(spec: MeshFaultInjection) -> Iterator[str]:
    """Deprecated forms, and what is accepted without effect."""
    yield from top_level_warnings(spec.target_ref)
    if spec.from_:
        yield "'from' field is deprecated, use 'rules' with SPIFFE-based 'matches' instead"
    if spec.to:
        yield f"spec.to: {GATEWAYS_COME_LATER}"
    for index, item in enumerate(spec.from_):
        yield from reference_warnings(item.target_ref, f"spec.from[{index}].targetRef")


def _conf_violations(conf: Conf, path: str) -> Iterator[Violation]:
    for index, fault in enumerate(conf.http or ()):
        # The index stands after the name of the fault, as in Kuma.
        if fault.abort is not None:
            yield from _abort_violations(fault.abort, f"{path}.http.abort[{index}]")
        if fault.delay is not None:
            yield from _delay_violations(fault.delay, f"{path}.http.delay[{index}]")
        if fault.response_bandwidth is not None:
            yield from _bandwidth_violations(fault.response_bandwidth, f"{path}.http.responseBandwidth[{index}]")


def _abort_violations(abort: Abort, path: str) -> Iterator[Violation]:
    if not 100 <= abort.http_status <= 599:
        yield Violation(f"{path}.httpStatus", "must be in inclusive range [100, 599]")
    elif abort.http_status < 200:
        yield Violation(f"{path}.httpStatus", "must be 200 or higher: Envoy cannot end a request with less")
    yield from decimal_percentage(abort.percentage, f"{path}.percentage")


def _delay_violations(delay: Delay, path: str) -> Iterator[Violation]:
    yield from not_negative_duration(delay.value, f"{path}.value")
    yield from decimal_percentage(delay.percentage, f"{path}.percentage")


def _bandwidth_violations(bandwidth: ResponseBandwidth, path: str) -> Iterator[Violation]:
    # The path names the fault twice and the limit never, as in Kuma.
    here = f"{path}.responseBandwidth"
    if not bandwidth.limit:
        yield Violation(here, MUST_BE_DEFINED)
    elif (kilobits := kilobits_per_second(bandwidth.limit)) is None:
        yield Violation(here, "must be in kbps/Mbps/Gbps units")
    elif kilobits == 0:
        yield Violation(here, GREATER_THAN_ZERO)
    yield from decimal_percentage(bandwidth.percentage, f"{path}.percentage")
