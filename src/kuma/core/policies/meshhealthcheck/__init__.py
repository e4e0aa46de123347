"""MeshHealthCheck: how a proxy finds out which endpoints of a service are well."""

from __future__ import annotations

from typing import Final

from kuma.core.policies._kit.contract import Policy
from kuma.core.policies.meshhealthcheck.apply import outbound
from kuma.core.policies.meshhealthcheck.spec import Conf, MeshHealthCheck
from kuma.core.policies.meshhealthcheck.validate import validate, warnings

POLICY: Final = Policy(
    kind="MeshHealthCheck",
    spec=MeshHealthCheck,
    conf=Conf,
    validate=validate,
    warnings=warnings,
    outbound=outbound,
    probes=True,
)
