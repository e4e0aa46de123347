"""Overviews of proxies, and service insights: one object per service, though they are made per mesh."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

from starlette.responses import Response

from kuma.core.errors import BadRequest
from kuma.core.model.kinds import BY_NAME, KINDS, Kind, Scope
from kuma.core.model.resource import Key, Meta, Resource
from kuma.core.resources.serviceinsight.compute import service
from kuma.core.resources.serviceinsight.spec import Service, ServiceInsight, ServiceType
from kuma.cp.server.api.call import Call, json_reply
from kuma.cp.server.api.derived import Derived
from kuma.cp.server.api.envelope import head
from kuma.cp.server.api.paging import by_meta, by_proxy, page_of, selected
from kuma.cp.server.api.reading import OVERVIEWS, RETRIEVE_MANY, RETRIEVE_ONE, Reading, collection_paths
from kuma.cp.server.api.resources import ResourceRoutes
from kuma.cp.server.api.routing import Route

_OLD_NAMES: Final = {
    "Dataplane": "dataplanes+insights",
    "ZoneIngress": "zoneingresses+insights",
    "ZoneEgress": "zoneegressoverviews",
    "Zone": "zones+insights",
}
_ONE_BY_ONE: Final = 10
"""Up to this many insights are looked up singly; more are read at once."""


class OverviewRoutes:
    """A proxy together with what was observed of it."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading

    def routes(self) -> Iterator[Route]:
        for kind in KINDS:
            if kind.has_overview:
                yield from self._routes_of(kind)

    def _routes_of(self, kind: Kind) -> Iterator[Route]:
        for path, own_scope in collection_paths(kind):
            yield Route("GET", f"{path}/_overview", partial(self._list, kind), OVERVIEWS)
            if own_scope:
                yield Route("GET", f"{path}/{{name}}/_overview", partial(self._get, kind), OVERVIEWS)
        home = "/meshes/{mesh}" if kind.scope is Scope.MESH else ""
        old = _OLD_NAMES[kind.name]
        yield Route("GET", f"{home}/{old}", partial(self._list, kind), OVERVIEWS)
        yield Route("GET", f"{home}/{old}/{{name}}", partial(self._get, kind), OVERVIEWS)
        if home:
            yield Route("GET", f"/{old}", partial(self._list, kind), OVERVIEWS)

    async def _get(self, kind: Kind, call: Call) -> Response:
        resource = await self._reading.one(call, kind)
        insight = await self._reading.find(_insight_kind(kind), call.mesh, call.name)
        return json_reply(overview(kind, resource, insight))

    async def _list(self, kind: Kind, call: Call) -> Response:
        found = selected(call, await self._reading.many(call, kind))
        if kind.name == "Dataplane":
            keep = by_proxy(call)
            found = [resource for resource in found if keep(resource.spec)]
        page = page_of(call, found)
        insights = await self._insights(call, kind, [resource.meta for resource in page.items])
        return json_reply(page.body(lambda resource: overview(kind, resource, insights.get(_place(resource.meta)))))

    async def _insights(self, call: Call, kind: Kind, metas: list[Meta]) -> dict[tuple[str, str], Resource[Any]]:
        insight = _insight_kind(kind)
        if len(metas) > _ONE_BY_ONE:
            return {_place(one.meta): one for one in await self._reading.many(call, insight)}
        found = [await self._reading.find(insight, meta.mesh, meta.name) for meta in metas]
        return {_place(one.meta): one for one in found if one is not None}


def overview(kind: Kind, resource: Resource[Any], insight: Resource[Any] | None) -> dict[str, Any]:
    """The envelope of an overview; a proxy that never connected has no insight."""
    word = kind.name[0].lower() + kind.name[1:]
    body = head(f"{kind.name}Overview", kind, resource.meta)
    body[word] = resource.spec.to_json()
    if insight is not None:
        body[f"{word}Insight"] = insight.spec.to_json()
    return body


def _insight_kind(kind: Kind) -> Kind:
    return BY_NAME[f"{kind.name}Insight"]


def _place(meta: Meta) -> tuple[str, str]:
    return meta.mesh, meta.name


@dataclass(frozen=True, slots=True)
class _Named:
    meta: Meta
    service: Service


class ServiceInsightRoutes:
    """See the module."""

    def __init__(self, reading: Reading, derived: Derived, resources: ResourceRoutes) -> None:
        self._reading = reading
        self._derived = derived
        self._resources = resources
        self._kind = BY_NAME["ServiceInsight"]

    def routes(self) -> Iterator[Route]:
        for path, own_scope in collection_paths(self._kind):
            yield Route("GET", path, self._list, RETRIEVE_MANY)
            if own_scope:
                item = f"{path}/{{name}}"
                yield Route("GET", item, self._get, RETRIEVE_ONE)
                yield from self._resources.changing(self._kind, item)

    async def _get(self, call: Call) -> Response:
        await self._reading.enter(call, self._kind)
        insight = (await self._derived.figures()).services_of(call.mesh)
        named = _Named(_meta(insight, call.name), service(insight.spec, call.name))
        return json_reply(self._render(named))

    async def _list(self, call: Call) -> Response:
        await self._reading.enter(call, self._kind)
        figures = await self._derived.figures()
        insights = [figures.services_of(call.mesh)] if call.mesh else list(figures.services.values())
        keep, types = by_meta(call), _types(call)
        found = [
            _Named(meta, one)
            for insight in insights
            for name, one in insight.spec.services.items()
            if one.service_type in types and keep(meta := _meta(insight, name))
        ]
        return json_reply(page_of(call, found).body(self._render))

    def _render(self, named: _Named) -> dict[str, Any]:
        return head(self._kind.name, self._kind, named.meta) | named.service.to_json()


def _meta(insight: Resource[ServiceInsight], service: str) -> Meta:
    return replace(insight.meta, key=Key("ServiceInsight", insight.meta.mesh, service))


def _types(call: Call) -> frozenset[ServiceType]:
    text = call.first("type")
    if not text:
        return frozenset(ServiceType)
    try:
        return frozenset(ServiceType(word.strip()) for word in text.split(","))
    except ValueError:
        known = ", ".join(kind.value for kind in ServiceType)
        raise BadRequest(f'bad request: the query parameter "type" is a list of {known}') from None
