import asyncio

import pytest

from kuma.cp.reconcile.turns import Turns


async def crowd(turns, many, done):
    """So many callers at once; each notes its number when it is let go on."""

    async def one(number):
        await turns.next()
        done.append(number)

    return [asyncio.create_task(one(number)) for number in range(many)]


async def test_a_crowd_goes_on_in_order_a_few_in_each_turn():
    """Whoever else is ready gets a turn after every few of them."""
    done: list[int] = []
    tasks = await crowd(Turns(3), 20, done)
    most, before = 0, 0
    while len(done) < 20:
        await asyncio.sleep(0)
        most, before = max(most, len(done) - before), len(done)

    assert done == list(range(20))
    assert most <= 3
    await asyncio.gather(*tasks)


async def test_who_comes_alone_does_not_wait():
    """One after the other costs nothing."""
    turns = Turns(1)
    for _ in range(3):
        await asyncio.wait_for(turns.next(), 1)
        await asyncio.sleep(0.001)


async def test_who_gives_up_takes_nobodys_place():
    """A connection that ends while it waits holds up nobody."""
    done: list[int] = []
    tasks = await crowd(Turns(1), 10, done)
    await asyncio.sleep(0)
    for task in tasks[2:6]:
        task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await tasks[3]
    async with asyncio.timeout(5):
        await asyncio.gather(*tasks, return_exceptions=True)

    assert {6, 7, 8, 9} <= set(done)
