"""The way of a write through the rules, and which error wins."""

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kuma.core.errors import AccessDenied, Conflict, InvalidResource, MeshError, MethodNotAllowed, NotFound
from kuma.core.model.kinds import BY_NAME, KINDS
from kuma.core.model.resource import Key, definition
from kuma.cp.resources import Resources
from kuma.cp.store.memory import MemoryStore
from kuma.cp.store.port import Author, Delete, Put
from tests.unit.core.resources.documents import JSON, field_names, nearly
from tests.unit.cp.resources.user import (
    ALICE,
    MESH,
    NOW,
    User,
    anyone,
    builtin,
    dataplane,
    mesh,
    secret,
    timeout,
    told,
)


def nobody(kind):
    """Access control that lets nobody do anything."""
    raise AccessDenied(f"not {kind.name}")


class Interrupted(MemoryStore):
    """A store in which others write just before a write of a user."""

    def __init__(self, *others: Put | Delete) -> None:
        super().__init__()
        self.others = list(others)

    async def write(self, batch, *, author: Author, now):
        if author == ALICE and self.others:
            await super().write([self.others.pop(0)], author=Author("other"), now=now)
        return await super().write(batch, author=author, now=now)


async def interrupted(document: dict[str, Any], *others: Put | Delete) -> User:
    """A user whose document is stored, and whose next write comes after those of others."""
    store = Interrupted()
    user = User(store, Resources(store, lambda: NOW))
    await user.as_control_plane(Put(MESH, b"{}"))
    await user.put(document)
    store.others = list(others)
    return user


async def test_a_new_resource_is_told_from_a_replaced_one(user):
    """The API answers 201 or 200 by it."""
    assert (await user.put(timeout())).created is True
    assert (await user.put(timeout(labels={"a": "b"}))).created is False


async def test_a_write_replaces_the_spec_and_the_labels_whole(user):
    """What the second document leaves out is gone, labels included; computed labels are computed again."""
    await user.put(timeout(labels={"team": "a"}))
    other = timeout()
    other["spec"] = {"to": [{"targetRef": {"kind": "Mesh"}, "default": {"idleTimeout": "1h"}}]}
    await user.put(other)

    found = await user.get("MeshTimeout", "t")

    assert found.spec.to[0].default.connection_timeout is None
    assert found.meta.labels == {
        "kuma.io/env": "universal",
        "kuma.io/mesh": "default",
        "kuma.io/origin": "zone",
        "kuma.io/zone": "default",
    }
    assert (found.meta.version, found.meta.created) == (2, NOW)


async def test_an_unchanged_document_makes_no_write(user):
    """Applying a file again moves nothing: no new version, no new revision."""
    for document in (timeout(), dataplane(), secret("s")):
        await user.put(document)
        revision = await user.resources.revision()
        await user.put(document)
        assert await user.resources.revision() == revision


async def test_a_missing_mesh_comes_before_everything(newcomer):
    """The mesh of the URL is looked for first, and the error says that it is the mesh that is missing."""
    for document in (timeout(), {"name": "broken"}):
        with pytest.raises(NotFound, match='Mesh "nowhere" does not exist') as caught:
            await newcomer.put(document, kind="MeshTimeout", mesh="nowhere")
        assert caught.value.title == "Failed to retrieve Mesh"


async def test_a_broken_document_comes_before_the_question_who_asks(user):
    """Someone who may not write learns that the document is broken, and only with a good one that he may not."""
    await user.refused({**secret("s"), "data": "%"}, allowed=nobody)
    await user.refused(secret("s"), name="other", allowed=nobody)
    with pytest.raises(AccessDenied, match="not Secret"):
        await user.put(secret("s"), allowed=nobody)
    with pytest.raises(AccessDenied):  # before anything that depends on what else is stored
        await user.put(mesh(name="m", mtls={"backends": [{"name": "", "type": "builtin"}]}), allowed=nobody)
    assert await user.names("Secret") == []


async def test_faults_of_the_spec_come_before_those_of_the_name(user):
    """The order of Kuma: the spec first, then name, type, mesh and labels, all of them at once."""
    broken = timeout(labels={"-": "x"})
    assert await told_about(user, {**broken, "spec": {}}, name="Other") == [
        ("spec", "at least one of 'from', 'to' or 'rules' has to be defined")
    ]
    assert [field for field, _ in await told_about(user, {**broken, "mesh": "b"}, mesh="default", name="Other")] == [
        "name",
        "mesh",
        'labels["-"]',
        "name",
    ]


async def told_about(user, document, **url):
    """What is told about a broken document, with the title of such errors."""
    error = await user.refused(document, **url)
    assert error.title == "Could not process a resource"
    return told(error)


