"""The loaded authorities of all meshes.

Loaded when first asked for and kept until ``observe`` hears of a change to a Secret of the mesh or to the Mesh itself
(which is also when a certificate file is read again). Nothing polls. A load that a change overtakes is not kept, and
one that fails is tried again next time: who asked keeps what it has.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from typing import Final

from kuma.core.errors import InvalidResource, Violation
from kuma.core.identity import secret_data
from kuma.core.model.resource import Key
from kuma.cp.ca.authority import CertificateAuthority, Pair, load_authority
from kuma.cp.ca.builtin import BuiltinBackend, builtin_secrets
from kuma.cp.ca.provided import ProvidedBackend, read_provided
from kuma.cp.store.port import Change, Store

MAX_LOADED: Final = 4096

Backend = BuiltinBackend | ProvidedBackend


class Authorities:
    """Authorities by mesh and backend."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._loaded: OrderedDict[tuple[str, Backend], CertificateAuthority] = OrderedDict()
        self._generation = 0

    async def authority(self, mesh: str, backend: Backend) -> CertificateAuthority:
        """
        The authority of a backend.

        Raises:
            InvalidResource: its certificate or key is absent or unusable; the text says which and why.
        """
        place = (mesh, backend)
        if (loaded := self._loaded.get(place)) is not None:
            self._loaded.move_to_end(place)
            return loaded
        generation = self._generation
        pair = await self._read(mesh, backend)
        try:
            authority = load_authority(pair, backend.name)
        except ValueError as error:
            raise InvalidResource([Violation("mtls.backends", f'backend "{backend.name}": {error}')]) from error
        if generation == self._generation:
            self._loaded[place] = authority
            if len(self._loaded) > MAX_LOADED:
                self._loaded.popitem(last=False)
        return authority

    async def trust_bundle(self, mesh: str, backends: Iterable[Backend]) -> bytes:
        """
        What every proxy of the mesh trusts: the roots of all listed backends, in their order (PEM).

        Raises:
            InvalidResource: one of them cannot be read; then the bundle in use has to stay as it is.
        """
        return b"".join([(await self.authority(mesh, backend)).pem for backend in backends])

    def observe(self, changes: Iterable[Change]) -> None:
        """Forget what these changes made stale."""
        touched = {_mesh_of(change.key) for change in changes} - {None}
        if touched:
            self._generation += 1
            for place in [place for place in self._loaded if place[0] in touched]:
                del self._loaded[place]

    async def _read(self, mesh: str, backend: Backend) -> Pair:
        if isinstance(backend, ProvidedBackend):
            pair, violations = await read_provided(self._store, mesh, backend)
            if pair is None:
                raise InvalidResource(violation.under(f'mtls.backends["{backend.name}"]') for violation in violations)
            return pair
        values = []
        for key in builtin_secrets(mesh, backend.name):
            record = await self._store.find(key)
            if record is None:
                reason = f'backend "{backend.name}": Secret "{key.name}" does not exist in mesh "{mesh}"'
                raise InvalidResource([Violation("mtls.backends", reason)])
            try:
                values.append(secret_data.decode(record.spec))
            except ValueError as error:
                reason = f'backend "{backend.name}": Secret "{key.name}": {error}'
                raise InvalidResource([Violation("mtls.backends", reason)]) from error
        return Pair(*values)


def _mesh_of(key: Key) -> str | None:
    if key.kind == "Mesh":
        return key.name
    return key.mesh if key.kind == "Secret" else None
