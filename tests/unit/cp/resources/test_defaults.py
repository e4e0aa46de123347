"""What every control plane has from its first start on."""

import asyncio
from pathlib import Path

import pytest

from kuma.core.errors import BadRequest, InvalidResource
from kuma.core.identity import secret_data
from kuma.core.model.resource import Key
from kuma.cp.resources.defaults import ADMIN_TOKEN, CLUSTER_ID, Made, Wishes, cluster_id, create_defaults
from kuma.cp.store.memory import MemoryStore
from kuma.cp.store.port import CONTROL_PLANE, Delete, Put
from kuma.cp.store.sealing import Sealer
from kuma.cp.store.sqlite import SqliteStore
from kuma.cp.tokens.issuer import TokenIssuer
from kuma.cp.tokens.keys import SigningKeys
from kuma.cp.tokens.kinds import TokenKind
from kuma.cp.tokens.verifier import TokenVerifier
from tests.unit.cp.resources.user import NOW

ALL_WISHES = Wishes()
ALL = {
    ("GlobalSecret", "admin-user-token"),
    ("GlobalSecret", "envoy-admin-ca"),
    ("GlobalSecret", "user-token-signing-key-1"),
    ("GlobalSecret", "zone-token-signing-key-1"),
    ("Mesh", "default"),
    ("MeshCircuitBreaker", "mesh-circuit-breaker-all-default"),
    ("MeshRetry", "mesh-retry-all-default"),
    ("MeshTimeout", "mesh-gateways-timeout-all-default"),
    ("MeshTimeout", "mesh-timeout-all-default"),
    ("Secret", "dataplane-token-signing-key-default-1"),
}


@pytest.fixture
def store():
    """A store with nothing in it."""
    return MemoryStore()


async def start(store, wishes=ALL_WISHES, **issuing):
    """One start of a control plane."""
    keys = SigningKeys(store)
    issuer = TokenIssuer(keys, new_id=lambda: "id", **issuing)
    return await create_defaults(
        store, keys, issuer, wishes=wishes, zone="default", environment="universal", clock=lambda: NOW
    )


async def stored(store):
    """Kind and name of everything there is."""
    return {(record.key.kind, record.key.name) for record in (await store.contents()).records}


async def test_the_first_start_makes_everything(store):
    """And says what is new."""
    assert await start(store) == Made(mesh=True, admin_token=True)
    assert await stored(store) == ALL


async def test_a_later_start_changes_nothing(store):
    """Keys, tokens and authorities stay the ones in use."""
    await start(store)
    before = await store.contents()

    assert await start(store) == Made(mesh=False, admin_token=False)

    assert await store.contents() == before


async def test_replicas_that_start_at_once_end_with_one_of_each(store):
    """Whoever comes second takes what the first one made."""
    made = await asyncio.gather(*(start(store) for _ in range(3)))

    assert await stored(store) == ALL
    assert [sum(one.mesh for one in made), sum(one.admin_token for one in made)] == [1, 1]
    assert {record.version for record in (await store.contents()).records} == {1}


async def test_a_deleted_default_policy_does_not_come_back(store):
    """Deleting it is final; deleting the mesh is not, that is what skipMeshCreation is for."""
    await start(store)
    await store.write([Delete(Key("MeshRetry", "default", "mesh-retry-all-default"))], author=CONTROL_PLANE, now=NOW)

    await start(store)
    assert ("MeshRetry", "mesh-retry-all-default") not in await stored(store)

    await store.write([Delete(Key("Mesh", "", "default"))], author=CONTROL_PLANE, now=NOW)
    assert (await start(store)).mesh
    assert await stored(store) == ALL


async def test_the_settings_say_what_is_not_wanted(store):
    """No mesh; no user tokens, hence no key and no token for them; no token."""
    await start(store, Wishes(mesh=False, user_tokens=False))
    assert await stored(store) == {("GlobalSecret", "envoy-admin-ca"), ("GlobalSecret", "zone-token-signing-key-1")}

    await start(store, Wishes(mesh=False, admin_token=False))
    assert ("GlobalSecret", "user-token-signing-key-1") in await stored(store)
    assert ("GlobalSecret", "admin-user-token") not in await stored(store)


async def test_the_admin_token_opens_the_api(store):
    """It is a token of the administrators' group, signed with the user key, and holds for ten years."""
    await start(store)

    token = secret_data.decode((await store.get(ADMIN_TOKEN)).spec).decode()

    verified = await TokenVerifier(SigningKeys(store)).verify_user(token, now=NOW)
    assert (verified.claims.name, verified.claims.groups) == ("mesh-system:admin", ("mesh-system:admin",))
    assert verified.lifetime.expires == NOW.timestamp() + 10 * 365 * 24 * 3600


async def test_a_token_that_may_not_be_issued_is_an_error(store):
    """Settings that contradict each other are not passed over."""
    with pytest.raises(BadRequest, match="issuing tokens using the control plane is disabled"):
        await start(store, enabled={TokenKind.USER: False})


async def test_the_cluster_id_is_for_ever(store):
    """Later starts and other replicas get the first one, and no user sees it among the resources."""
    ids = iter("abc")
    assert await cluster_id(store, new_id=lambda: next(ids), now=NOW) == "a"
    assert await cluster_id(store, new_id=lambda: next(ids), now=NOW) == "a"
    assert await store.history() == ()


async def test_replicas_that_start_at_once_agree_on_the_cluster_id(store):
    """Whoever comes second takes the first one's."""
    ids = iter("abc")

    found = await asyncio.gather(*(cluster_id(store, new_id=lambda: next(ids), now=NOW) for _ in range(3)))

    assert len(set(found)) == 1


@pytest.mark.parametrize("spec", [b"", b"[]", b'{"other":1}', b"5"])
async def test_a_damaged_cluster_id_is_not_replaced(store, spec):
    """Whoever counts on it would take the control plane for another."""
    await store.write([Put(CLUSTER_ID, spec)], author=CONTROL_PLANE, now=NOW)

    with pytest.raises(InvalidResource, match="kuma-cluster-id"):
        await cluster_id(store, new_id=lambda: "new", now=NOW)


async def test_all_of_it_survives_a_restart(tmp_path: Path):
    """In the default store, on disk."""
    path, sealer = tmp_path / "kuma.db", Sealer(b"k" * 32)
    store = await SqliteStore.open(path, sealer)
    await start(store)
    first = await cluster_id(store, new_id=lambda: "a", now=NOW)
    before = await store.contents()
    await store.close()

    store = await SqliteStore.open(path, sealer)
    try:
        await start(store)
        assert await cluster_id(store, new_id=lambda: "b", now=NOW) == first
        assert await store.contents() == before
        assert await store.revision() == before.revision
    finally:
        await store.close()
