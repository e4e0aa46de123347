"""Which proxies a mesh takes in: ``constraints.dataplaneProxy``.

Each inbound, and a gateway, is judged by its own tags: one of the requirements has to hold, if there are any, and no
restriction may. A proxy that offers nothing has no tags, which is less than any requirement asks for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from kuma.core.errors import Violation
from kuma.core.resources.dataplane import facts
from kuma.core.resources.dataplane.spec import Dataplane
from kuma.core.resources.mesh.spec import MembershipRule, Mesh

_MOST_RULES_SHOWN: Final = 5


def refusals(name: str, mesh: Mesh, dataplane: Dataplane) -> Iterator[Violation]:
    """What keeps a proxy, which has its zone's tag already, out of a mesh of that name."""
    rules = mesh.constraints.dataplane_proxy if mesh.constraints else None
    if rules is None:
        return
    for field, tags in _judged(dataplane):
        if rules.requirements and not any(_holds(rule, tags) for rule in rules.requirements):
            yield Violation(
                field,
                f'mesh "{name}" takes only proxies with tags {_shown(rules.requirements)} '
                f"(constraints.dataplaneProxy.requirements); here the tags are {_listed(tags)}",
            )
        broken = [rule for rule in rules.restrictions if _holds(rule, tags)]
        if broken:
            yield Violation(
                field,
                f'mesh "{name}" takes no proxies with tags {_shown(broken)} '
                f"(constraints.dataplaneProxy.restrictions); here the tags are {_listed(tags)}",
            )


def _judged(dataplane: Dataplane) -> Iterator[tuple[str, Mapping[str, str]]]:
    net = facts.networking(dataplane)
    if net.gateway is not None:
        yield "networking.gateway.tags", net.gateway.tags
    for index, inbound in enumerate(net.inbound):
        yield f"networking.inbound[{index}].tags", inbound.tags
    if net.gateway is None and not net.inbound:
        yield "networking", {}


def _holds(rule: MembershipRule, tags: Mapping[str, str]) -> bool:
    return all(tag in tags and value in {"*", tags[tag]} for tag, value in rule.tags.items())


def _shown(rules: Sequence[MembershipRule]) -> str:
    shown = " or ".join(_listed(rule.tags) for rule in rules[:_MOST_RULES_SHOWN])
    return f"{shown} or …" if len(rules) > _MOST_RULES_SHOWN else shown


def _listed(tags: Mapping[str, str]) -> str:
    return f"[{' '.join(f'{tag}={value}' for tag, value in sorted(tags.items()))}]"
