"""MeshHTTPRoute: where single requests go, and what is done to them on the way."""

from __future__ import annotations

from typing import Final

from kuma.core.policies._kit.contract import Policy
from kuma.core.policies.meshhttproute.apply import outbound
from kuma.core.policies.meshhttproute.matching import combined, destinations, routes
from kuma.core.policies.meshhttproute.spec import Conf, MeshHTTPRoute
from kuma.core.policies.meshhttproute.validate import validate, warnings

POLICY: Final = Policy(
    kind="MeshHTTPRoute",
    spec=MeshHTTPRoute,
    conf=Conf,
    validate=validate,
    warnings=warnings,
    outbound=outbound,
    destinations=destinations,
    combine=combined,
    routes=routes,
)
