"""The change log: who changed what, when, until it is trimmed."""

from datetime import timedelta

from kuma.core.model.resource import Key
from kuma.cp.store.port import CONTROL_PLANE, Change, Delete, Note, Operation, Put
from tests.contract.store.examples import ALICE, DP, INSIGHT, MESH, NOW, SECRET, timeout, write


async def test_the_log_tells_who_did_what_when_and_how_it_looked(store):
    """A change in the log equals the one the writer got, records before and after included."""
    written = await write(store, Put(MESH, b"{}"), Put(timeout("t"), b"1", {"a": "b"}, b"s", MESH))
    written += await write(store, Put(timeout("t"), b"2"), at=1)
    written += await write(store, Delete(timeout("t")), at=2)

    history = await store.history()

    assert history == written
    assert [c.operation for c in history] == [Operation.CREATE, Operation.CREATE, Operation.UPDATE, Operation.DELETE]
    assert history[2] == Change(
        3, NOW + timedelta(seconds=1), ALICE, Operation.UPDATE, timeout("t"), history[1].after, history[3].before
    )
    assert (history[2].before.labels, history[2].before.owner, history[2].before.status) == ({"a": "b"}, MESH, b"s")


async def test_secrets_are_in_the_log_in_clear_for_those_who_may_read_it(store):
    """What the log holds of a secret reads as it was written."""
    await write(store, Put(SECRET, b'{"data":"b2xk"}'))
    await write(store, Put(SECRET, b'{"data":"bmV3"}'))

    change = (await store.history())[-1]

    assert (change.before.spec, change.after.spec) == (b'{"data":"b2xk"}', b'{"data":"bmV3"}')


async def test_the_author_is_whoever_the_writer_says(store):
    """The control plane's own writes are told from people's."""
    await store.write([Put(MESH, b"{}")], author=CONTROL_PLANE, now=NOW)
    await write(store, Put(MESH, b"[]"))

    assert [change.author for change in await store.history()] == [CONTROL_PLANE, ALICE]


async def test_the_log_is_read_in_pages_and_by_key(store):
    """``after`` and ``limit`` page through it; a key sees its own entries only."""
    for number in range(5):
        await write(store, Put(timeout("a"), b"%d" % number), Put(timeout("b"), b"%d" % number))

    first = await store.history(limit=4)
    rest = await store.history(after=first[-1].revision)
    of_b = await store.history(key=timeout("b"), after=3, limit=2)

    assert [c.revision for c in first + rest] == list(range(1, 11))
    assert [(c.key.name, c.revision) for c in of_b] == [("b", 4), ("b", 6)]
    assert await store.history(limit=0) == ()
    assert await store.history(after=10) == ()


async def test_insights_stay_out_of_the_log_from_first_write_to_deletion(store):
    """Also when they are deleted with their owner; revisions count them all the same."""
    await write(store, Put(DP, b"{}"), Put(INSIGHT, b"1", owner=DP, unlogged=True))
    await write(store, Put(INSIGHT, b"2", owner=DP, unlogged=True))

    deleted = await write(store, Delete(DP))

    assert [change.key for change in deleted] == [INSIGHT, DP]
    assert [(change.revision, change.key) for change in await store.history()] == [(1, DP), (5, DP)]
    assert (await store.contents()).revision == 5


async def test_trimming_by_age_keeps_the_young(store):
    """An entry exactly as old as allowed stays; the number gone is told."""
    for second in range(10):
        await write(store, Put(timeout("t"), b"%d" % second), at=second)

    gone = await store.trim(now=NOW + timedelta(seconds=10), max_age=timedelta(seconds=4), max_entries=100)

    assert gone == 6
    assert [change.after.spec for change in await store.history()] == [b"6", b"7", b"8", b"9"]


async def test_trimming_by_count_keeps_the_newest(store):
    """Log entries count, not revisions; records and the revision stay."""
    for number in range(10):
        await write(store, Put(timeout("t"), b"%d" % number), Put(INSIGHT, b"%d" % number, unlogged=True))
    before = await store.contents()

    assert await store.trim(now=NOW, max_age=timedelta(days=1), max_entries=3) == 7
    assert [change.after.spec for change in await store.history()] == [b"7", b"8", b"9"]
    assert await store.trim(now=NOW, max_age=timedelta(days=1), max_entries=3) == 0
    assert await store.trim(now=NOW, max_age=timedelta(days=1), max_entries=0) == 3
    assert await store.history() == ()
    assert await store.contents() == before


async def test_a_long_log_is_trimmed_whole(store):
    """More entries than go in one transaction go all the same."""
    await write(store, *[Put(timeout(f"t-{number}"), b"{}") for number in range(4500)])

    assert await store.trim(now=NOW, max_age=timedelta(days=1), max_entries=10) == 4490
    assert [change.revision for change in await store.history()] == list(range(4491, 4501))


async def test_trimming_by_size_keeps_the_newest_that_fit(store):
    """Texts before and after count, and those of notes; one that is too large alone goes, too."""
    await write(store, Put(timeout("t"), b"x" * 10))
    await write(store, Put(timeout("t"), b"x" * 20, status=b"s" * 5))
    await write(store, Note(Key("UserToken", "", "eve"), b"x" * 7), Put(INSIGHT, b"1" * 99, unlogged=True))
    await write(store, Put(SECRET, b"x" * 30))

    async def left(max_bytes):
        await store.trim(now=NOW, max_age=timedelta(days=1), max_entries=100, max_bytes=max_bytes)
        return [change.size for change in await store.history()]

    assert await left(None) == await left(82) == [10, 35, 7, 30]
    assert await left(81) == await left(72) == [35, 7, 30]
    assert await left(71) == [7, 30]
    assert await left(30) == [30]
    assert await left(29) == []
    assert (await store.spans(0, 99, limit=9)).oldest == 5
