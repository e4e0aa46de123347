import asyncio
import threading

import pytest

from kuma.core.errors import Conflict, StoreUnavailable
from kuma.cp.store.sqlite_file import connect_writer
from kuma.cp.store.sqlite_writer import MOST_WAITING, Writer


@pytest.fixture
def statements():
    """What SQLite was told, in order."""
    return []


@pytest.fixture
async def writer(tmp_path, statements):
    """A writer on a file with one table."""
    connection = connect_writer(tmp_path / "kuma.db")
    connection.execute("CREATE TABLE t (x INTEGER)")
    connection.set_trace_callback(statements.append)
    made = Writer(connection, tmp_path / "kuma.db", lambda _: None)
    yield made
    await made.close()


class Gate:
    """Work that holds the writer's thread until it is opened."""

    def __init__(self):
        self.entered, self.open = threading.Event(), threading.Event()

    def __call__(self, _):
        self.entered.set()
        assert self.open.wait(10)
        return None, ()


async def held(writer):
    """The writer, busy until the gate is opened."""
    gate = Gate()
    task = asyncio.create_task(writer.submit(gate))
    assert await asyncio.to_thread(gate.entered.wait, 10)
    return gate, task


async def test_work_that_waits_shares_one_commit(writer, statements):
    """One sync of the disk serves many writers; each gets its own answer or refusal."""

    def work(number):
        def insert(connection):
            if number == 3:
                raise Conflict("three")
            connection.execute("INSERT INTO t VALUES (?)", (number,))
            return number, ()

        return insert

    gate, holding = await held(writer)
    waiting = [asyncio.create_task(writer.submit(work(number))) for number in range(6)]
    await asyncio.sleep(0)

    gate.open.set()
    results = await asyncio.gather(*waiting, return_exceptions=True)
    await holding

    assert results[:3] + results[4:] == [0, 1, 2, 4, 5]
    assert isinstance(results[3], Conflict)
    told = [statement for statement in statements if not statement.startswith("PRAGMA")]
    inserts = [statement for statement in told if "INSERT" in statement]
    assert len(inserts) == 5
    assert told == ["BEGIN IMMEDIATE", "COMMIT", "BEGIN IMMEDIATE", *inserts, "COMMIT"]


async def test_no_more_than_so_many_wait_in_the_queue(writer):
    """Who comes later waits outside, and is served all the same."""
    gate, holding = await held(writer)
    waiting = [asyncio.create_task(writer.submit(lambda _: (1, ()))) for _ in range(MOST_WAITING + 50)]
    await asyncio.sleep(0)

    assert writer._queue.qsize() == MOST_WAITING - 1  # noqa: SLF001 the bound is the promise
    gate.open.set()
    assert sum(await asyncio.gather(*waiting)) == MOST_WAITING + 50
    await holding


async def test_a_mistake_in_one_piece_of_work_does_not_end_the_thread(writer):
    """It goes to whoever submitted it."""

    def wrong(_):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await writer.submit(wrong)
    assert await writer.submit(lambda _: ("fine", ())) == "fine"


async def test_after_closing_nothing_is_taken(writer):
    """What was submitted before is finished."""
    gate, holding = await held(writer)
    closing = asyncio.create_task(writer.close())
    await asyncio.sleep(0)

    with pytest.raises(StoreUnavailable, match="closed"):
        await writer.submit(lambda _: (1, ()))
    gate.open.set()
    await closing
    assert await holding is None
