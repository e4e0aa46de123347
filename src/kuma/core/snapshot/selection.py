"""Which policies of every kind select a proxy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kuma.core.model.resource import Resource
from kuma.core.policies import POLICIES
from kuma.core.policies._kit.contract import Policy
from kuma.core.policies._kit.match import ProxyFacts, Routes, Selected, select

PoliciesOf = Callable[[Policy], tuple[Resource[Any], ...]]
"""The policies of a kind, in priority order."""


def select_all(
    policies_of: PoliciesOf, proxy: ProxyFacts, known: Callable[[Policy], Selected | None] = lambda _: None
) -> dict[str, Selected]:
    """
    Per kind, the policies that select a proxy.

    ``known`` gives what was found before for a kind whose policies are the same. It counts as long as no routing
    policy was selected anew, because other policies may target routes.
    """
    selected: dict[str, Selected] = {}
    routes = Routes()
    fresh = False
    for policy in POLICIES:
        before = None if fresh else known(policy)
        if before is None:
            before = select(policies_of(policy), proxy, routes)
            fresh = fresh or policy.routes is not None
        selected[policy.kind] = before
        if policy.routes is not None:
            routes = Routes.of(one.meta for one in before.policies)
    return selected
