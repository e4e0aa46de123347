"""What the change log answers: who did what, and what became of each record between two revisions."""

from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kuma.core.model.resource import Key
from kuma.cp.store.port import CONTROL_PLANE, Author, Delete, Note, Operation, Place, Put, Sought, Span
from tests.contract.store.examples import ALICE, DP, INSIGHT, MESH, NOW, SECRET, timeout, write

BOB = Author("bob", ("mesh-system:authenticated",), "10.0.0.8")
PROXY = Author("dataplane:default/dp-1", address="10.0.0.9")
TOKEN = Key("DataplaneToken", "default", "web-1")


async def revisions(store, limit=100, offset=0, **sought):
    """The revisions of a list."""
    found = await store.entries(Sought(**sought), limit=limit, offset=offset)
    assert found.total >= len(found.items)
    return [entry.revision for entry in found.items]


async def test_entries_tell_what_the_log_tells_newest_first(store):
    """The same facts as the history, without the records."""
    await write(store, Put(MESH, b"{}"), Put(timeout("t"), b"1", owner=MESH))
    await write(store, Delete(timeout("t")), at=1)

    listed = await store.entries(Sought(), limit=10)

    assert listed.total == 3
    assert [
        (e.revision, e.time, e.author, e.operation, e.key) for e in listed.items
    ] == [(c.revision, c.time, c.author, c.operation, c.key) for c in reversed(await store.history())]  # fmt: skip


async def test_entries_are_filtered_by_place_user_and_time(store):
    """Alone and together; a mesh is what is in it and the Mesh itself, and nothing that is only called so."""
    await write(store, Put(MESH, b"{}"), Put(timeout("a"), b"1"), Put(timeout("a", "other"), b"1"))
    await store.write([Put(timeout("default"), b"1")], author=BOB, now=NOW + timedelta(seconds=5))
    await store.write([Put(timeout("a"), b"2")], author=CONTROL_PLANE, now=NOW + timedelta(seconds=6))
    await store.write([Put(Key("Mesh", "", "other"), b"2")], author=PROXY, now=NOW + timedelta(seconds=7))

    assert await revisions(store) == [6, 5, 4, 3, 2, 1]
    assert await revisions(store, place=Place(mesh="default")) == [5, 4, 2, 1]
    assert await revisions(store, place=Place(mesh="other", kind="MeshTimeout")) == [3]
    assert await revisions(store, place=Place(kind="Mesh", name="other")) == [6]
    assert await revisions(store, place=Place(name="a")) == [5, 3, 2]
    assert await revisions(store, user="bob") == [4]
    assert await revisions(store, people_only=True) == [4, 3, 2, 1]
    assert await revisions(store, since=NOW + timedelta(seconds=5)) == [6, 5, 4]
    assert await revisions(store, until=4, user="alice", place=Place(name="a")) == [3, 2]
    assert await revisions(store, place=Place(name="\ud800")) == await revisions(store, user="\ud800") == []


async def test_entries_come_in_pages(store):
    """Each with the number of all that were sought."""
    for number in range(7):
        await write(store, Put(timeout("a"), b"%d" % number), Put(timeout("b"), b"%d" % number))

    pages = [await store.entries(Sought(place=Place(name="b")), limit=3, offset=at) for at in (0, 3, 6, 9)]

    assert [page.total for page in pages] == [7, 7, 7, 7]
    assert [[e.revision for e in page.items] for page in pages] == [[14, 12, 10], [8, 6, 4], [2], []]


async def test_a_user_who_calls_himself_the_control_plane_is_still_a_person(store):
    """Nobody hides from the list by the name in a token: callers of the API have a group, the control plane none."""
    impostor = Author(CONTROL_PLANE.name, ("mesh-system:authenticated",), "10.0.0.66")
    await store.write([Put(MESH, b"{}")], author=CONTROL_PLANE, now=NOW)
    await store.write([Put(MESH, b"[]")], author=impostor, now=NOW)

    assert await revisions(store, people_only=True) == [2]
    assert (impostor.is_person, impostor.is_proxy) == (True, False)
    assert (PROXY.is_person, PROXY.is_proxy, CONTROL_PLANE.is_proxy) == (False, True, False)


async def test_a_note_is_logged_and_changes_nothing(store):
    """It has a revision and an author like everything else, and no subscriber hears of it."""
    await write(store, Put(MESH, b"{}"))
    async with store.subscribe() as changes:
        told = await write(store, Note(TOKEN, b'{"jti":"1"}'), at=1)
        later = await write(store, Put(DP, b"{}"))
        assert await anext(changes) == later

    noted = (await store.history())[1]
    listed = (await store.entries(Sought(place=Place(kind="DataplaneToken")), limit=5)).items

    assert told == ()
    assert (noted.revision, noted.operation, noted.author, noted.key) == (2, Operation.ISSUE, ALICE, TOKEN)
    assert (noted.before, noted.after, noted.note) == (None, None, b'{"jti":"1"}')
    assert [entry.note for entry in listed] == [b'{"jti":"1"}']
    assert {record.key for record in (await store.contents()).records} == {MESH, DP}
    assert await store.revision() == 3
    assert [span.first.key for span in (await store.spans(0, 9, limit=9)).items] == [DP, MESH]


async def test_a_note_shares_the_fate_of_its_batch(store):
    """A batch that is refused leaves no note behind."""
    with pytest.raises(Exception, match="already exists"):
        await write(store, Note(TOKEN, b"{}"), Put(MESH, b"{}"), Put(MESH, b"[]", expected_version=0))

    assert await store.history() == ()
    assert await store.revision() == 0


