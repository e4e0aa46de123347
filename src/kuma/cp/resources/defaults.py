"""What every control plane has from its first start on (spec/api-server.md §8).

Everything is made only where it is missing, so any number of starts, and of replicas starting at once, end with one of
each. A policy of a mesh is not among it: what a user deleted stays deleted.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from kuma.core.errors import Conflict, InvalidResource, Violation
from kuma.core.identity import secret_data
from kuma.core.identity.claims import UserClaims
from kuma.core.model.resource import Key
from kuma.cp.access.user import ADMIN_NAME
from kuma.cp.certificates.stored import ENVOY_ADMIN_CA, ensure_stored_authority
from kuma.cp.resources.contract import Setting
from kuma.cp.resources.mesh import plain_mesh
from kuma.cp.store.port import CONTROL_PLANE, Note, Put, Store
from kuma.cp.tokens.issuance import issuance
from kuma.cp.tokens.issuer import DEFAULT_VALIDITY, TokenIssuer
from kuma.cp.tokens.keys import SigningKeys, ensure_signing_key
from kuma.cp.tokens.kinds import TokenKind

DEFAULT_MESH: Final = "default"
ADMIN_TOKEN: Final = Key("GlobalSecret", "", "admin-user-token")
CLUSTER_ID: Final = Key("Config", "", "kuma-cluster-id")
"""Of a kind that users never see, as in Kuma; so it is out of reach of the API."""


@dataclass(frozen=True, slots=True)
class Wishes:
    """
    Which defaults are wanted, from the settings.

    ``user_tokens``: callers of the API are known by tokens, so there is a key for them. ``admin_token``: the first
    token is made and kept, which needs an issuer that may issue.
    """

    mesh: bool = True
    user_tokens: bool = True
    admin_token: bool = True


@dataclass(frozen=True, slots=True)
class Made:
    """What was new in this start, for the log."""

    mesh: bool
    admin_token: bool


async def create_defaults(
    store: Store,
    keys: SigningKeys,
    issuer: TokenIssuer,
    *,
    wishes: Wishes,
    zone: str,
    environment: str,
    clock: Callable[[], datetime],
) -> Made:
    """
    Make what is missing.

    Raises:
        InvalidResource: a key or authority is there and cannot be used; the text says which.
    """
    await ensure_stored_authority(store, ENVOY_ADMIN_CA, now=clock())
    mesh = wishes.mesh and await _ensure_mesh(store, zone, environment, clock)
    await ensure_signing_key(store, keys, TokenKind.ZONE, now=clock())
    admin_token = False
    if wishes.user_tokens:
        await ensure_signing_key(store, keys, TokenKind.USER, now=clock())
        admin_token = wishes.admin_token and await _ensure_admin_token(store, issuer, clock)
    return Made(mesh, admin_token)


async def cluster_id(store: Store, *, new_id: Callable[[], str], now: datetime) -> str:
    """
    The id of this control plane with all its replicas, for ever the same; made at the first call.

    Raises:
        InvalidResource: it is there and cannot be read.
    """
    record = await store.find(CLUSTER_ID)
    if record is None:
        spec = json.dumps({"config": new_id()}).encode()
        with suppress(Conflict):  # another replica was first: its id is the one
            await store.write([Put(CLUSTER_ID, spec, expected_version=0, unlogged=True)], author=CONTROL_PLANE, now=now)
        record = await store.get(CLUSTER_ID)
    try:
        found = json.loads(record.spec)["config"]
    except (ValueError, LookupError, TypeError) as error:
        reason = f'the stored cluster id ({CLUSTER_ID.kind} "{CLUSTER_ID.name}") cannot be read; restore the store'
        raise InvalidResource([Violation("config", reason)]) from error
    return str(found)


async def _ensure_mesh(store: Store, zone: str, environment: str, clock: Callable[[], datetime]) -> bool:
    if await store.find(Key("Mesh", "", DEFAULT_MESH)) is not None:
        return False
    setting = Setting(store, zone, environment, unsafe_delete=False)
    return await _write_once(store, await plain_mesh(setting, DEFAULT_MESH), clock)


async def _ensure_admin_token(store: Store, issuer: TokenIssuer, clock: Callable[[], datetime]) -> bool:
    if await store.find(ADMIN_TOKEN) is not None:
        return False
    claims = UserClaims(ADMIN_NAME, (ADMIN_NAME,))
    token = await issuer.issue_user_token(claims, valid_for=DEFAULT_VALIDITY, now=clock())
    secret = Put(ADMIN_TOKEN, secret_data.encode(token.encode()), expected_version=0)
    return await _write_once(store, (secret, issuance(TokenKind.USER, token)), clock)


async def _write_once(store: Store, batch: tuple[Put | Note, ...], clock: Callable[[], datetime]) -> bool:
    """Write a batch that creates something; False if another replica was first."""
    try:
        await store.write(batch, author=CONTROL_PLANE, now=clock())
    except Conflict:
        if await store.find(batch[0].key) is None:
            raise
        return False
    return True
