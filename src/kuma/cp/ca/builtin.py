"""Builtin backends: roots that the control plane makes and keeps as two Secrets of the mesh.

The functions return store writes instead of writing, so that a Mesh and the roots it asks for become durable in one
batch. A root that exists is never replaced: leaves in use hang on it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography.hazmat.primitives.asymmetric import rsa

from kuma.core.errors import InvalidResource, Violation
from kuma.core.identity import secret_data
from kuma.core.identity.spiffe import trust_domain
from kuma.core.model.resource import Key
from kuma.core.resources.mesh.backends import RSA_BITS
from kuma.cp.ca.authority import ROOT_LIFETIME, Pair, new_root
from kuma.cp.store.port import Put, Reader


@dataclass(frozen=True, slots=True)
class BuiltinBackend:
    """A backend of type ``builtin``. ``rsa_bits`` is None unless the user set ``conf.caCert.RSAbits``."""

    name: str
    rsa_bits: int | None = None
    root_lifetime: timedelta = ROOT_LIFETIME


def validate_builtin(backend: BuiltinBackend) -> Iterator[Violation]:
    """What is wrong with the backend, as paths below it."""
    if backend.rsa_bits is not None and backend.rsa_bits not in RSA_BITS:
        reason = f"has to be between {RSA_BITS[0]} and {RSA_BITS[-1]}; leave it out for a P-256 key"
        yield Violation("conf.caCert.RSAbits", reason)
    if backend.root_lifetime <= timedelta(0):
        yield Violation("conf.caCert.expiration", "has to be greater than 0")


def builtin_secrets(mesh: str, backend: str) -> tuple[Key, Key]:
    """Where the certificate and the key of a builtin root are."""
    prefix = f"{mesh}.ca-builtin"
    return Key("Secret", mesh, f"{prefix}-cert-{backend}"), Key("Secret", mesh, f"{prefix}-key-{backend}")


async def create_builtin_root(mesh: str, backend: BuiltinBackend, *, now: datetime) -> Pair:
    """A new root: P-256, or RSA where asked for (made in a thread)."""
    key = None
    if backend.rsa_bits is not None:
        key = await asyncio.to_thread(rsa.generate_private_key, public_exponent=65537, key_size=backend.rsa_bits)
    return new_root(
        common_name=mesh, unit="Mesh", uri=trust_domain(mesh), lifetime=backend.root_lifetime, now=now, key=key
    )


def builtin_puts(mesh: str, backend: str, root: Pair) -> tuple[Put, Put]:
    """The writes that keep a new root: its two Secrets, owned by the Mesh."""
    certificate, key = builtin_secrets(mesh, backend)
    owner = Key("Mesh", "", mesh)
    return (
        Put(certificate, secret_data.encode(root.certificate), owner=owner, expected_version=0),
        Put(key, secret_data.encode(root.key), owner=owner, expected_version=0),
    )


async def missing_builtin_puts(store: Reader, mesh: str, backend: BuiltinBackend, *, now: datetime) -> tuple[Put, ...]:
    """
    The writes that a builtin backend still needs: none if its root is there.

    Raises:
        InvalidResource: one of its two Secrets is there without the other, which nobody can mend but its owner.
    """
    certificate, key = builtin_secrets(mesh, backend.name)
    present = [one for one in (certificate, key) if await store.find(one) is not None]
    if len(present) == 2:
        return ()
    if present:
        absent = key if present[0] == certificate else certificate
        reason = (
            f'backend "{backend.name}": Secret "{present[0].name}" is there, but not "{absent.name}"; '
            f"restore the missing one, or delete the other for a new root"
        )
        raise InvalidResource([Violation("mtls.backends", reason)])
    return builtin_puts(mesh, backend.name, await create_builtin_root(mesh, backend, now=now))
