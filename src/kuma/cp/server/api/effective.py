"""What holds for one proxy, one of its inbounds, one of its outbounds or routes, addressed by resource identifiers.

Kuma serves these where a mesh has ``meshServices.mode: Exclusive`` (spec/api-server.md §7). MeshService resources do
not exist here yet: in an outbound's identifier, ``msvc`` with a name stands for the ``kuma.io/service`` of that name.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, TypeVar

from starlette.responses import Response

from kuma.core.errors import BadRequest, NoSuchPart
from kuma.core.model.labels import SERVICE_TAG, ZONE_LABEL, kri
from kuma.core.model.resource import Key
from kuma.core.policies import POLICIES
from kuma.core.policies._kit.contract import Policy
from kuma.core.resources.dataplane import facts
from kuma.core.resources.dataplane.spec import Inbound
from kuma.core.resources.mesh.spec import Mesh, MeshServicesMode
from kuma.core.snapshot.explain import Effective, InboundConfs, explained, on_route, routes, towards
from kuma.core.snapshot.mesh import common_protocol
from kuma.core.snapshot.proxy import Outbound, proxy_of
from kuma.core.xds import names
from kuma.cp.server.api.call import Call, json_reply
from kuma.cp.server.api.matching import Matched, Matching
from kuma.cp.server.api.ports import Backends
from kuma.cp.server.api.reading import RETRIEVE_ONE
from kuma.cp.server.api.routing import Route
from kuma.cp.store.decoding import resource_of

_PARTS: Final = 7
_SERVICE: Final = "msvc"
_NOBODYS: Final = common_protocol(())
"""What is spoken to a service that nobody offers."""

T = TypeVar("T")


class EffectiveRoutes:
    """See the module."""

    def __init__(self, backends: Backends, matching: Matching) -> None:
        self._backends = backends
        self._matching = matching

    def routes(self) -> Iterator[Route]:
        proxy = "/meshes/{mesh}/dataplanes/{name}"
        yield Route("GET", f"{proxy}/_layout", self._layout, RETRIEVE_ONE)
        for path, shown in (
            ("_policies", _of_proxy),
            ("_inbounds/{inbound}/_policies", _of_inbound),
            ("_outbounds/{outbound}/_policies", _of_outbound),
            ("_outbounds/{outbound}/_routes", _routes),
            ("_outbounds/{outbound}/_routes/{route}/_policies", _of_route),
        ):
            yield Route("GET", f"{proxy}/{path}", self._answering(path, shown), RETRIEVE_ONE)

    def _answering(
        self, path: str, shown: Callable[[Matched, Mapping[str, str]], dict[str, Any]]
    ) -> Callable[[Call], Any]:
        word = path.rpartition("/")[2]

        async def answer(call: Call) -> Response:
            matched = await self._of_exclusive(call, word)
            return json_reply(await asyncio.to_thread(shown, matched, call.parameters))

        return answer

    async def _layout(self, call: Call) -> Response:
        matched = await self._of_exclusive(call, "_layout")
        protocols = await self._matching.protocols(call.mesh)
        return json_reply(await asyncio.to_thread(_layout, matched, protocols))

    async def _of_exclusive(self, call: Call, word: str) -> Matched:
        """
        The proxy that the call's path names, and its policies.

        Raises:
            NotFound: there is none.
            BadRequest: services have no identifiers in its mesh.
        """
        matched = await self._matching.of_proxy(call)
        mesh: Mesh = resource_of(await self._backends.store.get(Key("Mesh", "", call.mesh))).spec
        if mesh.mesh_services is None or mesh.mesh_services.mode is not MeshServicesMode.EXCLUSIVE:
            raise BadRequest(
                f"can't use {word} endpoint without meshService enabled: set meshServices.mode of the mesh to "
                "Exclusive, or use _rules"
            )
        return matched


def _layout(matched: Matched, protocols: Mapping[str, str]) -> dict[str, Any]:
    meta, spec = matched.dataplane.meta, matched.dataplane.spec
    return {
        "inbounds": [_inbound(matched, inbound) for inbound in facts.networking(spec).inbound],
        "kri": kri("dp", meta),
        "labels": dict(meta.labels),
        "listeners": [],
        "outbounds": [
            {
                "kri": _outbound_kri(matched, outbound),
                "port": outbound.port,
                "protocol": protocols.get(_service_of(outbound), _NOBODYS),
                "proxyResourceName": names.outbound_cluster(outbound.tags),
            }
            for outbound in proxy_of(matched.dataplane).outbounds
        ],
    }


def _inbound(matched: Matched, inbound: Inbound) -> dict[str, Any]:
    where = facts.inbound_endpoint(matched.dataplane.spec, inbound)
    return {
        "kri": kri("dp", matched.dataplane.meta, facts.section_of(inbound)),
        "port": inbound.port,
        "protocol": facts.protocol_of(inbound),
        "proxyResourceName": names.inbound_listener(where.address, where.port),
    }


def _outbound_kri(matched: Matched, outbound: Outbound) -> str:
    meta = matched.dataplane.meta
    return f"kri_{_SERVICE}_{meta.mesh}_{meta.labels.get(ZONE_LABEL, '')}__{_service_of(outbound)}_{outbound.port}"


def _service_of(outbound: Outbound) -> str:
    return dict(outbound.tags)[SERVICE_TAG]


def _of_proxy(matched: Matched, _: Mapping[str, str]) -> dict[str, Any]:
    rules = explained(matched.dataplane, matched.selected)
    return {"policies": [_conf(one.kind, one.whole, matched) for one in rules if one.whole is not None]}


def _of_inbound(matched: Matched, parameters: Mapping[str, str]) -> dict[str, Any]:
    inbounds = facts.networking(matched.dataplane.spec).inbound
    # Two may share a section, where both have the same name: then the first is meant.
    known = {kri("dp", matched.dataplane.meta, facts.section_of(one)): one for one in reversed(inbounds)}
    wanted = _named(parameters["inbound"], known, "inbound")
    return {
        "policies": [
            _inbound_conf(rules.kind, confs, matched)
            for rules in explained(matched.dataplane, matched.selected)
            for confs in rules.inbounds
            if confs.inbound is wanted
        ]
    }


def _inbound_conf(kind: str, confs: InboundConfs, matched: Matched) -> dict[str, Any]:
    rules = [(one.effective, one.match) for one in confs.ordered]
    rules += [(one.effective, None) for one in confs.subsets]
    origins = dict.fromkeys(key for effective, _ in rules for key in effective.origins)
    return {
        "kind": kind,
        "origins": [{"kri": matched.kri(key)} for key in origins],
        "rules": [
            {"conf": effective.conf, **({"match": match} if match else {}), **_account(effective, matched)}
            for effective, match in rules
        ],
    }


def _account(effective: Effective, matched: Matched) -> dict[str, Any]:
    return {"kri": matched.kri(effective.origins[-1]), "sources": matched.sources(effective.sources)}


def _of_outbound(matched: Matched, parameters: Mapping[str, str]) -> dict[str, Any]:
    service = _service(matched, parameters)
    found = ((policy, towards(policy, matched.selected, service)) for policy in _plain())
    return {"policies": [_conf(policy.kind, conf, matched) for policy, conf in found if conf is not None]}


def _routes(matched: Matched, parameters: Mapping[str, str]) -> dict[str, Any]:
    service = _service(matched, parameters)
    listed = []
    for policy in POLICIES:
        rules = list(_route_rules(policy, matched, service))
        if rules:
            conf = towards(policy, matched.selected, service)
            origins = conf.origins if conf is not None else ()
            listed.append(
                {"kind": policy.kind, "origins": [{"kri": matched.kri(key)} for key in origins], "rules": rules}
            )
    return {"routes": listed}


def _route_rules(policy: Policy, matched: Matched, service: str) -> Iterator[dict[str, Any]]:
    """The rules of a routing kind; what routes connections has one, without matches."""
    if policy.destinations is None:
        return
    if policy.routes is None:
        conf = towards(policy, matched.selected, service)
        if conf is not None:
            yield {"conf": conf.conf, "matches": [], **_account(conf, matched)}
        return
    for index, route in enumerate(routes(policy, matched.selected, service)):
        identifier = matched.kri(route.effective.origins[-1], f"rule_{index}")
        yield {
            "conf": route.effective.conf,
            "kri": identifier,
            "matches": list(route.matches),
            "sources": matched.sources(route.effective.sources),
        }


def _of_route(matched: Matched, parameters: Mapping[str, str]) -> dict[str, Any]:
    service, text = _service(matched, parameters), parameters["route"]
    for policy in POLICIES:
        for index, route in enumerate(routes(policy, matched.selected, service)):
            if text in {matched.kri(key, f"rule_{index}") for key in route.effective.origins[-1:]}:
                found = ((one, on_route(one, matched.selected, service, route.name)) for one in _plain())
                return {"policies": [_conf(one.kind, conf, matched) for one, conf in found if conf is not None]}
    raise NoSuchPart(f"there is no route {text} to {service}; _routes lists them")


def _plain() -> Iterator[Policy]:
    """The kinds that speak of outbound traffic and do not route it."""
    return (policy for policy in POLICIES if policy.outbound is not None and policy.destinations is None)


def _service(matched: Matched, parameters: Mapping[str, str]) -> str:
    known = {_outbound_kri(matched, one): _service_of(one) for one in proxy_of(matched.dataplane).outbounds}
    return _named(parameters["outbound"], known, "outbound")


def _named(text: str, known: Mapping[str, T], what: str) -> T:
    """
    What an identifier stands for.

    Raises:
        BadRequest: it is none.
        NoSuchPart: the proxy has none of that identifier; the text lists what it has.
    """
    parts = text.split("_")
    if len(parts) < _PARTS or parts[0] != "kri":
        raise BadRequest(
            f"bad request: {text!r} is no resource identifier: kri_<kind>_<mesh>_<zone>_<namespace>_<name>_<section>"
        )
    if text not in known:
        raise NoSuchPart(f"the proxy has no {what} {text}; it has {', '.join(sorted(known)) or 'none'}")
    return known[text]


def _conf(kind: str, effective: Effective, matched: Matched) -> dict[str, Any]:
    return {
        "conf": effective.conf,
        "kind": kind,
        "origins": [{"kri": matched.kri(key)} for key in effective.origins],
        "sources": matched.sources(effective.sources),
    }
