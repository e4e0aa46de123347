"""Signing keys and revocation lists as the store has them.

A cache that never polls: what was read stays until ``observe`` is told of a change to one of the secrets it was read
from. ``observe`` takes every committed change (the composition root feeds it), and a writer may feed it the changes
its own ``write`` returned, so that it sees them at once. A read that a change overtakes is not kept.

A key that cannot be read does not harm its neighbours: only tokens signed with it are refused, with the reason.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from kuma.core.errors import Conflict, InvalidResource, SigningKeyNotFound, Violation
from kuma.core.identity import secret_data
from kuma.core.model.resource import Key
from kuma.cp.store.port import CONTROL_PLANE, Author, Change, Put, Record, Store
from kuma.cp.tokens.kinds import TokenKind
from kuma.cp.tokens.material import (
    MIN_HMAC_BYTES,
    SigningKey,
    VerificationKey,
    generate_signing_key,
    read_private_key,
)

MAX_CACHED_MESHES: Final = 1024
FIRST_SERIAL: Final = 1


@dataclass(frozen=True, slots=True)
class KeySet:
    """All that the store says about one kind of token in one mesh."""

    signing: SigningKey | None
    """The key with the highest serial; None if there is no key or that one is unreadable."""
    newest: Key | None
    verification: Mapping[str, VerificationKey] = field(repr=False)
    unreadable: Mapping[str, str]
    revoked: frozenset[str] = field(repr=False)
    unreadable_revocations: str = ""
    """The reason why it cannot be known what is revoked; then no token is accepted."""


class SigningKeys:
    """The keys and revocation lists of all kinds of token. See the module for how it stays current."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._cache: OrderedDict[tuple[TokenKind, str], KeySet] = OrderedDict()
        self._generation = 0

    async def key_set(self, kind: TokenKind, mesh: str = "") -> KeySet:
        """What the store has for this kind; of a mesh that does not exist, nothing."""
        place = (kind, kind.home(mesh))
        if (cached := self._cache.get(place)) is not None:
            self._cache.move_to_end(place)
            return cached
        generation = self._generation
        loaded = await self._load(*place)
        if generation == self._generation:
            self._cache[place] = loaded
            if len(self._cache) > MAX_CACHED_MESHES:
                self._cache.popitem(last=False)
        return loaded

    async def latest(self, kind: TokenKind, mesh: str = "") -> SigningKey:
        """
        The key to sign with: the one with the highest serial.

        Raises:
            SigningKeyNotFound: there is none; the text names the secret.
            InvalidResource: it is there and cannot be used.
        """
        keys = await self.key_set(kind, mesh)
        if keys.newest is None:
            raise SigningKeyNotFound(missing_key(kind, mesh, str(FIRST_SERIAL)))
        if keys.signing is None:
            reason = next(iter(keys.unreadable.values()), "it is not an RSA private key")
            raise InvalidResource([Violation("data", f'{keys.newest.kind} "{keys.newest.name}": {reason}')])
        return keys.signing

    def observe(self, changes: Iterable[Change]) -> None:
        """Forget what these changes made stale."""
        for change in changes:
            if change.key.kind not in {"Secret", "GlobalSecret"}:
                continue
            self._generation += 1
            for kind, mesh in tuple(self._cache):
                if kind.concerns(change.key, mesh):
                    del self._cache[kind, mesh]

    def forget(self, kind: TokenKind, mesh: str = "") -> None:
        """Read this kind from the store next time."""
        self._generation += 1
        self._cache.pop((kind, kind.home(mesh)), None)

    async def _load(self, kind: TokenKind, mesh: str) -> KeySet:
        records: dict[str, Record] = {}
        serials: dict[str, int] = {}
        for record in await self._store.list(kind.secret_kind, mesh or None):
            serial = kind.serial_of(record.key.name, mesh)
            if serial is not None and record.key.mesh == mesh:
                kid = str(serial)
                # "…-2" before "…-0002": the plain name is the one that Kuma's verification looks up.
                if kid not in records or record.key == kind.signing_key(mesh, serial):
                    records[kid], serials[kid] = record, serial
        verification: dict[str, VerificationKey] = {}
        unreadable: dict[str, str] = {}
        signing: SigningKey | None = None
        newest = max(serials, key=lambda kid: serials[kid], default=None)
        for kid, record in records.items():
            try:
                verification[kid], private = read_signing_secret(kid, secret_data.decode(record.spec))
            except ValueError as error:
                unreadable[kid] = str(error)
            else:
                if kid == newest:
                    signing = private
        revoked, unreadable_revocations = await self._revoked(kind, mesh)
        return KeySet(
            signing,
            records[newest].key if newest is not None else None,
            verification,
            {kid: unreadable[kid] for kid in sorted(unreadable, key=lambda kid: kid != newest)},
            revoked,
            unreadable_revocations,
        )

    async def _revoked(self, kind: TokenKind, mesh: str) -> tuple[frozenset[str], str]:
        ids: set[str] = set()
        unreadable = ""
        for key in kind.revocations(mesh):
            record = await self._store.find(key)
            if record is None:
                continue
            try:
                text = secret_data.decode(record.spec).decode("utf-8-sig", "replace")
            except ValueError as error:
                unreadable = f'the list of revoked tokens in {key.kind} "{key.name}" cannot be read: {error}'
                continue
            # Kuma knows commas only. A list with a line for each id must not revoke nothing without a word.
            ids.update(part for part in map(str.strip, text.split(",")) if part)
            ids.update(text.replace(",", " ").split())
        return frozenset(ids), unreadable


