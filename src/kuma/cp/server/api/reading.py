"""Reading for the API: the checks that come before every read, in the order that decides which error a caller sees."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from kuma.core.errors import MethodNotAllowed, NotFound
from kuma.core.model.kinds import BY_NAME, Kind, Scope
from kuma.core.model.resource import Key, Resource
from kuma.core.resources.dataplane.spec import Dataplane
from kuma.cp.server.api.call import Call
from kuma.cp.server.api.ports import Backends
from kuma.cp.store.decoding import resource_of
from kuma.cp.store.port import Record

RETRIEVE_ONE: Final = "Could not retrieve a resource"
RETRIEVE_MANY: Final = "Could not retrieve resources"
OVERVIEWS: Final = "Could not retrieve insights"


class Reading:
    """Stored resources, as far as the caller may see them."""

    def __init__(self, backends: Backends) -> None:
        self._backends = backends

    async def one(self, call: Call, kind: Kind) -> Record:
        """What the call's path names. Raises ``NotFound``, ``AccessDenied``."""
        await self.enter(call, kind)
        return await self._backends.store.get(Key(kind.name, call.mesh, call.name))

    async def many(self, call: Call, kind: Kind) -> Sequence[Record]:
        """All of a kind in the mesh the call's path names, or everywhere. Raises ``NotFound``, ``AccessDenied``."""
        await self.enter(call, kind)
        return await self._backends.store.list(kind.name, call.mesh or None)

    async def dataplane(self, call: Call) -> Resource[Dataplane]:
        """The proxy that the call's path names. Raises ``NotFound``."""
        return resource_of(await self.one(call, BY_NAME["Dataplane"]))

    async def policies(self, mesh: str, kind: Kind) -> Sequence[Resource[Any]]:
        """The policies of a kind in a mesh."""
        return [resource_of(record) for record in await self._backends.store.list(kind.name, mesh)]

    async def enter(self, call: Call, kind: Kind) -> None:
        """The mesh exists, where the path names one, and the caller may see the kind."""
        await self.require_mesh(call)
        self._backends.access.check_read(call.user, kind)

    async def require_mesh(self, call: Call) -> None:
        """Raises ``NotFound`` if the path names a mesh that does not exist."""
        if call.mesh and await self._backends.store.find(Key("Mesh", "", call.mesh)) is None:
            raise NotFound(f'there is no mesh "{call.mesh}"', title="Failed to retrieve Mesh")

    def require_writable(self, kind: Kind) -> None:
        """Raises ``MethodNotAllowed``."""
        if self._backends.config.api_server.read_only:
            raise MethodNotAllowed(
                "On zone control plane you can only modify zone resources, and this one is read-only: it was started "
                "with apiServer.readOnly (KUMA_API_SERVER_READ_ONLY)\n"
            )
        if kind.read_only:
            raise MethodNotAllowed(
                f"On zone control plane you can only modify zone resources; {kind.name} is written by the control "
                "plane itself and can only be read\n"
            )


def collection_paths(kind: Kind) -> list[tuple[str, bool]]:
    """Where a kind's list is, and whether that is the list of one scope (True) or of all meshes."""
    names = [name for name in (kind.path, kind.alternative_path) if name]
    if kind.scope is Scope.GLOBAL:
        return [(f"/{name}", True) for name in names]
    return [path for name in names for path in ((f"/meshes/{{mesh}}/{name}", True), (f"/{name}", False))]
