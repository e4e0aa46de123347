"""Looking into proxies: their Envoy's admin interface, the configuration they get, and the policies behind it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Final

from starlette.responses import Response

from kuma.core.errors import BadRequest, MeshError, NoSuchPart, NotFound
from kuma.core.model.kinds import BY_NAME, Kind
from kuma.core.model.resource import Key, Resource
from kuma.core.resources.dataplane.spec import Dataplane
from kuma.core.xds.dump import redacted
from kuma.cp.reconcile.inspection import Refusal
from kuma.cp.server.api.call import Call, json_reply
from kuma.cp.server.api.difference import difference
from kuma.cp.server.api.envelope import head, reference
from kuma.cp.server.api.matching import POLICY_KINDS, Matching
from kuma.cp.server.api.paging import by_meta, page_of
from kuma.cp.server.api.ports import Backends
from kuma.cp.server.api.reading import RETRIEVE_ONE, Reading
from kuma.cp.server.api.routing import JSON, TEXT, Route
from kuma.cp.server.api.rules import legacy_items, rules_body

ADMIN: Final = "Could not execute admin operation"
_IMPOSSIBLE: Final = "No configuration can be made for the proxy"
_IMPOSSIBLE_IN_SHADOW: Final = f"{_IMPOSSIBLE} with shadow policies in force"
_NAMED: Final = 10
"""Most policies that one reason names."""
_DATAPLANE: Final = BY_NAME["Dataplane"]


class InspectionRoutes:
    """See the module."""

    def __init__(self, backends: Backends, reading: Reading, matching: Matching) -> None:
        self._backends = backends
        self._reading = reading
        self._matching = matching

    def routes(self) -> Iterator[Route]:
        proxy = "/meshes/{mesh}/dataplanes/{name}"
        either = (JSON, TEXT)
        yield Route("GET", f"{proxy}/{{inspection}}", self._unknown, ADMIN, either)
        yield Route("GET", f"{proxy}/xds", self._xds, ADMIN, either)
        yield Route("GET", f"{proxy}/stats", self._stats, ADMIN, either)
        yield Route("GET", f"{proxy}/clusters", self._clusters, ADMIN, either)
        yield Route("GET", f"{proxy}/_config", self._config, RETRIEVE_ONE)
        yield Route("GET", f"{proxy}/_rules", self._rules, RETRIEVE_ONE)
        yield Route("GET", f"{proxy}/rules", self._legacy_rules, RETRIEVE_ONE)
        yield Route("GET", f"{proxy}/policies", self._policies, RETRIEVE_ONE)
        for kind in POLICY_KINDS:
            item = f"/meshes/{{mesh}}/{kind.path}/{{name}}"
            yield Route("GET", f"{item}/_resources/dataplanes", partial(self._proxies_of, kind), RETRIEVE_ONE)
            if kind.inspectable:
                yield Route("GET", f"{item}/dataplanes", partial(self._attachments, kind), RETRIEVE_ONE)

    async def _unknown(self, call: Call) -> Response:
        await self._reading.require_mesh(call)
        raise NoSuchPart(f'a proxy has no "{call.parameters["inspection"]}"; there are xds, stats and clusters')

    async def _xds(self, call: Call) -> Response:
        self._backends.access.check_view_config_dump(call.user)
        path = "/config_dump?include_eds" if call.flag("include_eds") else "/config_dump"
        return await self._fetched(call, path, JSON, redacted)

    async def _stats(self, call: Call) -> Response:
        self._backends.access.check_view_stats(call.user)
        used_only = call.first("usedonly") in (None, "", "true") or call.flag("usedonly")
        as_json = _as_json(call)
        options = [*(["usedonly"] if used_only else []), *(["format=json"] if as_json else [])]
        path = f"/stats?{'&'.join(options)}" if options else "/stats"
        return await self._fetched(call, path, JSON if as_json else TEXT)

    async def _clusters(self, call: Call) -> Response:
        self._backends.access.check_view_clusters(call.user)
        as_json = _as_json(call)
        return await self._fetched(call, "/clusters?format=json" if as_json else "/clusters", JSON if as_json else TEXT)

    async def _fetched(
        self, call: Call, path: str, media: str, shown: Callable[[bytes], bytes] | None = None
    ) -> Response:
        dataplane = await self._reading.dataplane(call)
        _, body = await self._backends.envoy_admin.fetch(dataplane, path)
        if shown is not None:
            body = await asyncio.to_thread(shown, body)
        # The type is ours to say: a proxy must not make a browser run what it sends.
        return Response(body, headers={"content-type": media, "x-content-type-options": "nosniff"})

    async def _config(self, call: Call) -> Response:
        shadow = call.flag("shadow")
        extras = [word for text in call.every("include") for word in text.split(",") if word]
        if set(extras) - {"diff"}:
            raise BadRequest('bad request: the query parameter "include" knows only diff')
        self._backends.access.check_view_config_dump(call.user)
        await self._reading.one(call, _DATAPLANE)
        shown = await self._configuration(call, shadow=shadow)
        body: dict[str, Any] = {"xds": shown}
        if extras:
            current = await self._configuration(call, shadow=False) if shadow else shown
            body["diff"] = await asyncio.to_thread(lambda: list(difference(current, shown)))
        return await asyncio.to_thread(json_reply, body)  # a proxy's configuration may be megabytes

    async def _configuration(self, call: Call, *, shadow: bool) -> Mapping[str, Any]:
        """
        What the proxy gets.

        Raises:
            BadRequest: none can be made of what was written; the text says why.
        """
        try:
            return await self._backends.inspector.config(call.mesh, call.name, shadow=shadow)
        except NotFound:
            raise
        except MeshError as error:
            raise BadRequest(str(error), title=_IMPOSSIBLE_IN_SHADOW if shadow else _IMPOSSIBLE) from None

    async def _policies(self, call: Call) -> Response:
        matched = await self._matching.of_proxy(call)
        by_kind = {
            kind.name: [head(kind.name, kind, one.meta) for one in reversed(matched.selected[kind.name].policies)]
            for kind in POLICY_KINDS
            if matched.selected[kind.name].policies
        }
        items = [{"type": "dataplane", "name": "", "service": "", "matchedPolicies": by_kind}] if by_kind else []
        return json_reply({"kind": "SidecarDataplane", "total": len(items), "items": items})

    async def _rules(self, call: Call) -> Response:
        matched = await self._matching.of_proxy(call)
        return json_reply(await asyncio.to_thread(rules_body, matched))

    async def _legacy_rules(self, call: Call) -> Response:
        matched = await self._matching.of_proxy(call)
        items = await asyncio.to_thread(lambda: list(legacy_items(matched)))
        return json_reply({"total": len(items), "items": items})

    async def _proxies_of(self, kind: Kind, call: Call) -> Response:
        keep = by_meta(call)
        selected = await self._matching.of_policy(kind, call)
        policy = Key(kind.name, call.mesh, call.name)
        page = page_of(call, [one for one in selected if keep(one.meta.name, one.meta.labels)])
        refusals = self._backends.inspector.refusals(call.mesh)
        body = page.body(lambda dataplane: reference(dataplane.meta) | _refused(dataplane, refusals, policy))
        if page.next is None:
            del body["next"]
        return json_reply(body)

    async def _attachments(self, kind: Kind, call: Call) -> Response:
        refusals = self._backends.inspector.refusals(call.mesh)
        items = [
            {
                "kind": "SidecarDataplane",
                "dataplane": {"mesh": dataplane.meta.mesh, "name": dataplane.meta.name},
                "attachments": [{"type": "dataplane", "name": "", "service": ""}],
            }
            | _refused(dataplane, refusals, Key(kind.name, call.mesh, call.name))
            for dataplane in await self._matching.of_policy(kind, call)
        ]
        return json_reply({"total": len(items), "items": items})


def _refused(dataplane: Resource[Dataplane], refusals: Mapping[str, Sequence[Refusal]], policy: Key) -> dict[str, Any]:
    """What the proxy does not take of its configuration (ours): the page of a policy shows who refused, and why."""
    found = refusals.get(dataplane.meta.name)
    return {"refusals": [{"type": one.type, "message": _told_to(policy, one)} for one in found]} if found else {}


def _told_to(policy: Key, refusal: Refusal) -> str:
    """The reason on the pages of those that are to blame; on the page of another, which these are."""
    if not refusal.blamed or policy in refusal.blamed:
        return refusal.message
    named = ", ".join(f'{one.kind} "{one.name}"' for one in refusal.blamed[:_NAMED])
    return f"what another policy asks for cannot be done: see {named}"


def _as_json(call: Call) -> bool:
    wanted = call.first("format")
    if wanted not in (None, "", "text", "json"):
        raise BadRequest('bad request: the query parameter "format" must be text or json')
    return wanted == "json"
