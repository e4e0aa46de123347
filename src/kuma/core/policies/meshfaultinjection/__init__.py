"""MeshFaultInjection: requests that fail, wait or get slow answers, so that one sees who copes."""

from __future__ import annotations

from typing import Final

from kuma.core.policies._kit.contract import Policy
from kuma.core.policies.meshfaultinjection.apply import inbound
from kuma.core.policies.meshfaultinjection.spec import Conf, MeshFaultInjection
from kuma.core.policies.meshfaultinjection.validate import validate, warnings

POLICY: Final = Policy(
    kind="MeshFaultInjection",
    spec=MeshFaultInjection,
    conf=Conf,
    validate=validate,
    warnings=warnings,
    inbound=inbound,
    knows_callers=True,
)
