"""MeshTimeout: how long connections, requests and streams may take."""

from __future__ import annotations

from typing import Final

from kuma.core.policies._kit.contract import Policy
from kuma.core.policies.meshtimeout.apply import inbound, outbound
from kuma.core.policies.meshtimeout.spec import Conf, MeshTimeout
from kuma.core.policies.meshtimeout.validate import validate, warnings

POLICY: Final = Policy(
    kind="MeshTimeout",
    spec=MeshTimeout,
    conf=Conf,
    validate=validate,
    warnings=warnings,
    outbound=outbound,
    inbound=inbound,
)