async def test_labels_that_say_where_a_resource_is_from_do_not_change(user):
    """Origin, zone and display name stay as they were created."""
    await user.put(timeout(labels={"kuma.io/display-name": "nice"}))

    error = await user.refused(timeout(labels={"kuma.io/origin": "global"}))

    assert error.title == "Could not update a resource"
    assert told(error) == [
        ('labels["kuma.io/origin"]', 'is immutable, cannot be changed from "zone" to "global"'),
        ('labels["kuma.io/zone"]', 'is immutable, cannot be removed (was "default")'),
        ('labels["kuma.io/display-name"]', 'is immutable, cannot be removed (was "nice")'),
    ]


async def test_unknown_fields_are_dropped_and_named(user):
    """A typing error does not pass in silence."""
    document = timeout(oops=1)
    document["spec"]["to"][0]["default"]["conectionTimeout"] = "1s"

    written = await user.put(document)

    assert written.warnings == (
        'field "oops" is not known and was ignored; check its spelling and place',
        'field "spec.to[0].default.conectionTimeout" is not known and was ignored; check its spelling and place',
    )
    assert "conectionTimeout" not in (await user.store.get(Key("MeshTimeout", "default", "t"))).spec.decode()


async def test_what_is_deprecated_is_said(user):
    """The sentences of the kind reach the user."""
    document = timeout()
    document["spec"]["from"] = document["spec"]["to"]

    assert (await user.put(document)).warnings == ("'from' field is deprecated, use 'rules' instead",)


async def test_what_the_control_plane_observes_cannot_be_written(user):
    """Insights are read only, also for deletes."""
    with pytest.raises(MethodNotAllowed, match="DataplaneInsight is written by the control plane"):
        await user.put({"type": "DataplaneInsight", "mesh": "default", "name": "web-1"})
    with pytest.raises(MethodNotAllowed):
        await user.delete("DataplaneInsight", "web-1")


async def test_the_author_of_a_change_is_kept(user):
    """The history knows who wrote."""
    await user.put(timeout())

    assert (await user.store.history())[-1].author == ALICE


async def test_resources_of_a_mesh_go_with_it(user):
    """Nothing of a mesh is left when it is deleted."""
    await user.put(timeout())
    await user.put(secret("s"))

    await user.delete("Mesh", "default")

    assert (await user.store.contents()).records == ()


async def test_a_status_written_by_the_control_plane_outlives_a_write(user):
    """Users write specs; the status beside one stays, and one in a document is not stored."""
    await user.put(timeout())
    key = Key("MeshTimeout", "default", "t")
    await user.as_control_plane(Put(key, (await user.store.get(key)).spec, status=b'{"a":1}', owner=MESH))

    await user.put(timeout(labels={"x": "y"}, status={"b": 2}))

    assert (await user.store.get(key)).status == b'{"a":1}'


async def test_a_write_of_the_control_plane_in_between_does_not_bother_the_user():
    """The health of a proxy changed while its user wrote: the write goes through, and the health stays known."""
    probed = {"port": 80, "tags": {"kuma.io/service": "web"}, "serviceProbe": {"tcp": {}}}
    user = await interrupted(dataplane("web-1", probed))
    user.store.others = [await user.probed("web-1", ready=True)]

    await user.put(dataplane("web-1", {**probed, "name": "http"}))

    inbound = (await user.get("Dataplane", "web-1")).spec.networking.inbound[0]
    assert (inbound.name, inbound.state.value, inbound.health.ready) == ("http", "Ready", True)


@pytest.mark.parametrize(
    "other",
    [Put(Key("MeshTimeout", "default", "t"), b'{"to":[]}', owner=MESH), Delete(Key("MeshTimeout", "default", "t"))],
)
async def test_a_write_of_another_user_in_between_is_a_conflict(other):
    """Nobody's change is overwritten unseen."""
    user = await interrupted(timeout(), other)

    with pytest.raises(Conflict):
        await user.put(timeout(labels={"mine": "yes"}))


async def test_a_mesh_deleted_in_between_is_missing():
    """A proxy that joins while its mesh goes is told that the mesh is gone."""
    user = await interrupted(timeout(), Delete(MESH))

    with pytest.raises(NotFound, match='Mesh "default"'):
        await user.put(timeout("new"))


async def test_of_two_who_create_the_same_resource_one_is_first(user):
    """The other hears of it; nothing is half written."""
    results = await asyncio.gather(user.put(mesh("m", mtls=builtin("ca"))), user.put(mesh("m")), return_exceptions=True)

    assert sum(isinstance(result, Conflict) for result in results) == 1


async def test_reading_what_is_not_there(user):
    """A missing resource is told from a missing mesh."""
    with pytest.raises(NotFound, match='MeshTimeout "t" in mesh "default" does not exist') as caught:
        await user.get("MeshTimeout", "t")
    assert caught.value.title == ""
    with pytest.raises(NotFound) as caught:
        await user.get("MeshTimeout", "t", mesh="nowhere")
    assert caught.value.title == "Failed to retrieve Mesh"
    for name, home in (("t", "default"), ("t", "nowhere")):
        with pytest.raises(NotFound):
            await user.delete("MeshTimeout", name, home)


