"""Writing and reading records."""

import asyncio
from datetime import UTC, timedelta, timezone

import pytest

from kuma.core.errors import Conflict, NotFound, StoreUnavailable
from kuma.core.model.resource import Key
from kuma.cp.store.port import Delete, Operation, Put
from tests.contract.store.examples import ALICE, DP, INSIGHT, MESH, NOW, SECRET, timeout, write


async def test_what_was_written_is_read_back_whole(store):
    """Every part of a record survives, the bytes of the spec exactly."""
    spec = ' {"a": "ü\\u0000",  "b": [1.0, 1e3]} '.encode()
    await write(store, Put(MESH, b"{}"))
    await write(store, Put(timeout("t"), spec, {"a/b": "c", "empty": ""}, b'{"s":1}', MESH))

    record = await store.get(timeout("t"))

    assert (record.key, record.spec, record.status, record.owner) == (timeout("t"), spec, b'{"s":1}', MESH)
    assert record.labels == {"a/b": "c", "empty": ""}
    assert (record.created, record.modified, record.version, record.revision) == (NOW, NOW, 1, 2)


async def test_status_none_and_empty_are_told_apart(store):
    """A record without status stays one; an empty status stays empty."""
    await write(store, Put(timeout("none"), b"{}"), Put(timeout("empty"), b"{}", status=b""))

    assert (await store.get(timeout("none"))).status is None
    assert (await store.get(timeout("empty"))).status == b""


async def test_a_missing_record_is_not_found_by_name(store):
    """The error names what is missing; ``find`` says None instead."""
    with pytest.raises(NotFound, match='MeshTimeout "t" in mesh "default" does not exist'):
        await store.get(timeout("t"))
    assert await store.find(timeout("t")) is None


async def test_an_update_keeps_the_creation_time_and_counts_the_version(store):
    """``created`` is the first write, ``modified`` the last, ``version`` counts."""
    await write(store, Put(timeout("t"), b"1"))
    await write(store, Put(timeout("t"), b"2"), at=60)

    record = await store.get(timeout("t"))

    assert (record.created, record.modified, record.version) == (NOW, NOW + timedelta(seconds=60), 2)


async def test_times_are_utc_whatever_the_writer_says(store):
    """The same instant given in another zone is the same instant in UTC."""
    there = NOW.astimezone(timezone(timedelta(hours=5)))
    await store.write([Put(timeout("t"), b"{}")], author=ALICE, now=there)

    created = (await store.get(timeout("t"))).created

    assert created == NOW
    assert created.tzinfo is UTC


async def test_an_equal_put_changes_nothing(store):
    """Same spec, labels, status and owner: no version, no revision, no log entry."""
    await write(store, Put(MESH, b"{}"), Put(timeout("t"), b"{}", {"a": "b"}, b"s", MESH), Put(SECRET, b'{"data":"x"}'))
    before = await store.contents()

    assert await write(store, Put(timeout("t"), b"{}", {"a": "b"}, b"s", MESH), at=9) == ()
    assert await write(store, Put(SECRET, b'{"data":"x"}'), at=9) == ()
    assert await store.contents() == before
    assert len(await store.history()) == 3


@pytest.mark.parametrize(
    "put",
    [
        pytest.param(Put(timeout("t"), b"{ }", {"a": "b"}, b"s", MESH), id="spec"),
        pytest.param(Put(timeout("t"), b"{}", {"a": "c"}, b"s", MESH), id="labels"),
        pytest.param(Put(timeout("t"), b"{}", {}, b"s", MESH), id="no labels"),
        pytest.param(Put(timeout("t"), b"{}", {"a": "b"}, None, MESH), id="status"),
        pytest.param(Put(timeout("t"), b"{}", {"a": "b"}, b"s"), id="owner"),
    ],
)
async def test_a_put_that_differs_anywhere_is_a_change(store, put):
    """Each part of a record counts."""
    await write(store, Put(MESH, b"{}"), Put(timeout("t"), b"{}", {"a": "b"}, b"s", MESH))

    (change,) = await write(store, put)

    assert (change.operation, change.after.version) == (Operation.UPDATE, 2)
    assert await store.get(timeout("t")) == change.after


async def test_lists_are_by_mesh_then_name_and_of_one_kind(store):
    """A list holds its kind only, in order, of one mesh when asked."""
    keys = [timeout("b", "m2"), timeout("b", "m1"), timeout("a", "m2"), Key("MeshRetry", "m1", "a"), MESH]
    await write(store, *[Put(key, b"{}") for key in keys])

    assert [r.key for r in await store.list("MeshTimeout")] == [keys[1], keys[2], keys[0]]
    assert [r.key for r in await store.list("MeshTimeout", "m2")] == [keys[2], keys[0]]
    assert [r.key for r in await store.list("Mesh", "")] == [MESH]
    assert await store.list("MeshTimeout", "nowhere") == ()