async def test_health_that_is_not_logged_leaves_the_deletion_in_the_log(store):
    """A proxy that was probed does not vanish from the log without a word."""
    await write(store, Put(DP, b"{}"))
    await write(store, Put(DP, b'{"healthy":false}', unlogged=True), Put(INSIGHT, b"1", owner=DP, unlogged=True))
    await write(store, Delete(DP))

    assert [(c.revision, c.operation) for c in await store.history()] == [(1, Operation.CREATE), (5, Operation.DELETE)]


async def test_a_span_is_the_first_and_the_last_change_of_a_record(store):
    """Of those in between only; by key, with the records as they were, secrets included."""
    await write(store, Put(SECRET, b"1"), Put(timeout("a"), b"1"), Put(timeout("b"), b"1"))
    for text in (b"2", b"3", b"4"):
        await write(store, Put(SECRET, text), Put(timeout("a"), text))
    log = {change.revision: change for change in await store.history()}

    found = await store.spans(3, 7, limit=10)

    assert (found.revision, found.oldest) == (9, 0)
    assert found.items == (Span(log[5], log[7]), Span(log[4], log[6]))
    assert (found.items[1].first.before.spec, found.items[1].last.after.spec) == (b"1", b"3")
    assert (await store.spans(3, 7, limit=1)).items == found.items[:1]
    assert (await store.spans(3, 9, Place(name="b"), limit=9)).items == ()
    assert (await store.spans(0, 9, Place(mesh="default", kind="Secret"), limit=9)).items == (Span(log[1], log[8]),)


async def test_spans_of_people_are_of_records_that_a_person_changed(store):
    """Then with all changes, also those that were not a person's."""
    await store.write([Put(MESH, b"1"), Put(DP, b"1")], author=CONTROL_PLANE, now=NOW)
    await write(store, Put(DP, b"2"))
    await store.write([Put(MESH, b"2"), Put(DP, b"3")], author=PROXY, now=NOW)

    found = await store.spans(0, 9, people_only=True, limit=9)

    assert [(span.first.revision, span.last.revision) for span in found.items] == [(2, 5)]


async def test_a_clock_that_went_wrong_leaves_no_gap_in_the_log(store):
    """The oldest entries go first: one from the past keeps its place, one from the future holds back what follows."""
    for revision, second in enumerate((0, 1, 2, -900, 3, 900, 4, 5), start=1):
        await write(store, Put(timeout("t"), b"%d" % revision), at=second)

    gone = await store.trim(now=NOW + timedelta(seconds=10), max_age=timedelta(seconds=8), max_entries=99)
    assert (gone, [c.revision for c in await store.history()]) == (2, [3, 4, 5, 6, 7, 8])
    gone = await store.trim(now=NOW + timedelta(seconds=800), max_age=timedelta(seconds=8), max_entries=99)
    assert (gone, [c.revision for c in await store.history()]) == (3, [6, 7, 8])
    assert (await store.spans(0, 99, limit=9)).oldest == 5


async def test_the_log_knows_how_far_back_it_reaches(store):
    """Also when nothing is left of it, and across revisions that were never in it."""
    await write(store, Put(timeout("t"), b"1"), Put(INSIGHT, b"1", unlogged=True), Put(timeout("t"), b"2"))
    assert (await store.spans(0, 9, limit=9)).oldest == 0

    await store.trim(now=NOW, max_age=timedelta(1), max_entries=1)
    assert (await store.spans(1, 9, limit=9)).oldest == 1
    await store.trim(now=NOW, max_age=timedelta(1), max_entries=0)
    assert (await store.spans(0, 9, limit=9)).oldest == 3
    await store.trim(now=NOW, max_age=timedelta(1), max_entries=0)
    assert (await store.spans(0, 9, limit=9)).oldest == 3


KEYS = st.sampled_from([MESH, DP, SECRET, timeout("a"), timeout("b")])
BATCHES = st.lists(
    st.one_of(
        st.builds(Put, key=KEYS, spec=st.sampled_from([b"1", b"2", b"3"])),
        st.builds(Put, key=KEYS, spec=st.sampled_from([b"1", b"2"]), owner=st.just(MESH)),
        st.builds(Delete, key=KEYS, missing_ok=st.just(True)),
        st.just(Note(TOKEN, b"{}")),
    ),
    min_size=1,
    max_size=4,
)


@given(batches=st.lists(BATCHES, max_size=12), keep=st.integers(0, 30), data=st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
async def test_every_state_the_log_reaches_can_be_told_exactly(implementation, tmp_path_factory, batches, keep, data):
    """The records of one revision, with the log's spans taken back, are exactly the records of an earlier one."""
    async with implementation.opened(tmp_path_factory.mktemp("store")) as store:
        states = {0: {}}
        for batch in batches:
            try:
                await write(store, *batch)
            except Exception:  # noqa: S112, BLE001 - a batch that may not happen changes nothing, as is proved elsewhere
                continue
            contents = await store.contents()
            states[contents.revision] = {record.key: record for record in contents.records}
        await store.trim(now=NOW, max_age=timedelta(1), max_entries=keep)
        oldest = (await store.spans(0, 0, limit=0)).oldest
        known = sorted(revision for revision in states if revision >= oldest)
        if not known:
            return
        early = data.draw(st.sampled_from(known))
        late = data.draw(st.sampled_from([revision for revision in known if revision >= early]))

        spans = (await store.spans(early, late, limit=99)).items

    told = dict(states[late])
    for span in spans:
        assert told.get(span.last.key) == span.last.after
        told[span.first.key] = span.first.before
    assert {key: record for key, record in told.items() if record} == states[early]
