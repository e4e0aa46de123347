"""Secrets: what is still needed cannot be deleted, and nothing unusable can take its place.

A secret may hold anything. Those that the control plane reads itself have to hold what it needs: keys that sign tokens,
certificates and keys of authorities. A certificate and its key may lie in two secrets, which are replaced one after the
other: each is judged by itself, and that they do not belong together (yet) is only told.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Final

from kuma.core.errors import InvalidResource, Violation
from kuma.core.model.resource import Key
from kuma.core.resources.mesh.backends import BUILTIN, secrets_in_use
from kuma.core.resources.mesh.spec import Mesh
from kuma.cp.ca.authority import Pair
from kuma.cp.ca.backends import backends_of
from kuma.cp.ca.builtin import BuiltinBackend, builtin_secrets
from kuma.cp.ca.provided import DataSource, ProvidedBackend, read_source, validate_provided
from kuma.cp.certificates.stored import CONTROL_PLANE_CA, ENVOY_ADMIN_CA, read_stored_authority
from kuma.cp.resources.contract import KindRules, Prepared, Setting, Wanted
from kuma.cp.resources.stored import read, readable
from kuma.cp.store.port import Reader
from kuma.cp.tokens.keys import read_signing_secret
from kuma.cp.tokens.kinds import TokenKind

_NEW_AUTHORITY: Final = {
    CONTROL_PLANE_CA: "proxies that run, and tokens made before, do not trust the control plane any more: give each "
    "proxy a new token and start it again",
    ENVOY_ADMIN_CA: "the control plane reaches the admin port of a proxy once that proxy has connected again",
}
"""The control plane's own authorities, and what comes of another one."""


async def prepare(setting: Setting, wanted: Wanted) -> Prepared:
    """See that whoever reads the secret can use it. A value that does not change is left alone."""
    key, value = wanted.resource.meta.key, wanted.resource.spec.data
    former = readable(wanted.record)
    if former is not None and former.spec == wanted.resource.spec:
        return Prepared(wanted.resource.spec)
    faults = [*_unusable_key(key, value), *_unusable_authority(key, value)]
    warnings = []
    if key.kind == "GlobalSecret" and key.name in _NEW_AUTHORITY:
        warnings.append(f"it counts from the next start of kuma-cp; then {_NEW_AUTHORITY[key.name]}")
    for backend in _backends(wanted):
        faults += _unusable(backend, key, value, wanted.now)
        warnings += await _unfit(setting.store, backend, key, value, wanted.now)
    if faults:
        raise InvalidResource(faults)
    return Prepared(wanted.resource.spec, warnings=tuple(warnings))


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


async def check_global_delete(_setting: Setting, _mesh: str, name: str) -> None:
    """Raises ``InvalidResource`` for the control plane's own authorities."""
    if name in _NEW_AUTHORITY:
        reason = (
            f'The control plane needs "{name}" and would make another one at its next start: {_NEW_AUTHORITY[name]}. '
            "If that is what you want, apply a GlobalSecret of this name with another certificate of a CA and its key "
            "(PEM, one after the other), and restart kuma-cp"
        )
        raise InvalidResource([Violation("name", reason)])


def _used_by(mesh: str, spec: Mesh) -> dict[str, str]:
    """Names of the secrets of the mesh's authorities, each with its backend."""
    used = secrets_in_use(spec)
    for backend in spec.mtls.backends if spec.mtls else ():
        if backend.type == BUILTIN:
            used |= {key.name: backend.name for key in builtin_secrets(mesh, backend.name)}
    return used


def _unusable_key(key: Key, value: bytes) -> Iterator[Violation]:
    """A key that cannot sign: the newest of them would end the issuing of tokens."""
    for kind in TokenKind:
        serial = kind.serial_of(key.name, key.mesh)
        if serial is None or kind.secret_kind != key.kind:
            continue
        try:
            read_signing_secret(str(serial), value)
        except ValueError as error:
            yield Violation("data", f"is no key that signs tokens, which is what a secret of this name is for: {error}")


def _unusable_authority(key: Key, value: bytes) -> Iterator[Violation]:
    if key.kind == "GlobalSecret" and key.name in _NEW_AUTHORITY:
        try:
            read_stored_authority(key.name, value)
        except ValueError as error:
            yield Violation("data", f"has to be the certificate of a CA and its key, PEM, one after the other: {error}")


def _backends(wanted: Wanted) -> Iterator[ProvidedBackend]:
    """The authorities of the mesh that are to be checked, all as if the user had provided them."""
    home = readable(wanted.mesh)
    if home is None or home.spec.mtls is None or home.spec.mtls.skip_validation:
        return
    for backend in backends_of(home.spec):
        if isinstance(backend, BuiltinBackend):
            sources = [DataSource(secret=key.name) for key in builtin_secrets(home.meta.name, backend.name)]
            yield ProvidedBackend(backend.name, *sources)
        else:
            yield backend


def _unusable(backend: ProvidedBackend, key: Key, value: bytes, now: datetime) -> Iterator[Violation]:
    """What is wrong with a value whatever lies in the other secret."""
    roles = {"conf.cert": ("certificate", backend.cert), "conf.key": ("key", backend.key)}
    read_here = {field: role for field, (role, source) in roles.items() if source and source.secret == key.name}
    alone = Pair(value if "conf.cert" in read_here else b"", value if "conf.key" in read_here else b"")
    for fault in validate_provided(alone, now=now) if read_here else ():
        if fault.field in read_here:
            role = read_here[fault.field]
            yield Violation("data", f'cannot be the {role} of the mTLS backend "{backend.name}": {fault.reason}')


async def _unfit(store: Reader, backend: ProvidedBackend, key: Key, value: bytes, now: datetime) -> list[str]:
    """What keeps the authority from signing once this value is in its place."""
    if not any(source and source.secret == key.name for source in (backend.cert, backend.key)):
        return []
    values = [
        value if source and source.secret == key.name else await _other(store, key.mesh, source)
        for source in (backend.cert, backend.key)
    ]
    return [
        f'mTLS backend "{backend.name}" keeps its last CA: {fault.field} {fault.reason}'
        for fault in validate_provided(Pair(*values), now=now)
    ]


async def _other(store: Reader, mesh: str, source: DataSource | None) -> bytes:
    try:
        return await read_source(store, mesh, source) if source else b""
    except ValueError:
        return b""


RULES: Final = KindRules(prepare=prepare, check_delete=check_delete)
GLOBAL_RULES: Final = KindRules(prepare=prepare, check_delete=check_global_delete)
