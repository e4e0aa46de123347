import pytest

from kuma.core.errors import BadRequest, NotFound
from kuma.core.model.kinds import BY_NAME
from kuma.core.model.resource import Key
from kuma.cp.resources.history import MOST_RECORDS, difference, plan_rollback
from kuma.cp.store.port import ANYWHERE, Author, Delete, Note, Place, Put
from tests.unit.cp.resources.user import ALICE, MESH, NOW, anyone, dataplane, mesh, secret, timeout

PROXY = Author("dataplane:default/web-1", address="10.0.0.9")
DP = Key("Dataplane", "default", "web-1")


async def steps(user, revision, place=ANYWHERE):
    """What a rollback would do, as (kind, name, what)."""
    plan = await plan_rollback(user.store, revision, place)
    told = {(True, False): "delete", (False, True): "create", (True, True): "change"}
    return [(s.key.kind, s.key.name, told[s.before is not None, s.after is not None]) for s in plan.steps]


async def left(user, revision, place=ANYWHERE):
    """What it would leave alone, and why."""
    plan = await plan_rollback(user.store, revision, place)
    return [(one.key.kind, one.key.name, one.reason) for one in plan.left]


async def test_a_plan_takes_back_what_people_did(user):
    """What was made goes, what was changed is changed back, what was deleted is made again."""
    await user.put(timeout("changed"))
    await user.put(timeout("deleted"))
    await user.put(timeout("same"))
    then = await user.store.revision()
    await user.put(timeout("made"))
    await user.put(timeout("changed", labels={"a": "b"}))
    await user.delete("MeshTimeout", "deleted")

    assert await steps(user, then) == [
        ("MeshTimeout", "changed", "change"),
        ("MeshTimeout", "deleted", "create"),
        ("MeshTimeout", "made", "delete"),
    ]


async def test_what_came_and_went_or_is_again_what_it_was_needs_nothing(user):
    """Only the two ends count."""
    await user.put(timeout("t"))
    then = await user.store.revision()
    await user.put(timeout("t", labels={"a": "b"}))
    await user.put(timeout("t"))
    await user.put(timeout("short-lived"))
    await user.delete("MeshTimeout", "short-lived")
    await user.store.write([Note(Key("UserToken", "", "x"), b"{}")], author=ALICE, now=NOW)

    assert await steps(user, then) == await left(user, then) == []


async def test_a_plan_for_one_place_leaves_the_rest(user):
    """One mesh with all in it, or one resource."""
    then = await user.store.revision()
    await user.put(timeout("a"))
    await user.put(timeout("b"))
    await user.put(mesh("other", skipCreatingInitialPolicies=["*"]))
    await user.put({**timeout("a"), "mesh": "other"})

    assert await steps(user, then, Place("MeshTimeout", "default", "a")) == [("MeshTimeout", "a", "delete")]
    assert set(await steps(user, then, Place(mesh="other"))) == {
        ("Mesh", "other", "delete"),
        ("MeshTimeout", "a", "delete"),
        ("Secret", "dataplane-token-signing-key-other-1", "delete"),
    }


async def test_a_mesh_alone_takes_along_what_it_cannot_do_without(user):
    """Its keys come back with it; all that is in it goes with it; a change concerns nothing else."""
    before = await user.store.revision()
    await user.put(mesh("other", skipCreatingInitialPolicies=["*"]))
    made = await user.store.revision()
    await user.put({**timeout("a"), "mesh": "other"})
    full = await user.store.revision()
    key = "dataplane-token-signing-key-other-1"
    alone = Place("Mesh", "", "other")

    assert sorted(await steps(user, before, alone)) == [
        ("Mesh", "other", "delete"),
        ("MeshTimeout", "a", "delete"),
        ("Secret", key, "delete"),
    ]
    assert await steps(user, made, alone) == []
    await user.delete("Mesh", "other")
    assert sorted(await steps(user, full, alone)) == [("Mesh", "other", "create"), ("Secret", key, "create")]


