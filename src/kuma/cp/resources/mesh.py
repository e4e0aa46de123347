"""Meshes: what comes into being with one, its certificate authorities, and when it may go."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Final

from kuma.core.errors import InvalidResource, Violation
from kuma.core.model.codec import encode_spec
from kuma.core.model.resource import Key, Resource
from kuma.core.resources.dataplaneinsight.facts import is_online
from kuma.core.resources.dataplaneinsight.spec import DataplaneInsight
from kuma.core.resources.mesh.backends import enabled_backend
from kuma.core.resources.mesh.spec import CaBackend, Mesh, Mtls
from kuma.cp.ca.backends import backend_of
from kuma.cp.ca.builtin import BuiltinBackend, missing_builtin_puts, validate_builtin
from kuma.cp.ca.provided import ProvidedBackend, check_provided
from kuma.cp.resources import initial_policies
from kuma.cp.resources.contract import KindRules, Prepared, Setting, Wanted
from kuma.cp.resources.stored import readable
from kuma.cp.store.port import Put
from kuma.cp.tokens.keys import new_signing_key
from kuma.cp.tokens.kinds import TokenKind

MAX_BACKEND_NAME: Final = 128
ALL_DENIED: Final = (
    'mTLS is on and mesh "{mesh}" has no MeshTrafficPermission: all traffic between its proxies will be denied. To '
    "permit all of it, apply {{type: MeshTrafficPermission, mesh: {mesh}, name: allow-all, spec: {{rules: [{{default: "
    '{{allow: [{{spiffeID: {{type: Prefix, value: "spiffe://{mesh}"}}}}]}}}}]}}}}'
)


async def prepare(setting: Setting, wanted: Wanted) -> Prepared:
    """See that its authorities work, and add what the mesh needs beside itself."""
    resource: Resource[Mesh] = wanted.resource
    name, mesh = resource.meta.name, resource.spec
    before: Mesh = wanted.stored.spec if wanted.stored else Mesh()
    backends = mesh.mtls.backends if mesh.mtls else ()
    violations = [found for index, one in enumerate(backends) for found in _form(index, one)]
    if not violations:
        violations = [
            *await _unusable(setting, name, mesh, before, wanted.now),
            *await _in_use(setting, name, mesh, before),
        ]
    if violations:
        raise InvalidResource(violations)
    companions: list[Put] = []
    if wanted.record is None:
        companions += await _beginning(setting, name, mesh)
    for backend in map(backend_of, backends):
        if isinstance(backend, BuiltinBackend):
            companions += await missing_builtin_puts(setting.store, name, backend, now=wanted.now)
    return Prepared(mesh, tuple(companions), tuple(await _warnings(setting, name, mesh, before)))


async def plain_mesh(setting: Setting, name: str) -> tuple[Put, ...]:
    """The writes that create a mesh without any settings, with all that belongs to it; fail if there is one."""
    mesh = Mesh()
    put = Put(Key("Mesh", "", name), encode_spec(mesh), expected_version=0)
    return (put, *await _beginning(setting, name, mesh))


async def check_delete(setting: Setting, _: str, name: str) -> None:
    """Raises ``InvalidResource`` while proxies are in the mesh."""
    if not setting.unsafe_delete and await setting.store.list("Dataplane", name):
        raise InvalidResource([Violation("mesh", "unable to delete mesh, there are still some dataplanes attached")])


async def _beginning(setting: Setting, name: str, mesh: Mesh) -> tuple[Put, ...]:
    """What every new mesh starts with: a key for the tokens of its proxies, and policies."""
    skipped = mesh.skip_creating_initial_policies
    policies = initial_policies.puts(name, setting.zone, setting.environment, skipped)
    return (await new_signing_key(TokenKind.DATAPLANE, name), *policies)


def _form(index: int, backend: CaBackend) -> Iterator[Violation]:
    """Faults that ``skipValidation`` must not hide: nothing could be made of such a backend."""
    here = f"mtls.backends[{index}]"
    if not (0 < len(backend.name) <= MAX_BACKEND_NAME and backend.name.isprintable() and "/" not in backend.name):
        yield Violation(f"{here}.name", f"has to be a name of 1 to {MAX_BACKEND_NAME} printable characters without '/'")
    try:
        parsed = backend_of(backend)
    except ValueError as error:
        yield Violation(f"{here}.conf.caCert.expiration", str(error))
        return
    if isinstance(parsed, BuiltinBackend):
        yield from (violation.under(here) for violation in validate_builtin(parsed))


async def _unusable(setting: Setting, name: str, mesh: Mesh, before: Mesh, now: datetime) -> list[Violation]:
    """
    Provided authorities that cannot sign, among those that are new, changed or newly enabled.

    The others are left alone: one that has ended since must not keep its successor from being added.
    """
    if mesh.mtls is None or mesh.mtls.skip_validation:
        return []
    former = before.mtls if before.mtls and not before.mtls.skip_validation else Mtls()
    settled = {
        backend.name: backend
        for backend in former.backends
        if backend.name == former.enabled_backend or backend.name != mesh.mtls.enabled_backend
    }
    found: list[Violation] = []
    for index, written in enumerate(mesh.mtls.backends):
        backend = backend_of(written)
        if isinstance(backend, ProvidedBackend) and written != settled.get(written.name):
            faults = await check_provided(setting.store, name, backend, now=now)
            found += [fault.under(f"mtls.backends[{index}]") for fault in faults]
    return found


async def _in_use(setting: Setting, name: str, mesh: Mesh, before: Mesh) -> Iterable[Violation]:
    """Authorities that would go although proxies show certificates of theirs. Switching mTLS off needs no waiting."""
    if enabled_backend(mesh) is None or enabled_backend(before) is None or before.mtls is None:
        return []
    kept = {(backend.name, backend.type) for backend in mesh.mtls.backends} if mesh.mtls else set()
    going = {backend.name for backend in before.mtls.backends if (backend.name, backend.type) not in kept}
    if not going:
        return []
    holders: dict[str, list[str]] = {}
    for record in await setting.store.list("DataplaneInsight", name):
        resource = readable(record)
        insight: DataplaneInsight | None = resource.spec if resource else None
        if (
            insight is not None
            and is_online(insight)
            and insight.mtls is not None
            and insight.mtls.issued_backend in going
        ):
            holders.setdefault(insight.mtls.issued_backend, []).append(record.key.name)
    return [
        Violation(
            "mtls.backends",
            f'backend "{backend}" cannot be removed yet: {_proxies(proxies)} a certificate from it. Enable another '
            "backend, and remove this one when every proxy has a certificate from the other",
        )
        for backend, proxies in sorted(holders.items())
    ]


def _proxies(names: list[str]) -> str:
    if len(names) == 1:
        return f'proxy "{names[0]}" still shows'
    return f'{len(names)} proxies ("{names[0]}" and others) still show'


async def _warnings(setting: Setting, name: str, mesh: Mesh, before: Mesh) -> list[str]:
    if enabled_backend(mesh) is None or enabled_backend(before) is not None:
        return []
    if await setting.store.list("MeshTrafficPermission", name):
        return []
    return [ALL_DENIED.format(mesh=name)]


RULES: Final = KindRules(prepare=prepare, check_delete=check_delete)
