"""Hearing of changes."""

import asyncio

import pytest

from kuma.core.errors import Conflict
from kuma.cp.store.port import Delete, Put
from tests.contract.store.examples import DP, INSIGHT, MESH, timeout, write


async def heard(changes, until):
    """Everything a subscription delivers up to a revision."""
    batches = []
    async with asyncio.timeout(10):
        while not batches or batches[-1][-1].revision < until:
            batches.append(await anext(changes))
    return batches


async def test_subscribers_hear_exactly_what_is_committed(store):
    """In the order of revisions, insights and owned records included, refused batches not."""
    async with store.subscribe() as one, store.subscribe() as two:
        written = await write(store, Put(DP, b"{}"), Put(INSIGHT, b"{}", owner=DP, unlogged=True))
        with pytest.raises(Conflict):
            await write(store, Put(DP, b"[]"), Put(DP, b"", expected_version=9))
        assert await write(store, Put(DP, b"{}")) == ()
        written += await write(store, Delete(DP))

        for changes in one, two:
            assert [change for batch in await heard(changes, 4) for change in batch] == list(written)


async def test_a_subscriber_hears_nothing_from_before(store):
    """What was committed before it subscribed is the business of ``contents``."""
    await write(store, Put(MESH, b"{}"))
    async with store.subscribe() as changes:
        await write(store, Put(MESH, b"[]"))

        ((change,),) = await heard(changes, 2)

    assert change.revision == 2


async def test_contents_and_subscription_join_without_gap_or_overlap(store):
    """Subscribing amid writes: the first change heard follows the newest revision before it."""
    stop = asyncio.Event()

    async def writer(name):
        number = 0
        while not stop.is_set():
            number += 1
            await write(store, Put(timeout(name), b"%d" % number))
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as tasks:
        for name in "abc":
            tasks.create_task(writer(name))
        for _ in range(20):
            before = (await store.contents()).revision
            async with store.subscribe() as changes:
                contents = await store.contents()
                batches = await heard(changes, contents.revision + 5)
            revisions = [change.revision for batch in batches for change in batch]
            assert revisions == list(range(revisions[0], revisions[-1] + 1))
            assert before < revisions[0] <= contents.revision + 1
        stop.set()


async def test_a_slow_subscriber_gets_many_batches_as_one(store):
    """Nothing is lost while it does not listen."""
    async with store.subscribe() as changes:
        for number in range(50):
            await write(store, Put(timeout("t"), b"%d" % number))

        (batch,) = await heard(changes, 50)

    assert [change.revision for change in batch] == list(range(1, 51))


async def test_parallel_writers_get_revisions_without_gap(store):
    """A subscriber sees each revision once and in order, whoever wrote it."""
    async with store.subscribe() as changes:
        await asyncio.gather(*[write(store, Put(timeout(f"t-{n}"), b"{}"), Put(DP, b"%d" % n)) for n in range(100)])

        batches = await heard(changes, 200)

    assert [change.revision for batch in batches for change in batch] == list(range(1, 201))


async def test_a_subscriber_that_left_costs_nothing_and_others_go_on(store):
    """Leaving ends only one's own subscription."""
    async with store.subscribe() as stays:
        async with store.subscribe():
            await write(store, Put(MESH, b"1"))
        await write(store, Put(MESH, b"2"))

        assert [c.revision for batch in await heard(stays, 2) for c in batch] == [1, 2]


async def test_closing_the_store_ends_the_iteration_after_what_waits(store):
    """A loop over changes ends by itself at shutdown, the last change included."""
    async with store.subscribe() as changes:
        await write(store, Put(MESH, b"1"))
        await store.close()

        async with asyncio.timeout(10):
            assert [len(batch) async for batch in changes] == [1]
