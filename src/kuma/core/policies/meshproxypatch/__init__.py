"""MeshProxyPatch: changes of Envoy's own configuration, after every other policy has had its say."""

from __future__ import annotations

from typing import Final

from kuma.core.policies._kit.contract import Policy
from kuma.core.policies.meshproxypatch.apply import patch
from kuma.core.policies.meshproxypatch.spec import Conf, MeshProxyPatch
from kuma.core.policies.meshproxypatch.validate import validate, warnings

POLICY: Final = Policy(
    kind="MeshProxyPatch", spec=MeshProxyPatch, conf=Conf, validate=validate, warnings=warnings, patch=patch
)
