"""Which kinds have rules of their own, and where."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from kuma.cp.resources import dataplane, mesh, own_api, secret
from kuma.cp.resources.contract import KindRules

RULES: Final[Mapping[str, KindRules]] = {
    "Mesh": mesh.RULES,
    "Dataplane": dataplane.RULES,
    "MeshAccessLog": own_api.ACCESS_LOG_RULES,
    "Secret": secret.RULES,
    "GlobalSecret": secret.GLOBAL_RULES,
}