async def new_signing_key(kind: TokenKind, mesh: str = "", serial: int = FIRST_SERIAL) -> Put:
    """The write that creates a signing key, to be put into a batch; owned by its mesh where it has one."""
    spec = secret_data.encode(await generate_signing_key())
    owner = Key("Mesh", "", mesh) if kind.home(mesh) else None
    return Put(kind.signing_key(mesh, serial), spec, owner=owner, expected_version=0)


async def create_signing_key(
    store: Store,
    kind: TokenKind,
    mesh: str = "",
    serial: int = FIRST_SERIAL,
    *,
    now: datetime,
    author: Author = CONTROL_PLANE,
) -> tuple[Change, ...]:
    """
    Create a signing key in the store; returns the changes, for ``SigningKeys.observe``.

    Raises:
        Conflict: there is a key with this serial.
    """
    return await store.write([await new_signing_key(kind, mesh, serial)], author=author, now=now)


async def ensure_signing_key(
    store: Store, keys: SigningKeys, kind: TokenKind, mesh: str = "", *, now: datetime
) -> tuple[Change, ...]:
    """
    Create the first signing key unless there is any; several replicas may do so at once.

    Raises:
        Conflict: the mesh does not exist.
    """
    if (await keys.key_set(kind, mesh)).newest is not None:
        return ()
    try:
        changes = await create_signing_key(store, kind, mesh, now=now)
    except Conflict:
        # Another replica was first; its change is on its way, and this one need not wait for it.
        keys.forget(kind, mesh)
        if (await keys.key_set(kind, mesh)).newest is None:
            raise
        return ()
    keys.observe(changes)
    return changes


def missing_key(kind: TokenKind, mesh: str, kid: str) -> str:
    """What to tell someone whose token needs a key that is not there. ``kid`` may be anything a token said."""
    where = kind.signing_key(mesh, 0).name
    name = where if kid == "0" else f"{where}-{kid}"
    place = f' in mesh "{mesh}"' if kind.home(mesh) else ""
    return (
        f'there is no signing key with KID {kid}. {kind.secret_kind} of name "{name}"{place} is not found. '
        "If signing key was rotated, regenerate the token"
    )


def read_signing_secret(kid: str, value: bytes) -> tuple[VerificationKey, SigningKey | None]:
    """
    The keys in the value of a secret with this serial; one from before serials may only verify.

    Raises:
        ValueError: it is no such key; the text never quotes it.
    """
    digest = hashlib.sha256(b"secret" + value).digest()
    try:
        private = read_private_key(value)
    except ValueError:
        if kid == "0" and len(value) >= MIN_HMAC_BYTES and b"-----BEGIN" not in value:
            return VerificationKey(kid, digest, hmac=value), None
        raise
    return VerificationKey(kid, digest, private.public_key()), SigningKey(int(kid), private)
