"""Reading for the API: the checks that come before every read, in the order that decides which error a caller sees."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from kuma.core.errors import MethodNotAllowed, NotFound
from kuma.core.model.kinds import BY_NAME, Kind, Scope
from kuma.core.model.resource import Resource
from kuma.cp.server.api.call import Call
from kuma.cp.server.api.derived import Derived
from kuma.cp.server.api.ports import Backends

RETRIEVE_ONE: Final = "Could not retrieve a resource"
RETRIEVE_MANY: Final = "Could not retrieve resources"
OVERVIEWS: Final = "Could not retrieve insights"


class Reading:
    """Stored and derived resources, as far as the caller may see them."""

    def __init__(self, backends: Backends, derived: Derived) -> None:
        self._backends = backends
        self._derived = derived

    async def one(self, call: Call, kind: Kind) -> Resource[Any]:
        """The resource that the call's path names. Raises ``NotFound``, ``AccessDenied``."""
        await self.enter(call, kind)
        return await self.get(kind, call.mesh, call.name)

    async def many(self, call: Call, kind: Kind) -> Sequence[Resource[Any]]:
        """All of a kind in the mesh the call's path names, or everywhere. Raises ``NotFound``, ``AccessDenied``."""
        await self.enter(call, kind)
        if kind.derived:
            return await self._derived.list(kind)
        return await self._backends.resources.list(kind, call.mesh or None)

    async def get(self, kind: Kind, mesh: str, name: str) -> Resource[Any]:
        """One resource, without a check of the caller."""
        if kind.derived:
            return await self._derived.get(kind, name)
        return await self._backends.resources.get(kind, mesh, name)

    async def find(self, kind: Kind, mesh: str, name: str) -> Resource[Any] | None:
        """One resource, or None."""
        try:
            return await self.get(kind, mesh, name)
        except NotFound:
            return None

    async def enter(self, call: Call, kind: Kind) -> None:
        """The mesh exists, where the path names one, and the caller may see the kind."""
        await self.require_mesh(call)
        self._backends.access.check_read(call.user, kind)

    async def require_mesh(self, call: Call) -> None:
        """Raises ``NotFound`` if the path names a mesh that does not exist."""
        if not call.mesh:
            return
        try:
            await self._backends.resources.get(BY_NAME["Mesh"], "", call.mesh)
        except NotFound as error:
            raise NotFound(*error.args, title="Failed to retrieve Mesh") from None

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