async def test_secrets_are_left_alone_unless_they_are_named(user):
    """No list of revoked tokens and no rotated key goes back by accident; it is said which did not."""
    await user.put(secret("ca"))
    then = await user.store.revision()
    await user.put(secret("ca", "bmV3"))
    await user.put(secret("new"))
    reason = "a secret comes back only when it is named, or with the mesh that it was deleted with"

    assert await steps(user, then) == []
    assert await left(user, then) == [("Secret", "ca", reason), ("Secret", "new", reason)]
    assert await steps(user, then, Place("Secret", "default", "ca")) == [("Secret", "ca", "change")]
    assert await steps(user, then, Place("Secret", "default", "new")) == [("Secret", "new", "delete")]


async def test_what_the_control_plane_did_is_left_as_it_is(user):
    """Without a word where no person had a hand in it, and with a reason where one had."""
    then = await user.store.revision()
    await user.as_control_plane(Put(Key("MeshTimeout", "default", "ours"), b'{"to":[]}', owner=MESH))
    await user.as_control_plane(Put(Key("MeshRetry", "default", "mixed"), b'{"to":[]}', owner=MESH))
    assert await left(user, then) == await steps(user, then) == []

    await user.store.write([Put(Key("MeshRetry", "default", "mixed"), b"{}", owner=MESH)], author=ALICE, now=NOW)

    assert await steps(user, then) == []
    assert await left(user, then) == [("MeshRetry", "mixed", "the control plane itself made it")]


@pytest.fixture
async def joined(user):
    """A proxy is in the mesh with a Dataplane of its own; what it writes."""

    async def join(**fields):
        document = dataplane("web-1", **fields)
        await user.resources.put(BY_NAME["Dataplane"], "default", "web-1", document, author=PROXY, allowed=anyone)

    await join()
    return join


async def test_a_dataplane_that_a_proxy_brought_is_left_to_it(user, joined):
    """Whether it came, changed or left since, and whoever else wrote it in between."""
    was_there = await user.store.revision()
    reason = [("Dataplane", "web-1", "its proxy writes it")]
    await user.put(dataplane("web-1", labels={"a": "b"}))
    assert (await steps(user, was_there), await left(user, was_there)) == ([], reason)
    assert (await steps(user, 1), await left(user, 1)) == ([], reason)
    await user.delete("Dataplane", "web-1")
    assert (await steps(user, was_there), await left(user, was_there)) == ([], reason)
    one = Place("Dataplane", "default", "web-1")
    assert (await steps(user, was_there, one), await left(user, was_there, one)) == ([], reason)


async def test_proxies_that_come_and_go_are_not_even_mentioned(user, joined):
    """A fleet that scales would drown the plan."""
    was_there = await user.store.revision()
    await user.as_control_plane(Delete(DP))
    await joined(labels={"v": "2"})

    assert await steps(user, 1) == await left(user, 1) == []
    assert await steps(user, was_there) == await left(user, was_there) == []


async def test_a_dataplane_that_was_removed_because_its_proxy_was_gone_stays_away(user):
    """Also if a person wrote it."""
    await user.put(dataplane("web-1"))
    then = await user.store.revision()
    await user.put(dataplane("web-1", labels={"a": "b"}))
    await user.as_control_plane(Delete(DP))

    reason = "the control plane removed it because its proxy was gone"
    assert (await steps(user, then), await left(user, then)) == ([], [("Dataplane", "web-1", reason)])


async def test_a_dataplane_that_a_person_wrote_comes_back(user):
    """As any other resource."""
    await user.put(dataplane("web-1"))
    then = await user.store.revision()
    await user.delete("Dataplane", "web-1")

    assert await steps(user, then) == [("Dataplane", "web-1", "create")]


async def test_health_is_no_difference(user):
    """What probes found since is not taken back."""
    await user.put(dataplane("web-1", {"port": 80, "tags": {"kuma.io/service": "web"}, "serviceProbe": {"tcp": {}}}))
    then = await user.store.revision()
    await user.put(dataplane("web-1"))
    await user.put(dataplane("web-1", {"port": 80, "tags": {"kuma.io/service": "web"}, "serviceProbe": {"tcp": {}}}))
    probed = await user.probed("web-1", ready=True)
    await user.as_control_plane(probed)

    assert await steps(user, then) == []


