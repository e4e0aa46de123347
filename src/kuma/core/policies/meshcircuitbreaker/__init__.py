"""MeshCircuitBreaker: how much a service may be asked at once, and when an endpoint is left out."""

from __future__ import annotations

from typing import Final

from kuma.core.policies._kit.contract import Policy
from kuma.core.policies.meshcircuitbreaker.apply import every_cluster, inbound, outbound
from kuma.core.policies.meshcircuitbreaker.spec import Conf, MeshCircuitBreaker
from kuma.core.policies.meshcircuitbreaker.validate import validate, warnings

POLICY: Final = Policy(
    kind="MeshCircuitBreaker",
    spec=MeshCircuitBreaker,
    conf=Conf,
    validate=validate,
    warnings=warnings,
    outbound=outbound,
    inbound=inbound,
    every_cluster=every_cluster,
)
