"""MeshAccessLog: a line for every connection or request, in a file, to a server, to a collector."""

from __future__ import annotations

from typing import Final

from kuma.core.policies._kit.collectors import backend_refs_status
from kuma.core.policies._kit.contract import Policy
from kuma.core.policies.meshaccesslog.apply import inbound, outbound
from kuma.core.policies.meshaccesslog.spec import Conf, MeshAccessLog
from kuma.core.policies.meshaccesslog.validate import validate, warnings

POLICY: Final = Policy(
    kind="MeshAccessLog",
    spec=MeshAccessLog,
    conf=Conf,
    validate=validate,
    warnings=warnings,
    outbound=outbound,
    inbound=inbound,
    logs=True,
    status=backend_refs_status,
)
