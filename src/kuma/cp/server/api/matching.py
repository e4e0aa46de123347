"""Stored policies and proxies brought together for the inspect endpoints, by the selection that configures proxies."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from kuma.core.model.kinds import BY_NAME, KINDS, Kind
from kuma.core.model.labels import kri
from kuma.core.model.resource import Key, Meta, Resource
from kuma.core.policies import BY_KIND
from kuma.core.policies._kit.contract import Policy
from kuma.core.policies._kit.match import Selected, in_priority_order, is_shadow
from kuma.core.resources.dataplane.spec import Dataplane
from kuma.core.snapshot.explain import Sources
from kuma.core.snapshot.mesh import common_protocol
from kuma.core.snapshot.proxy import proxy_of
from kuma.core.snapshot.selection import select_all
from kuma.cp.server.api.call import Call
from kuma.cp.server.api.proxies import Proxies
from kuma.cp.server.api.reading import Reading
from kuma.cp.store.decoding import resource_of

POLICY_KINDS: Final = tuple(kind for kind in KINDS if kind.policy is not None)


@dataclass(frozen=True, slots=True)
class Matched:
    """A proxy and the policies that select it, by kind; ``metas`` are those of the policies, by key."""

    dataplane: Resource[Dataplane]
    selected: Mapping[str, Selected]
    metas: Mapping[Key, Meta]

    def kri(self, policy: Key, section: str = "") -> str:
        """The identifier of a policy."""
        return kri(BY_NAME[policy.kind].short_name, self.metas[policy], section)

    def sources(self, sources: Sources) -> dict[str, list[str]]:
        """Where the values of a conf came from, as identifiers of policies."""
        return {path: [self.kri(key) for key in keys] for path, keys in sorted(sources.items())}


class Matching:
    """Reads what is stored, as it stands there, and matches it."""

    def __init__(self, reading: Reading, proxies: Proxies) -> None:
        self._reading = reading
        self._proxies = proxies

    async def of_proxy(self, call: Call) -> Matched:
        """
        The proxy that the call's path names, and its policies.

        Raises:
            NotFound: there is none.
        """
        dataplane = await self._reading.dataplane(call)
        policies = {kind.name: await self._reading.policies(call.mesh, kind) for kind in POLICY_KINDS}
        return await asyncio.to_thread(_matched, dataplane, policies)

    async def protocols(self, mesh: str) -> Mapping[str, str]:
        """What each service of a mesh speaks, as its callers are configured to speak to it."""
        dataplanes = [one for one in await self._proxies.dataplanes() if one.meta.mesh == mesh]
        return await asyncio.to_thread(_protocols, dataplanes)

    async def of_policy(self, kind: Kind, call: Call) -> list[Resource[Dataplane]]:
        """
        The proxies that the policy of the call's path selects; a shadow policy those it would.

        Raises:
            NotFound: there is no such policy.
        """
        policy = resource_of(await self._reading.one(call, kind))
        routing = {
            one.kind: in_priority_order(
                route
                for route in await self._reading.policies(call.mesh, BY_NAME[one.kind])
                if not is_shadow(route.meta)
            )
            for one in BY_KIND.values()
            if one.routes is not None and one.kind != kind.name
        }
        dataplanes = [one for one in await self._proxies.dataplanes() if one.meta.mesh == call.mesh]

        def policies_of(of_kind: Policy) -> tuple[Resource[Any], ...]:
            return (policy,) if of_kind.kind == kind.name else routing.get(of_kind.kind, ())

        def chosen() -> list[Resource[Dataplane]]:
            return [one for one in dataplanes if select_all(policies_of, proxy_of(one).facts)[kind.name].policies]

        return await asyncio.to_thread(chosen)


def _protocols(dataplanes: Sequence[Resource[Dataplane]]) -> Mapping[str, str]:
    spoken: dict[str, list[str]] = {}
    for dataplane in dataplanes:
        for offer in proxy_of(dataplane).offers:
            spoken.setdefault(offer.service, []).append(offer.protocol)
    return {service: common_protocol(protocols) for service, protocols in spoken.items()}


def _matched(dataplane: Resource[Dataplane], policies: Mapping[str, Sequence[Resource[Any]]]) -> Matched:
    ordered = {
        kind: in_priority_order(one for one in of_kind if not is_shadow(one.meta)) for kind, of_kind in policies.items()
    }
    selected = select_all(lambda policy: ordered[policy.kind], proxy_of(dataplane).facts)
    metas = {one.meta.key: one.meta for of_kind in ordered.values() for one in of_kind}
    return Matched(dataplane, selected, metas)
