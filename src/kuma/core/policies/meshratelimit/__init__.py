"""MeshRateLimit: how many requests and connections an inbound takes."""

from __future__ import annotations

from typing import Final

from kuma.core.policies._kit.contract import Policy
from kuma.core.policies.meshratelimit.apply import inbound
from kuma.core.policies.meshratelimit.spec import Conf, MeshRateLimit
from kuma.core.policies.meshratelimit.validate import validate, warnings

POLICY: Final = Policy(
    kind="MeshRateLimit",
    spec=MeshRateLimit,
    conf=Conf,
    validate=validate,
    warnings=warnings,
    inbound=inbound,
)
