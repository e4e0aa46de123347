"""MeshRetry: when and how a failed call to another service is tried again."""

from __future__ import annotations

from typing import Final

from kuma.core.policies._kit.contract import Policy
from kuma.core.policies.meshretry.apply import outbound
from kuma.core.policies.meshretry.spec import Conf, MeshRetry
from kuma.core.policies.meshretry.validate import validate, warnings

POLICY: Final = Policy(
    kind="MeshRetry",
    spec=MeshRetry,
    conf=Conf,
    validate=validate,
    warnings=warnings,
    outbound=outbound,
)