async def test_names_are_compared_byte_by_byte(store):
    """Case, composed letters, wildcards and NULs make different names."""
    names = ["a", "A", "%", "_", "a\0b", "a\0c", "\u00e9", "e\u0301", "'; --", "\U0001f600"]
    await write(store, *[Put(timeout(name), name.encode()) for name in names])

    assert [(await store.get(timeout(name))).spec for name in names] == [name.encode() for name in names]
    assert [r.key.name for r in await store.list("MeshTimeout")] == sorted(names)


async def test_a_name_that_is_no_text_is_not_there(store):
    """A lone surrogate, which JSON can carry, names nothing and cannot be stored."""
    bad = timeout("\ud800")

    assert await store.find(bad) is None
    assert await store.list("MeshTimeout", "\ud800") == ()
    assert await store.history(key=bad) == ()
    with pytest.raises(NotFound):
        await write(store, Delete(bad))
    with pytest.raises(ValueError, match="not text"):
        await write(store, Put(timeout("fine"), b"{}"), Put(bad, b"{}"))
    assert await store.find(timeout("fine")) is None


async def test_a_batch_is_written_whole_or_not_at_all(store):
    """The last operation fails, so the first leaves no trace."""
    await write(store, Put(timeout("t"), b"1"))
    before = await store.contents()

    with pytest.raises(NotFound):
        await write(store, Put(timeout("new"), b"{}"), Put(timeout("t"), b"2"), Delete(timeout("missing")))

    assert await store.contents() == before
    assert len(await store.history()) == 1


async def test_operations_see_those_before_them(store):
    """A batch may create, change and delete one record; each is a change with its own revision."""
    changes = await write(
        store,
        Put(timeout("t"), b"1", expected_version=0),
        Put(timeout("t"), b"2", expected_version=1),
        Delete(timeout("t"), expected_version=2),
        Put(timeout("t"), b"3", expected_version=0),
    )

    operations = [Operation.CREATE, Operation.UPDATE, Operation.DELETE, Operation.CREATE]
    assert [(c.revision, c.operation) for c in changes] == list(enumerate(operations, start=1))
    assert (await store.get(timeout("t"))).spec == b"3"


async def test_a_write_with_a_stale_version_is_a_conflict_and_changes_nothing(store):
    """The error names the resource and both versions; an equal spec is no excuse."""
    await write(store, Put(timeout("t"), b"1"))
    await write(store, Put(timeout("t"), b"2"))

    for batch in [Put(timeout("t"), b"3", expected_version=1)], [Put(timeout("t"), b"2", expected_version=1)]:
        with pytest.raises(Conflict, match=r'"t" in mesh "default".*version 2 is stored, version 1 was expected'):
            await write(store, *batch)
    with pytest.raises(Conflict, match="version 1 was expected"):
        await write(store, Delete(timeout("t"), expected_version=1))
    assert (await store.get(timeout("t"))).spec == b"2"


async def test_creating_what_exists_and_changing_what_is_gone_conflict(store):
    """``expected_version`` 0 is "must not exist yet"."""
    await write(store, Put(timeout("t"), b"1", expected_version=0))

    with pytest.raises(Conflict, match="already exists"):
        await write(store, Put(timeout("t"), b"2", expected_version=0))
    with pytest.raises(Conflict, match="does not exist any more"):
        await write(store, Put(timeout("gone"), b"2", expected_version=3))


async def test_of_parallel_writers_of_one_version_exactly_one_wins(store):
    """Read, add one, write: every increment counts once, however many writers race."""

    async def increment():
        while True:
            record = await store.get(timeout("counter"))
            put = Put(timeout("counter"), b"%d" % (int(record.spec) + 1), expected_version=record.version)
            try:
                return await write(store, put)
            except Conflict:
                continue

    await write(store, Put(timeout("counter"), b"0"))
    await asyncio.gather(*[increment() for _ in range(30)])

    record = await store.get(timeout("counter"))
    assert (record.spec, record.version) == (b"30", 31)


async def test_a_deleted_record_is_gone_and_deleting_it_again_is_not_found(store):
    """Unless the caller says that missing is fine."""
    await write(store, Put(timeout("t"), b"{}"))

    (change,) = await write(store, Delete(timeout("t")))

    assert (change.operation, change.after, change.before.spec) == (Operation.DELETE, None, b"{}")
    assert await store.find(timeout("t")) is None
    with pytest.raises(NotFound, match='"t"'):
        await write(store, Delete(timeout("t")))
    assert await write(store, Delete(timeout("t"), missing_ok=True)) == ()


