from dataclasses import replace

import pytest

from kuma.core.errors import AccessDenied, Conflict, InvalidResource
from kuma.core.model.resource import Key
from kuma.cp.resources.history import plan_rollback
from kuma.cp.store.port import ANYWHERE, Delete, Place, Put
from tests.unit.cp.resources.user import (
    ALICE,
    MESH,
    NOW,
    anyone,
    builtin,
    dataplane,
    mesh,
    permission,
    secret,
    timeout,
    told,
)

BARE = {"skipCreatingInitialPolicies": ["*"]}


async def roll_back(user, revision, place=ANYWHERE, *, allowed=anyone, dry_run=False):
    """Do it; the outcome."""
    plan = await plan_rollback(user.store, revision, place)
    return await user.resources.restore(plan.steps, author=ALICE, allowed=allowed, dry_run=dry_run)


async def state(user):
    """Everything in the store but times and versions."""
    return {r.key: (r.spec, dict(r.labels), r.owner) for r in (await user.store.contents()).records}


async def test_a_mesh_comes_back_with_its_keys_and_exactly_its_policies(user):
    """No new authority, no new signing key, and no policy that a user had deleted: proxies and tokens go on."""
    await user.put(mesh("other", mtls=builtin("ca-1")))
    await user.delete("MeshRetry", "mesh-retry-all-other", "other")
    await user.put({**timeout("a"), "mesh": "other"})
    then, before = await user.store.revision(), await state(user)
    await user.delete("Mesh", "other")

    done = await roll_back(user, then)

    assert await state(user) == before
    assert done.revision == await user.store.revision()
    assert [text for text in done.warnings if "all traffic between its proxies will be denied" in text]


async def test_all_is_written_at_once_by_whoever_asked(user):
    """One batch, in the name of the caller, in an order in which no record is without its owner."""
    await user.put(mesh("other", **BARE))
    await user.put({**timeout("a"), "mesh": "other"})
    then = await user.store.revision()
    await user.delete("Mesh", "other")
    await user.put(mesh("new", **BARE))
    await user.put({**timeout("b"), "mesh": "new"})
    last = await user.store.revision()

    await roll_back(user, then)

    changes = await user.store.history(after=last)
    assert [(c.operation.value, c.key.kind, c.key.mesh or c.key.name) for c in changes] == [
        ("create", "Mesh", "other"),
        ("create", "Secret", "other"),
        ("create", "MeshTimeout", "other"),
        ("delete", "MeshTimeout", "new"),
        ("delete", "Secret", "new"),
        ("delete", "Mesh", "new"),
    ]
    assert {(c.author, c.time) for c in changes} == {(ALICE, NOW)}


async def test_each_kind_has_to_be_permitted_before_anything_is_written(user):
    """Who may not write a Mesh does not write one by going back in time."""
    await user.put(timeout("a"))
    await user.put(mesh("other", **BARE))
    before = await state(user)

    def no_mesh(kind):
        if kind.name == "Mesh":
            raise AccessDenied("no mesh for you")

    for dry_run in (True, False):
        with pytest.raises(AccessDenied, match="no mesh for you"):
            await roll_back(user, 1, allowed=no_mesh, dry_run=dry_run)
    assert await state(user) == before


async def test_a_dry_run_writes_nothing(user):
    """And fails as the real one would."""
    await user.put(timeout("a"))
    before, revision = await state(user), await user.store.revision()

    done = await roll_back(user, 1, dry_run=True)

    assert (done.revision, await state(user), await user.store.revision()) == (0, before, revision)


async def test_what_is_not_valid_any_more_is_refused_with_every_fault(user):
    """Nothing is written, and each resource is named."""
    await user.store.write(
        [
            Put(Key("MeshTimeout", "default", "unreadable"), b'{"to": 5}', owner=MESH),
            Put(Key("MeshTimeout", "default", "invalid"), b'{"to": []}', owner=MESH),
            Put(Key("MeshTimeout", "default", "abroad"), b'{"to": []}', {"kuma.io/zone": "other"}, owner=MESH),
        ],
        author=ALICE,
        now=NOW,
    )
    then = await user.store.revision()
    for name in ("unreadable", "invalid", "abroad"):
        await user.as_control_plane(Delete(Key("MeshTimeout", "default", name)))
        await user.put(timeout(name))
    before = await state(user)

    with pytest.raises(InvalidResource) as caught:
        await roll_back(user, then)

    faults = "\n".join(f"{field}: {reason}" for field, reason in told(caught.value))
    assert 'MeshTimeout "unreadable" in mesh "default": ' in faults
    assert 'MeshTimeout "invalid" in mesh "default": spec' in faults
    assert 'MeshTimeout "abroad" in mesh "default": labels["kuma.io/zone"]' in faults
    assert (caught.value.title, caught.value.detail) == ("Could not roll back", "Nothing was changed")
    assert await state(user) == before


