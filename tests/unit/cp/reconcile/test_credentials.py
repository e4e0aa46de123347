"""Streams of proxies and the tokens that opened them."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import count

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from kuma.core.errors import StoreUnavailable
from kuma.core.identity import secret_data
from kuma.core.identity.claims import DataplaneClaims
from kuma.core.model.resource import Key
from kuma.cp.reconcile.credentials import Credentials
from kuma.cp.store.memory import MemoryStore
from kuma.cp.store.port import CONTROL_PLANE, Delete, Put
from kuma.cp.tokens.issuer import TokenIssuer
from kuma.cp.tokens.keys import SigningKeys
from kuma.cp.tokens.kinds import TokenKind
from kuma.cp.tokens.material import StaticKey, print_private_key
from kuma.cp.tokens.verifier import TokenVerifier, Trust

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
PRIVATE = [rsa.generate_private_key(public_exponent=65537, key_size=2048) for _ in range(2)]
KEYS = [print_private_key(one) for one in PRIVATE]
DEFAULT_KEY = Key("Secret", "default", "dataplane-token-signing-key-default-1")
LIST = Key("Secret", "default", "dataplane-token-revocations-default")


def secret(key, value):
    """The write of a secret."""
    return Put(key, secret_data.encode(value))


class Plane:
    """A store with keys of two meshes, and the streams of their proxies."""

    def __init__(self, store=None, **options):
        self.store = store or MemoryStore()
        self.keys = SigningKeys(self.store)
        self.verifier = TokenVerifier(self.keys, **options)
        self.credentials = Credentials(self.verifier)
        serial = count(1)
        self.issuer = TokenIssuer(self.keys, new_id=lambda: f"id-{next(serial)}")
        self.ended = []

    async def write(self, *batch):
        changes = await self.store.write(batch, author=CONTROL_PLANE, now=NOW)
        self.keys.observe(changes)
        self.credentials.observe(changes)

    async def credential(self, mesh="default", **options):
        """What a proxy's token is known by once it was accepted."""
        token = await self.issuer.issue_dataplane_token(DataplaneClaims(mesh=mesh), now=NOW, **options)
        return await self.verifier.verify_dataplane(token, mesh=mesh, now=NOW)

    @contextmanager
    def stream(self, name, credential, mesh="default"):
        """An open stream."""
        with self.credentials.held(Key("Dataplane", mesh, name), credential, lambda: self.ended.append(name)):
            yield

    async def judged(self):
        """Which streams were ended, once all that was known by now has been looked at."""
        for _ in range(20):
            await asyncio.sleep(0)
        return self.ended


@pytest.fixture
async def plane():
    """Two meshes; the tokens of their proxies have the ids ``id-1``, ``id-2``, …."""
    made = Plane()
    other = Key("Secret", "other", "dataplane-token-signing-key-other-1")
    await made.write(secret(DEFAULT_KEY, KEYS[0]), secret(other, KEYS[1]))
    async with asyncio.TaskGroup() as group:
        running = group.create_task(made.credentials.run())
        yield made
        running.cancel()


@pytest.mark.parametrize("kind, mesh", [("GlobalSecret", ""), ("Secret", "default")])
async def test_a_revoked_token_ends_its_streams_and_no_others(plane, kind, mesh):
    """In whichever of the two places it is listed."""
    one, two = await plane.credential(), await plane.credential()
    with plane.stream("web", one), plane.stream("web-health", one), plane.stream("db", two):
        assert await plane.judged() == []
        await plane.write(secret(Key(kind, mesh, "dataplane-token-revocations-default"), b"id-1"))
        assert await plane.judged() == ["web", "web-health"]


async def test_a_list_of_another_mesh_ends_nothing(plane):
    """Ids are looked for in the list of the proxy's own mesh."""
    with plane.stream("web", await plane.credential()):
        await plane.write(secret(Key("Secret", "other", "dataplane-token-revocations-other"), b"id-1"))
        await plane.write(secret(Key("GlobalSecret", "", "dataplane-token-revocations-other"), b"id-1"))
        await plane.write(secret(Key("GlobalSecret", "", "user-token-revocations"), b"id-1"))
        assert await plane.judged() == []


