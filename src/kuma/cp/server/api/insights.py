"""Overviews of proxies; figures of meshes; and service insights, one object per service though made per mesh."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

from pydantic_core import from_json
from starlette.responses import Response

from kuma.core.errors import BadRequest
from kuma.core.model.kinds import BY_NAME, KINDS, Kind, Scope
from kuma.core.model.resource import Key, Meta, Resource
from kuma.core.resources.serviceinsight.compute import service
from kuma.core.resources.serviceinsight.spec import Service, ServiceInsight, ServiceType
from kuma.cp.server.api.call import Call, json_reply, rendered
from kuma.cp.server.api.derived import Derived
from kuma.cp.server.api.envelope import Shown, head, in_format, universal
from kuma.cp.server.api.paging import by_meta, page_of
from kuma.cp.server.api.reading import OVERVIEWS, RETRIEVE_MANY, RETRIEVE_ONE, Reading, collection_paths
from kuma.cp.server.api.resources import ResourceRoutes
from kuma.cp.server.api.routing import Route
from kuma.cp.store.decoding import meta_of
from kuma.cp.store.port import Record, Store

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

    def __init__(self, store: Store, reading: Reading, resources: ResourceRoutes) -> None:
        self._store = store
        self._reading = reading
        self._resources = resources

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
        record = await self._reading.one(call, kind)
        insight = await self._store.find(_insight_key(record))
        return await rendered(partial(overview, kind, record, insight), [record])

    async def _list(self, kind: Kind, call: Call) -> Response:
        page = page_of(call, await self._resources.found(call, kind))
        insights = await self._insights(call, kind, page.items)
        render = partial(page.body, lambda record: overview(kind, record, insights.get(_insight_key(record))))
        return await rendered(render, page.items)

    async def _insights(self, call: Call, kind: Kind, records: Sequence[Record]) -> dict[Key, Record]:
        keys = [_insight_key(record) for record in records]
        if len(keys) > _ONE_BY_ONE:
            return {one.key: one for one in await self._store.list(_insight_kind(kind), call.mesh or None)}
        found = [await self._store.find(key) for key in keys]
        return {one.key: one for one in found if one is not None}


def overview(kind: Kind, record: Record, insight: Record | None) -> dict[str, Any]:
    """The envelope of an overview; a proxy that never connected has no insight."""
    word = kind.name[0].lower() + kind.name[1:]
    body = head(f"{kind.name}Overview", kind, meta_of(record))
    body[word] = from_json(record.spec)
    if insight is not None:
        body[f"{word}Insight"] = from_json(insight.spec)
    return body


def _insight_kind(kind: Kind) -> str:
    return f"{kind.name}Insight"


def _insight_key(record: Record) -> Key:
    return Key(f"{record.key.kind}Insight", record.key.mesh, record.key.name)


class MeshInsightRoutes:
    """The figures of meshes."""

    def __init__(self, reading: Reading, derived: Derived, resources: ResourceRoutes) -> None:
        self._reading = reading
        self._derived = derived
        self._resources = resources
        self._kind = BY_NAME["MeshInsight"]

    def routes(self) -> Iterator[Route]:
        for path, _ in collection_paths(self._kind):
            item = f"{path}/{{name}}"
            yield Route("GET", path, self._list, RETRIEVE_MANY)
            yield Route("GET", item, self._get, RETRIEVE_ONE)
            yield from self._resources.changing(self._kind, item)

    async def _get(self, call: Call) -> Response:
        await self._reading.enter(call, self._kind)
        found = Shown.derived((await self._derived.figures()).mesh(call.name))
        return json_reply(in_format(found, call.first("format"), self._resources.namespace(call)))

    async def _list(self, call: Call) -> Response:
        await self._reading.enter(call, self._kind)
        keep = by_meta(call)
        found = [one for one in (await self._derived.figures()).meshes if keep(one.meta.name, one.meta.labels)]
        return json_reply(page_of(call, found).body(lambda one: universal(Shown.derived(one))))


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
            if one.service_type in types and keep(name, (meta := _meta(insight, name)).labels)
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