async def test_deleting_asks_who_asks(user):
    """After it is known that there is something to delete, before anything else."""
    await user.put(timeout())
    with pytest.raises(AccessDenied):
        await user.resources.delete(BY_NAME["MeshTimeout"], "default", "t", author=ALICE, allowed=nobody)

    await user.delete("MeshTimeout", "t")

    assert await user.names("MeshTimeout") == []


async def test_lists_are_sorted_and_of_one_mesh_where_asked(user):
    """By mesh, then name."""
    await user.as_control_plane(Put(Key("Mesh", "", "a"), b"{}"))
    for home, name in (("default", "b"), ("default", "a"), ("a", "z")):
        await user.put(timeout(name) | {"mesh": home})

    everywhere = await user.resources.list(BY_NAME["MeshTimeout"])
    here = await user.resources.list(BY_NAME["MeshTimeout"], "default")

    assert [(found.meta.mesh, found.meta.name) for found in everywhere] == [
        ("a", "z"),
        ("default", "a"),
        ("default", "b"),
    ]
    assert [found.meta.name for found in here] == ["a", "b"]


async def test_a_resource_that_cannot_be_read_can_be_replaced(user):
    """A stored text that fits no schema any more is mended by applying the right one."""
    await user.as_control_plane(Put(Key("MeshTimeout", "default", "t"), b'{"to": 5}', owner=MESH))
    for reading in (user.get("MeshTimeout", "t"), user.resources.list(BY_NAME["MeshTimeout"])):
        with pytest.raises(InvalidResource) as caught:
            await reading
        assert caught.value.detail == (
            'MeshTimeout "t" in mesh "default", as it is stored, cannot be read: apply it again, or delete it'
        )

    assert (await user.put(timeout())).created is False
    assert (await user.get("MeshTimeout", "t")).spec.to


WRITABLE = [kind for kind in KINDS if not kind.read_only]


@st.composite
def documents(draw):
    """A kind, and something that a careless writer might send for it."""
    kind = draw(st.sampled_from(WRITABLE))
    spec = draw(nearly(field_names(definition(kind.name).spec)) | JSON)
    meta = {"type": kind.name, "mesh": "default", "name": "one"}
    odd = draw(st.dictionaries(st.sampled_from(["type", "mesh", "name", "labels", "spec", "extra"]), JSON, max_size=2))
    body = {"spec": spec} if kind.policy else spec if isinstance(spec, dict) else {"conf": spec}
    return kind, {**body, **meta, **odd} if draw(st.booleans()) else {**meta, **body, **odd}


@given(documents())
async def test_whatever_is_written_the_answer_is_an_error_of_ours_or_success(case):
    """No document makes the control plane fail in a way it did not mean to."""
    kind, document = case
    store = MemoryStore()
    resources = Resources(store, lambda: NOW)
    await store.write([Put(MESH, b"{}")], author=ALICE, now=NOW)
    home = "default" if kind.scope.value == "Mesh" else ""
    try:
        written = await resources.put(kind, home, "one", document, author=ALICE, allowed=anyone)
    except MeshError:
        return
    assert written.created
    found = await resources.get(kind, home, "one")
    assert definition(kind.name).spec.model_validate(found.spec.to_json()) == found.spec


@given(st.text(), st.text(max_size=300))
async def test_whatever_a_url_names_the_answer_is_an_error_of_ours(home, name):
    """Names from URLs are checked like everything else."""
    store = MemoryStore()
    resources = Resources(store, lambda: NOW)
    await store.write([Put(MESH, b"{}")], author=ALICE, now=NOW)
    for place in (home, "default"):
        for call in (
            resources.get(BY_NAME["MeshTimeout"], place, name),
            resources.put(BY_NAME["MeshTimeout"], place, name, timeout(name), author=ALICE, allowed=anyone),
        ):
            try:
                await call
            except MeshError:
                continue


async def test_others_are_served_while_a_large_document_is_checked(user):
    """Written, refused or replaced: its checks do not hold the event loop."""
    outbounds = [{"port": port, "tags": {"kuma.io/service": f"s{port}"}} for port in range(1, 4001)]
    large = dataplane("large")
    large["networking"]["outbound"] = outbounds
    turns = 0

    async def count_turns() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    counting = asyncio.create_task(count_turns())
    for port, fits in ((1, True), (2, True), (0, False)):
        outbounds[0]["port"] = port
        before = turns

        await (user.put(large) if fits else user.refused(large))

        assert turns > before + 20  # held up, it would be the few between the steps
    counting.cancel()