async def test_a_deleted_key_ends_the_streams_of_its_tokens(plane):
    """The last step of a rotation; streams with tokens of the new key and of other meshes live on."""
    old, other = await plane.credential(), await plane.credential("other")
    with plane.stream("old", old), plane.stream("other", other, "other"):
        await plane.write(secret(Key("Secret", "default", "dataplane-token-signing-key-default-2"), KEYS[1]))
        with plane.stream("new", await plane.credential()):
            assert await plane.judged() == []
            await plane.write(Delete(DEFAULT_KEY))
            assert await plane.judged() == ["old"]


async def test_a_key_replaced_under_its_serial_ends_the_streams_of_the_old_one(plane):
    """The same number is not the same key."""
    with plane.stream("web", await plane.credential()):
        await plane.write(secret(DEFAULT_KEY, KEYS[1]))
        assert await plane.judged() == ["web"]


async def test_what_cannot_be_read_ends_no_stream(plane):
    """A slip of the pen in a secret must not disconnect a fleet; new streams are refused, which is seen."""
    with plane.stream("web", await plane.credential()):
        await plane.write(Put(LIST, b'{"data": "%"}'), secret(DEFAULT_KEY, b"no key"))
        assert await plane.judged() == []


async def test_a_readable_list_counts_beside_an_unreadable_one(plane):
    """Whoever is listed is out."""
    with plane.stream("web", await plane.credential()):
        await plane.write(secret(LIST, b"id-1"), Put(Key("GlobalSecret", "", LIST.name), b'{"data": "%"}'))
        assert await plane.judged() == ["web"]


async def test_the_end_of_a_token_ends_no_stream(plane):
    """As in Kuma: it says until when streams may be opened."""
    expired = await plane.credential(valid_for=timedelta(seconds=1))
    with plane.stream("web", expired):
        await plane.write(secret(LIST, b"id-99"))
        assert await plane.judged() == []


async def test_what_happened_before_the_stream_began_is_not_lost(plane):
    """Between the check of its token and its beginning a proxy is registered, which takes a moment."""
    credential = await plane.credential()
    await plane.write(secret(LIST, b"id-1"))
    with plane.stream("web", credential):
        assert await plane.judged() == ["web"]


async def test_a_stream_that_has_ended_is_not_ended_again(plane):
    """Nor kept in mind."""
    with plane.stream("web", await plane.credential()):
        pass
    await plane.write(secret(LIST, b"id-1"))

    assert await plane.judged() == []
    assert len(plane.credentials) == 0


async def test_without_authentication_nothing_is_watched(plane):
    """``dpServer.authn.dpProxy.type: none`` knows no tokens."""
    with plane.stream("web", None):
        assert len(plane.credentials) == 0


async def test_a_public_key_of_the_settings_keeps_its_streams():
    """Deleting a secret of the same number concerns only tokens that needed it."""
    static = {TokenKind.DATAPLANE: Trust(public_keys=(StaticKey("1", PRIVATE[0].public_key()),))}
    plane = Plane(trust=static)
    await plane.write(secret(DEFAULT_KEY, KEYS[0]))
    credential = await plane.credential()
    async with asyncio.TaskGroup() as group:
        running = group.create_task(plane.credentials.run())
        with plane.stream("web", credential):
            await plane.write(Delete(DEFAULT_KEY))
            assert await plane.judged() == []
            await plane.write(secret(LIST, b"id-1"))
            assert await plane.judged() == ["web"]
        running.cancel()


@pytest.mark.looptime
async def test_a_store_that_fails_delays_the_judgement():
    """It is made up for when the store is back."""

    class Failing(MemoryStore):
        down = False

        async def list(self, kind, mesh=None):
            if self.down:
                raise StoreUnavailable("no disk")
            return await super().list(kind, mesh)

    store = Failing()
    plane = Plane(store)
    await plane.write(secret(DEFAULT_KEY, KEYS[0]))
    credential = await plane.credential()
    async with asyncio.TaskGroup() as group:
        running = group.create_task(plane.credentials.run())
        with plane.stream("web", credential), plane.stream("web-health", credential):
            await plane.judged()
            store.down = True
            await plane.write(secret(LIST, b"id-1"))
            assert await plane.judged() == []
            store.down = False
            await asyncio.sleep(1.5)
            assert await plane.judged() == ["web", "web-health"]
        running.cancel()
