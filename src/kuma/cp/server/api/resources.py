"""Resources: GET one and many, PUT, DELETE, for every kind of the registry."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, Final

from starlette.responses import Response

from kuma.core.errors import BadRequest
from kuma.core.model.kinds import KINDS, Kind
from kuma.core.model.text import Limits
from kuma.cp.server.api.call import Call, json_reply, rendered
from kuma.cp.server.api.envelope import Shown, in_format, universal
from kuma.cp.server.api.paging import by_meta, by_proxy, page_of
from kuma.cp.server.api.ports import Backends
from kuma.cp.server.api.proxies import Proxies
from kuma.cp.server.api.reading import RETRIEVE_MANY, RETRIEVE_ONE, Reading, collection_paths
from kuma.cp.server.api.routing import Route
from kuma.cp.store.port import Record

PROCESS: Final = "Could not process a resource"
DELETE: Final = "Could not delete a resource"
REVISION_HEADER: Final = "kuma-revision"
"""Ours: the store revision that contains a write, for ``GET /_rollout/{revision}``."""
CHANGED_HEADER: Final = "kuma-changed"
"""Ours: ``false`` where all was stored already."""


class ResourceRoutes:
    """The operations that all kinds have in common; derived kinds are told elsewhere."""

    def __init__(self, backends: Backends, reading: Reading, proxies: Proxies) -> None:
        self._backends = backends
        self._reading = reading
        self._proxies = proxies

    def routes(self) -> Iterator[Route]:
        for kind in KINDS:
            if not kind.derived:
                yield from self._routes_of(kind)

    def _routes_of(self, kind: Kind) -> Iterator[Route]:
        for path, own_scope in collection_paths(kind):
            yield Route("GET", path, partial(self._list, kind), RETRIEVE_MANY)
            if own_scope:
                item = f"{path}/{{name}}"
                yield Route("GET", item, partial(self._get, kind), RETRIEVE_ONE)
                yield from self.changing(kind, item)

    def changing(self, kind: Kind, item: str) -> Iterator[Route]:
        """PUT and DELETE of a kind; for kinds that are read only they say so."""
        yield Route("PUT", item, partial(self._put, kind), PROCESS)
        yield Route("DELETE", item, partial(self._delete, kind), DELETE)

    async def _get(self, kind: Kind, call: Call) -> Response:
        return await self.shown(call, await self._reading.one(call, kind))

    async def shown(self, call: Call, record: Record) -> Response:
        """A resource in the form that the call asks for."""
        wanted, namespace = call.first("format"), self.namespace(call)
        return await rendered(lambda: in_format(Shown.stored(record), wanted, namespace), [record])

    async def _list(self, kind: Kind, call: Call) -> Response:
        page = page_of(call, await self.found(call, kind))
        render = partial(page.body, lambda record: universal(Shown.stored(record)))
        return await rendered(render, page.items)

    async def found(self, call: Call, kind: Kind) -> list[Record]:
        """What the call's filters leave of a kind."""
        keep = by_meta(call)
        records = [one for one in await self._reading.many(call, kind) if keep(one.key.name, one.labels)]
        keep_proxy = by_proxy(call) if kind.name == "Dataplane" else None
        if keep_proxy is None:
            return records
        kept = {one.meta.key for one in await self._proxies.dataplanes() if keep_proxy(one.spec)}
        return [record for record in records if record.key in kept]

    async def _put(self, kind: Kind, call: Call) -> Response:
        self._reading.require_writable(kind)
        await self._reading.require_mesh(call)
        document = await self._document(kind, call)
        allowed = call.may_write(self._backends.access)
        written = await self._backends.resources.put(
            kind, call.mesh, call.name, document, author=call.author, allowed=allowed
        )
        body = {"warnings": list(written.warnings)} if written.warnings else {}
        headers = {REVISION_HEADER: str(written.revision), **({} if written.changed else {CHANGED_HEADER: "false"})}
        return json_reply(body, 201 if written.created else 200, headers)

    async def _delete(self, kind: Kind, call: Call) -> Response:
        self._reading.require_writable(kind)
        await self._reading.require_mesh(call)
        allowed = call.may_write(self._backends.access)
        await self._backends.resources.delete(kind, call.mesh, call.name, author=call.author, allowed=allowed)
        return json_reply({})

    async def _document(self, kind: Kind, call: Call) -> Mapping[str, Any]:
        try:
            document = await call.document(Limits(size=self._backends.config.api_server.max_body_bytes))
        except BadRequest as error:
            raise BadRequest(f'invalid {kind.name} object: "{error}"') from None
        if not isinstance(document, dict):
            raise BadRequest(f'invalid {kind.name} object: "a JSON object is expected"')
        return document

    def namespace(self, call: Call) -> str:
        """The namespace that ``format=k8s`` shows."""
        return call.first("namespace") or self._backends.config.store.kubernetes.system_namespace
