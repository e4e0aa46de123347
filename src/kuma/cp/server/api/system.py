"""What the control plane tells about itself: index, settings, caller and kinds; and a resource by its KRI."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from pydantic_core import to_json
from starlette.responses import Response

from kuma.core.errors import BadRequest, NotFound
from kuma.core.model.kinds import KINDS, Kind, Scope
from kuma.core.model.labels import kri
from kuma.core.model.resource import Key
from kuma.core.version import COMPATIBLE_VERSION, NAME, PRODUCT, VERSION
from kuma.cp.config import effective
from kuma.cp.server.api.call import Call, json_reply
from kuma.cp.server.api.ports import Backends
from kuma.cp.server.api.reading import RETRIEVE_ONE
from kuma.cp.server.api.resources import ResourceRoutes
from kuma.cp.server.api.routing import JSON, Route
from kuma.cp.store.decoding import meta_of
from kuma.cp.store.port import Record

_BY_SHORT_NAME: Final = {kind.short_name: kind for kind in KINDS if kind.short_name}
_KRI_PARTS: Final = 7


class SystemRoutes:
    """See the module."""

    def __init__(self, backends: Backends, resources: ResourceRoutes) -> None:
        self._backends = backends
        self._resources = resources

    def routes(self) -> Iterator[Route]:
        yield Route("GET", "/", self._index, "Could not retrieve the index", public=True)
        yield Route("GET", "/config", self._config, "Could not retrieve the configuration")
        yield Route("GET", "/who-am-i", self._who_am_i, "Could not retrieve the user")
        yield Route("GET", "/policies", self._policies, "Could not retrieve policies")
        yield Route("GET", "/_resources", self._kinds, "Could not retrieve resource types")
        yield Route("GET", "/_kri/{kri}", self._by_kri, RETRIEVE_ONE)

    async def _index(self, _: Call) -> Response:
        instance = self._backends.instance
        return json_reply(
            {
                "clusterId": instance.cluster_id(),
                "gui": instance.gui,
                "hostname": instance.hostname,
                # Ours: what really runs here, next to what Kuma's tools compare.
                "implementation": NAME,
                "implementationVersion": VERSION,
                "instanceId": instance.instance_id,
                "product": PRODUCT,
                "version": COMPATIBLE_VERSION,
            }
        )

    async def _config(self, call: Call) -> Response:
        self._backends.access.check_control_plane_metadata(call.user)
        return Response(to_json(effective(self._backends.config)), headers={"content-type": JSON})

    async def _who_am_i(self, call: Call) -> Response:
        return json_reply({"name": call.user.name, "groups": list(call.user.groups)})

    async def _policies(self, _: Call) -> Response:
        policies = [kind for kind in KINDS if kind.policy is not None]
        return json_reply({"policies": [self._policy(kind) for kind in sorted(policies, key=lambda kind: kind.name)]})

    async def _kinds(self, _: Call) -> Response:
        return json_reply({"resources": [self._kind(kind) for kind in sorted(KINDS, key=lambda kind: kind.name)]})

    async def _by_kri(self, call: Call) -> Response:
        parts = call.parameters["kri"].split("_")
        kind = _BY_SHORT_NAME.get(parts[1]) if len(parts) == _KRI_PARTS and parts[0] == "kri" else None
        if kind is None or (kind.scope is Scope.MESH) != bool(parts[2]) or not parts[5]:
            raise BadRequest(
                "bad request: not a KRI; one reads kri_<short name of type>_<mesh>_<zone>_<namespace>_<name>_<section>"
            )
        self._backends.access.check_read(call.user, kind)
        return await self._resources.shown(call, await self._known_as(kind, parts))

    async def _known_as(self, kind: Kind, parts: list[str]) -> Record:
        """The resource of that KRI. The name in it is the display name, which need not be the resource's name."""
        mesh, zone = parts[2], parts[3]
        asked = {
            "_".join((*parts[:3], given, *parts[4:6], "")) for given in {zone, "" if zone else self._backends.zone}
        }
        by_name = await self._backends.store.find(Key(kind.name, mesh, parts[5]))
        if by_name is not None and kri(kind.short_name, meta_of(by_name)) in asked:
            return by_name
        for record in await self._backends.store.list(kind.name, mesh or None):
            if kri(kind.short_name, meta_of(record)) in asked:
                return record
        raise NotFound(f"there is no {kind.name} with the KRI {'_'.join(parts)}")

    def _policy(self, kind: Kind) -> dict[str, Any]:
        traits = kind.policy
        return {
            "name": kind.name,
            "readOnly": self._is_read_only(kind),
            "path": kind.path,
            "singularDisplayName": kind.singular_display_name,
            "pluralDisplayName": kind.plural_display_name,
            "isExperimental": False,
            "isTargetRefBased": True,
            "isInbound": traits is not None and (traits.from_ or traits.rules),
            "isOutbound": traits is not None and traits.to,
        }

    def _kind(self, kind: Kind) -> dict[str, Any]:
        body: dict[str, Any] = {
            # What belongs to a zone itself (proxies and what was observed) has no business in another control plane.
            "includeInFederation": not (kind.read_only or kind.has_overview),
            "name": kind.name,
            "path": kind.path,
            "pluralDisplayName": kind.plural_display_name,
        }
        if kind.policy is not None:
            body["policy"] = {
                "hasFromTargetRef": kind.policy.from_,
                "hasRulesTargetRef": kind.policy.rules,
                "hasToTargetRef": kind.policy.to,
                "isFromAsRules": kind.policy.from_as_rules,
                "isTargetRef": True,
            }
        return body | {
            "readOnly": self._is_read_only(kind),
            "scope": kind.scope.value,
            "shortName": kind.short_name,
            "singularDisplayName": kind.singular_display_name,
        }

    def _is_read_only(self, kind: Kind) -> bool:
        return kind.read_only or self._backends.config.api_server.read_only
