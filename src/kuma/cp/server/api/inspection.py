"""Looking into proxies: their Envoy's admin interface, the configuration they get, and the policies behind it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from functools import partial
from typing import Any, Final

from starlette.responses import Response

from kuma.core.errors import BadRequest, NotFound
from kuma.core.model.kinds import BY_NAME, KINDS, Kind
from kuma.core.model.resource import Resource
from kuma.core.resources.dataplane import facts
from kuma.core.resources.dataplane.spec import Dataplane
from kuma.cp.server.api.call import Call, json_reply
from kuma.cp.server.api.difference import difference
from kuma.cp.server.api.envelope import head, reference
from kuma.cp.server.api.matching import InboundConfs, KindRules, OrderedConf, SubsetConf, rules_for, selects
from kuma.cp.server.api.paging import by_meta, page_of
from kuma.cp.server.api.ports import Backends
from kuma.cp.server.api.proxies import Proxies
from kuma.cp.server.api.reading import RETRIEVE_ONE, Reading
from kuma.cp.server.api.routing import JSON, TEXT, Route
from kuma.cp.store.decoding import resource_of

ADMIN: Final = "Could not execute admin operation"
_DATAPLANE: Final = BY_NAME["Dataplane"]
_POLICY_KINDS: Final = tuple(kind for kind in KINDS if kind.policy is not None)


class InspectionRoutes:
    """See the module."""

    def __init__(self, backends: Backends, reading: Reading, proxies: Proxies) -> None:
        self._backends = backends
        self._reading = reading
        self._proxies = proxies

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
        for kind in _POLICY_KINDS:
            item = f"/meshes/{{mesh}}/{kind.path}/{{name}}"
            yield Route("GET", f"{item}/_resources/dataplanes", partial(self._proxies_of, kind), RETRIEVE_ONE)
            if kind.inspectable:
                yield Route("GET", f"{item}/dataplanes", partial(self._attachments, kind), RETRIEVE_ONE)

    async def _unknown(self, call: Call) -> Response:
        await self._reading.require_mesh(call)
        raise NotFound(f'a proxy has no "{call.parameters["inspection"]}"; there are xds, stats and clusters')

    async def _xds(self, call: Call) -> Response:
        self._backends.access.check_view_config_dump(call.user)
        return await self._fetched(
            call, "/config_dump?include_eds" if call.flag("include_eds") else "/config_dump", JSON
        )

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

    async def _fetched(self, call: Call, path: str, media: str) -> Response:
        dataplane = await self._reading.dataplane(call)
        _, body = await self._backends.envoy_admin.fetch(dataplane, path)
        # The type is ours to say: a proxy must not make a browser run what it sends.
        return Response(body, headers={"content-type": media, "x-content-type-options": "nosniff"})

    async def _config(self, call: Call) -> Response:
        shadow = call.flag("shadow")
        extras = [word for text in call.every("include") for word in text.split(",") if word]
        if set(extras) - {"diff"}:
            raise BadRequest('bad request: the query parameter "include" knows only diff')
        self._backends.access.check_view_config_dump(call.user)
        await self._reading.one(call, _DATAPLANE)
        shown = await self._backends.inspector.config(call.mesh, call.name, shadow=shadow)
        body: dict[str, Any] = {"xds": shown}
        if extras:
            current = await self._backends.inspector.config(call.mesh, call.name, shadow=False) if shadow else shown
            body["diff"] = await asyncio.to_thread(lambda: list(difference(current, shown)))
        return await asyncio.to_thread(json_reply, body)  # a proxy's configuration may be megabytes

    async def _matched(self, call: Call) -> tuple[Resource[Dataplane], tuple[KindRules, ...]]:
        dataplane = await self._reading.dataplane(call)
        policies = {kind.name: await self._reading.policies(call.mesh, kind) for kind in _POLICY_KINDS}
        return dataplane, await asyncio.to_thread(rules_for, dataplane, policies)

    async def _policies(self, call: Call) -> Response:
        _, rules = await self._matched(call)
        matched = {
            one.kind: [head(one.kind, policy.kind, policy.meta) for policy in reversed(one.policies)] for one in rules
        }
        items = [{"type": "dataplane", "name": "", "service": "", "matchedPolicies": matched}] if matched else []
        return json_reply({"kind": "SidecarDataplane", "total": len(items), "items": items})

    async def _rules(self, call: Call) -> Response:
        dataplane, rules = await self._matched(call)
        return json_reply(
            {
                "httpMatches": [],
                "resource": reference(dataplane.meta),
                "rules": [_rules_body(one) for one in rules],
            }
        )

    async def _legacy_rules(self, call: Call) -> Response:
        dataplane, rules = await self._matched(call)
        items = [item for one in rules for item in _legacy_items(dataplane, one)]
        return json_reply({"total": len(items), "items": items})

    async def _selected(self, kind: Kind, call: Call) -> list[Resource[Dataplane]]:
        policy = resource_of(await self._reading.one(call, kind))
        dataplanes = [one for one in await self._proxies.dataplanes() if one.meta.mesh == call.mesh]
        return await asyncio.to_thread(lambda: [one for one in dataplanes if selects(policy, one)])

    async def _proxies_of(self, kind: Kind, call: Call) -> Response:
        keep = by_meta(call)
        page = page_of(call, [one for one in await self._selected(kind, call) if keep(one.meta.name, one.meta.labels)])
        body = page.body(lambda dataplane: reference(dataplane.meta))
        if page.next is None:
            del body["next"]
        return json_reply(body)

    async def _attachments(self, kind: Kind, call: Call) -> Response:
        items = [
            {
                "kind": "SidecarDataplane",
                "dataplane": {"mesh": dataplane.meta.mesh, "name": dataplane.meta.name},
                "attachments": [{"type": "dataplane", "name": "", "service": ""}],
            }
            for dataplane in await self._selected(kind, call)
        ]
        return json_reply({"total": len(items), "items": items})


def _as_json(call: Call) -> bool:
    wanted = call.first("format")
    if wanted not in (None, "", "text", "json"):
        raise BadRequest('bad request: the query parameter "format" must be text or json')
    return wanted == "json"


def _rules_body(rules: KindRules) -> dict[str, Any]:
    known = {policy.meta.key: reference(policy.meta) for policy in rules.policies}

    def subset(rule: SubsetConf) -> dict[str, Any]:
        return {
            "conf": rule.merged.conf.to_json(),
            "matchers": [{"key": tag.key, "not": tag.negated, "value": tag.value} for tag in rule.subset],
            "origin": [known[key] for key in rule.merged.origins],
        }

    def ordered(rule: OrderedConf) -> dict[str, Any]:
        body: dict[str, Any] = {"conf": [rule.conf]}
        if rule.match is not None:
            body["match"] = rule.match
        return body | {"origin": [{"resourceMeta": known[key]} for key in rule.origins]}

    return {
        "fromRules": [
            {"inbound": _inbound(one), "rules": [subset(rule) for rule in one.subsets]}
            for one in rules.inbounds
            if one.subsets
        ],
        "inboundRules": [
            {"inbound": _inbound(one), "rules": [ordered(rule) for rule in one.ordered]}
            for one in rules.inbounds
            if one.ordered
        ],
        "toResourceRules": [],
        "toRules": [subset(rule) for rule in rules.to],
        "type": rules.kind,
        "warnings": [],
    }


def _inbound(confs: InboundConfs) -> dict[str, Any]:
    name = {"name": confs.inbound.name} if confs.inbound.name else {}
    return name | {"port": confs.inbound.port, "tags": dict(confs.inbound.tags)}


def _legacy_items(dataplane: Resource[Dataplane], rules: KindRules) -> Iterator[dict[str, Any]]:
    for rule in rules.to:
        yield _legacy_item("DestinationSubset", rules.kind, rule) | _target("", "", {})
    for confs in rules.inbounds:
        tags = dict(confs.inbound.tags)
        address = facts.inbound_endpoint(dataplane.spec, confs.inbound)
        where = _target(f"{address.address}:{address.port}", tags.get("kuma.io/service", ""), tags)
        for rule in confs.subsets:
            yield _legacy_item("ClientSubset", rules.kind, rule) | where
        for one in confs.ordered:
            origins = [{"mesh": key.mesh, "name": key.name} for key in one.origins]
            yield {
                "type": "ClientSubset",
                "policyType": rules.kind,
                "subset": {},
                "conf": one.conf,
                "origins": origins,
            } | where


def _target(name: str, service: str, tags: dict[str, str]) -> dict[str, Any]:
    return {"name": name, "addresses": [], "service": service, "tags": tags}


def _legacy_item(type: str, kind: str, rule: SubsetConf) -> dict[str, Any]:
    return {
        "type": type,
        "policyType": kind,
        "subset": {tag.key: f"!{tag.value}" if tag.negated else tag.value for tag in rule.subset},
        "conf": rule.merged.conf.to_json(),
        "origins": [{"mesh": key.mesh, "name": key.name} for key in rule.merged.origins],
    }
