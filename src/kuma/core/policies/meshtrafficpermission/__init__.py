"""MeshTrafficPermission: who may call a service. With mutual TLS on and no permission, nobody may."""

from __future__ import annotations

from typing import Final

from kuma.core.policies._kit.contract import Policy
from kuma.core.policies.meshtrafficpermission.apply import inbound
from kuma.core.policies.meshtrafficpermission.spec import Conf, MeshTrafficPermission
from kuma.core.policies.meshtrafficpermission.validate import validate, warnings

POLICY: Final = Policy(
    kind="MeshTrafficPermission",
    spec=MeshTrafficPermission,
    conf=Conf,
    validate=validate,
    warnings=warnings,
    inbound=inbound,
)