async def test_a_kind_that_is_not_known_any_more_is_left_alone(user):
    """A newer version may have written it."""
    then = await user.store.revision()
    await user.store.write([Put(Key("MeshTelepathy", "default", "x"), b"{}")], author=ALICE, now=NOW)

    assert await left(user, then) == [("MeshTelepathy", "x", "the control plane itself writes it")]


async def test_a_state_that_the_log_cannot_tell_is_refused(user):
    """With the oldest that it can tell; so is one that is yet to come."""
    await user.put(timeout("a"))
    await user.put(timeout("b"))
    await user.store.trim(now=NOW, max_age=NOW - NOW, max_entries=1)
    newest = await user.store.revision()

    with pytest.raises(BadRequest, match=f"oldest state that it can tell is that right after revision {newest - 1}"):
        await plan_rollback(user.store, newest - 2, ANYWHERE)
    assert await steps(user, newest - 1) == [("MeshTimeout", "b", "delete")]
    with pytest.raises(BadRequest, match=f"revision {newest + 1} does not exist yet: the newest is {newest}"):
        await plan_rollback(user.store, newest + 1, ANYWHERE)


async def test_a_resource_that_never_was_is_named(user):
    """A slip of the pen is not "nothing to change"."""
    with pytest.raises(NotFound) as caught:
        await plan_rollback(user.store, 1, Place("MeshTimeout", "default", "tpyo"))

    assert caught.value.title == (
        'There is no MeshTimeout "tpyo" in mesh "default", and there was none right after revision 1'
    )


async def test_more_than_anybody_can_look_at_is_refused(user):
    """With what to do instead."""
    batch = [Put(Key("MeshTimeout", "default", f"t-{n}"), b"{}") for n in range(MOST_RECORDS + 1)]
    await user.store.write(batch, author=ALICE, now=NOW)

    with pytest.raises(BadRequest, match=r"more than 2000 resources .* ask for one mesh or one resource"):
        await plan_rollback(user.store, 1, ANYWHERE)


async def test_equal_plans_have_equal_fingerprints_and_others_do_not(user):
    """Whoever agreed to a plan agrees to no other."""
    await user.put(timeout("a"))
    await user.put(timeout("b"))
    first = (await plan_rollback(user.store, 1, ANYWHERE)).fingerprint
    await user.as_control_plane(Put(Key("DataplaneInsight", "default", "x"), b"{}", unlogged=True))
    assert (await plan_rollback(user.store, 1, ANYWHERE)).fingerprint == first

    others = {first, (await plan_rollback(user.store, 2, ANYWHERE)).fingerprint}
    await user.put(timeout("a", labels={"a": "b"}))
    others.add((await plan_rollback(user.store, 1, ANYWHERE)).fingerprint)
    assert len(others) == 3


async def test_two_states_are_compared_in_either_direction(user):
    """What is before and what is after follows from the order they are named in."""
    await user.put(timeout("t"))
    early = await user.store.revision()
    await user.put(timeout("t", labels={"a": "b"}))
    late = await user.store.revision()
    await user.delete("MeshTimeout", "t")
    place = Place(mesh="default")

    (forth,) = await difference(user.store, early, late, place, people_only=True)
    (back,) = await difference(user.store, late, early, place, people_only=True)
    (until_now,) = await difference(user.store, early, None, place, people_only=True)

    assert (forth.before, forth.after) == (back.after, back.before)
    assert (dict(forth.before.labels).get("a"), dict(forth.after.labels)["a"]) == (None, "b")
    assert (until_now.before, until_now.after) == (forth.before, None)
    assert await difference(user.store, late, late, place, people_only=True) == ()


async def test_a_comparison_shows_what_people_changed_or_all(user):
    """As the list does."""
    then = await user.store.revision()
    await user.as_control_plane(Put(Key("MeshTimeout", "default", "ours"), b'{"to":[]}', owner=MESH))

    assert await difference(user.store, then, None, ANYWHERE, people_only=True) == ()
    assert len(await difference(user.store, then, None, ANYWHERE, people_only=False)) == 1
    with pytest.raises(BadRequest, match="revision 99 does not exist yet"):
        await difference(user.store, then, 99, ANYWHERE, people_only=True)