async def test_deleting_a_mesh_deletes_all_it_owns_and_nothing_else(store):
    """Ownership is followed through every step, in one batch, owned records first."""
    other = Key("Mesh", "", "other")
    await write(
        store,
        *[Put(MESH, b"{}"), Put(other, b"{}"), Put(timeout("stays", "other"), b"{}", owner=other)],
        *[Put(DP, b"{}", owner=MESH), Put(INSIGHT, b"{}", owner=DP, unlogged=True), Put(SECRET, b"{}", owner=MESH)],
        Put(timeout("unowned"), b"{}"),
    )

    changes = await write(store, Delete(MESH))

    gone = [change.key for change in changes]
    assert sorted(gone) == sorted([INSIGHT, DP, SECRET, MESH])
    assert gone.index(INSIGHT) < gone.index(DP) < gone.index(MESH) == 3
    kept = [record.key for record in (await store.contents()).records]
    assert kept == sorted([other, timeout("stays", "other"), timeout("unowned")])


async def test_a_record_given_away_is_not_deleted_with_its_former_owner(store):
    """The owner at the time of the deletion counts, also within the batch."""
    other = Key("Mesh", "", "other")
    await write(store, Put(MESH, b"{}"), Put(other, b"{}"), Put(DP, b"{}", owner=MESH))

    await write(store, Put(DP, b"{}", owner=other), Delete(MESH))
    assert await store.find(DP)

    await write(store, Put(timeout("late"), b"{}", owner=other), Delete(other))
    assert (await store.contents()).records == ()


async def test_a_circle_of_owners_can_be_deleted(store):
    """Two records that own each other go together."""
    a, b = timeout("a"), timeout("b")
    await write(store, Put(a, b"{}"), Put(b, b"{}", owner=a), Put(a, b"{}", owner=b))

    assert len(await write(store, Delete(a))) == 2
    assert (await store.contents()).records == ()


async def test_nothing_is_stored_under_an_owner_that_is_gone(store):
    """Who loses the race against the deletion of a mesh gets a conflict, not an orphan."""
    with pytest.raises(Conflict, match='owner, Mesh "default", does not exist'):
        await write(store, Put(timeout("t"), b"{}", owner=MESH))

    assert (await store.contents()).records == ()


async def test_the_insight_of_a_vanished_proxy_is_left_out_and_the_batch_goes_on(store):
    """One dataplane deleted meanwhile does not cost two thousand others their insights."""
    await write(store, Put(DP, b"{}"))
    gone = Key("DataplaneInsight", "default", "dp-2")

    changes = await write(
        store,
        Put(gone, b"{}", owner=Key("Dataplane", "default", "dp-2"), unlogged=True),
        Put(INSIGHT, b"{}", owner=DP, unlogged=True),
    )

    assert [change.key for change in changes] == [INSIGHT]
    assert await store.find(gone) is None


async def test_contents_stand_at_one_revision_while_others_write(store):
    """Two records always written together are always read together, at the revision they say."""
    both = timeout("left"), timeout("right")
    await write(store, *[Put(key, b"0") for key in both])

    async def writer():
        for number in range(1, 60):
            await write(store, *[Put(key, b"%d" % number) for key in both])

    async with asyncio.TaskGroup() as tasks:
        writing = tasks.create_task(writer())
        while not writing.done():
            contents = await store.contents()
            left, right = contents.records
            assert left.spec == right.spec
            assert contents.revision == right.revision
            await asyncio.sleep(0)


async def test_the_caller_keeps_its_labels(store):
    """Changing a dict after the write does not change the record."""
    labels = {"a": "b"}
    await write(store, Put(timeout("t"), b"{}", labels))
    labels["a"] = "c"

    assert (await store.get(timeout("t"))).labels == {"a": "b"}


async def test_a_closed_store_says_so(store):
    """Closing twice is fine; every use after it is ``StoreUnavailable``."""
    await store.close()
    await store.close()

    for use in store.find(MESH), store.contents(), write(store, Put(MESH, b"{}")), store.history():
        with pytest.raises(StoreUnavailable, match="closed"):
            await use
    with pytest.raises(StoreUnavailable, match="closed"):
        async with store.subscribe():
            pass


async def test_a_durable_store_has_everything_after_a_restart(durable, tmp_path):
    """Records, revisions and the log are there again, and revisions go on where they stopped."""
    async with durable.opened(tmp_path) as store:
        await write(store, Put(MESH, b"{}"), Put(SECRET, b'{"data":"c2VjcmV0"}', {"l": "v"}, None, MESH))
        await write(store, Put(INSIGHT, b"{}", unlogged=True))
        contents, history = await store.contents(), await store.history()

    async with durable.opened(tmp_path) as store:
        assert await store.contents() == contents
        assert await store.history() == history
        (change,) = await write(store, Put(DP, b"{}"))
        assert change.revision == contents.revision + 1
