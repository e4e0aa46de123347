"""MeshLoadBalancingStrategy: which endpoint of a service a request goes to."""

from __future__ import annotations

from typing import Final

from kuma.core.policies._kit.contract import Policy
from kuma.core.policies.meshloadbalancingstrategy.apply import outbound
from kuma.core.policies.meshloadbalancingstrategy.locality import nearness
from kuma.core.policies.meshloadbalancingstrategy.spec import Conf, MeshLoadBalancingStrategy
from kuma.core.policies.meshloadbalancingstrategy.validate import validate, warnings

POLICY: Final = Policy(
    kind="MeshLoadBalancingStrategy",
    spec=MeshLoadBalancingStrategy,
    conf=Conf,
    validate=validate,
    warnings=warnings,
    outbound=outbound,
    nearness=lambda conf, place: nearness(conf.locality_awareness, place),
)
