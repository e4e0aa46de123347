"""MeshTCPRoute: where connections go."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from kuma.core.policies._kit.backends import service_tags
from kuma.core.policies._kit.contract import Policy
from kuma.core.policies.meshtcproute.apply import outbound
from kuma.core.policies.meshtcproute.spec import Conf, MeshTCPRoute
from kuma.core.policies.meshtcproute.validate import validate, warnings


def destinations(conf: Conf) -> Iterator[tuple[tuple[str, str], ...]]:
    """The tags of every service that connections may be sent to."""
    refs = (ref for ref in conf.backend_refs or () if ref.weight > 0)
    yield from (tags for tags in map(service_tags, refs) if tags is not None)


POLICY: Final = Policy(
    kind="MeshTCPRoute",
    spec=MeshTCPRoute,
    conf=Conf,
    validate=validate,
    warnings=warnings,
    outbound=outbound,
    destinations=destinations,
)