async def test_a_mesh_in_which_proxies_would_stay_is_not_removed(user):
    """As when it is deleted; nothing else of the rollback happens either."""
    await user.put(timeout("a"))
    await user.put(mesh("other", **BARE))
    await user.as_control_plane(Put(Key("Dataplane", "other", "d"), b"{}", owner=Key("Mesh", "", "other")))
    before = await state(user)

    with pytest.raises(InvalidResource) as caught:
        await roll_back(user, 1)

    assert told(caught.value) == [
        ('Mesh "other": mesh', "unable to delete mesh, there are still some dataplanes attached")
    ]
    assert await state(user) == before


async def test_dataplanes_that_go_too_do_not_keep_their_mesh(user):
    """A resource is judged in the world as it will be."""
    await user.put(mesh("other", **BARE))
    await user.put({**dataplane("d"), "mesh": "other"})

    await roll_back(user, 1)

    assert await user.names("Mesh") == ["default"]
    assert await user.names("Dataplane") == []


async def test_a_secret_that_a_mesh_needs_must_be_there(user):
    """A Mesh that used a secret does not come back without it; first the secret, then the Mesh."""
    await user.put(secret("cert"))
    await user.put(secret("key"))
    provided = {
        "name": "ca-1",
        "type": "provided",
        "conf": {"cert": {"secret": "cert"}, "key": {"secret": "key"}},
    }
    mtls = {"enabledBackend": "ca-1", "backends": [provided], "skipValidation": True}
    await user.put(mesh(mtls=mtls))
    then = await user.store.revision()
    await user.put(mesh(mtls=None))
    await user.delete("Secret", "key")

    await roll_back(user, then, Place("Secret", "default", "key"))
    await roll_back(user, then)

    assert (await user.get("Mesh", "default")).spec.mtls.enabled_backend == "ca-1"
    with pytest.raises(InvalidResource, match="currently in use"):
        await roll_back(user, 1, Place("Secret", "default", "key"))


async def test_a_resource_does_not_come_back_without_its_mesh(user):
    """It is said how to get both."""
    await user.put(mesh("other", **BARE))
    await user.put({**timeout("a"), "mesh": "other"})
    then = await user.store.revision()
    await user.delete("Mesh", "other")

    with pytest.raises(InvalidResource) as caught:
        await roll_back(user, then, Place("MeshTimeout", "other", "a"))

    assert told(caught.value) == [
        (
            'MeshTimeout "a" in mesh "other": mesh',
            'Mesh "other" does not exist; bring it back with all that was in it: leave out type and name',
        )
    ]


async def test_health_found_since_is_kept(user):
    """A proxy does not become ready, or not ready, by a rollback."""
    inbound = {"port": 80, "tags": {"kuma.io/service": "web"}, "serviceProbe": {"tcp": {}}}
    await user.put(dataplane("web-1", inbound))
    then = await user.store.revision()
    await user.put(dataplane("web-1", {**inbound, "tags": {"kuma.io/service": "broken"}}))
    await user.as_control_plane(replace(await user.probed("web-1", ready=True), unlogged=True))

    await roll_back(user, then)

    (found,) = (await user.get("Dataplane", "web-1")).spec.networking.inbound
    assert (found.tags["kuma.io/service"], found.health.ready) == ("web", True)


async def test_a_write_that_comes_between_is_not_lost(user):
    """What was changed after it was looked at is a conflict, and stays."""
    await user.put(timeout("a"))
    plan = await plan_rollback(user.store, 1, ANYWHERE)
    await user.put(timeout("a", labels={"a": "b"}))

    with pytest.raises(Conflict):
        await user.resources.restore(plan.steps, author=ALICE, allowed=anyone, dry_run=False)

    assert dict((await user.get("MeshTimeout", "a")).meta.labels)["a"] == "b"


async def test_a_policy_that_permits_traffic_comes_back_with_mtls(user):
    """No warning about denied traffic where the permission is on its way."""
    await user.put(mesh(mtls=builtin("ca-1")))
    await user.put(permission())
    then = await user.store.revision()
    await user.put(mesh())
    await user.delete("MeshTrafficPermission", "allow-all")

    assert (await roll_back(user, then)).warnings == ()
