"""Secrets: what a certificate authority still needs cannot be deleted."""

from __future__ import annotations

from typing import Final

from kuma.core.errors import InvalidResource, Violation
from kuma.core.model.resource import Key
from kuma.core.resources.mesh.backends import BUILTIN, secrets_in_use
from kuma.core.resources.mesh.spec import Mesh
from kuma.cp.ca.builtin import builtin_secrets
from kuma.cp.resources.contract import KindRules, Setting
from kuma.cp.resources.stored import read


async def check_delete(setting: Setting, mesh: str, name: str) -> None:
    """Raises ``InvalidResource`` while a backend of the mesh, enabled or not, reads the secret."""
    record = await setting.store.find(Key("Mesh", "", mesh))
    if record is None:
        return
    backend = _used_by(mesh, read(record).spec).get(name)
    if backend is not None:
        reason = (
            f'The secret "{name}" that you are trying to remove is currently in use in Mesh "{mesh}" in mTLS backend '
            f'"{backend}". Please remove the reference from the "{backend}" backend before removing the secret.'
        )
        raise InvalidResource([Violation("name", reason)])


def _used_by(mesh: str, spec: Mesh) -> dict[str, str]:
    """Names of the secrets of the mesh's authorities, each with its backend."""
    used = secrets_in_use(spec)
    for backend in spec.mtls.backends if spec.mtls else ():
        if backend.type == BUILTIN:
            used |= {key.name: backend.name for key in builtin_secrets(mesh, backend.name)}
    return used


RULES: Final = KindRules(check_delete=check_delete)
