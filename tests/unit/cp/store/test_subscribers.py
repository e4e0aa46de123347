from datetime import UTC, datetime

from kuma.core.model.resource import Key
from kuma.cp.store.port import CONTROL_PLANE, Change, Operation, Record
from kuma.cp.store.subscribers import TOLD_SINGLY, Subscribers, Subscription, merged

NOW = datetime(2026, 1, 1, tzinfo=UTC)
C, U, D = Operation.CREATE, Operation.UPDATE, Operation.DELETE


def change(revision, operation, name="a"):
    """A change whose records are named for their revisions."""
    key = Key("K", "m", name)
    before = None if operation is C else Record(key, b"before %d" % revision)
    after = None if operation is D else Record(key, b"after %d" % revision)
    return Change(revision, NOW, CONTROL_PLANE, operation, key, before, after)


def test_a_run_of_updates_becomes_one_from_the_first_to_the_last():
    """Creations and deletions stay and part the runs; the order stays that of revisions."""
    told = merged([change(1, C), change(2, U), change(3, U, "b"), change(4, U), change(5, U), change(6, D)])

    assert [(c.revision, c.operation) for c in told] == [(1, C), (3, U), (5, U), (6, D)]
    assert told[2].before.spec == b"before 2"
    assert told[2].after.spec == b"after 5"


def test_updates_on_both_sides_of_a_deletion_stay_apart():
    """A record deleted and made again is told as that."""
    told = merged([change(1, U), change(2, D), change(3, C), change(4, U)])

    assert [c.revision for c in told] == [1, 2, 3, 4]


async def test_what_waits_for_a_stuck_subscriber_is_bounded_by_the_number_of_records():
    """Thirty thousand updates of ten records do not wait one by one."""
    subscription = Subscription()
    for revision in range(1, 30_001):
        subscription.add([change(revision, U, str(revision % 10))])

    waiting = await anext(subscription)

    assert len(waiting) <= TOLD_SINGLY
    assert [c.revision for c in waiting] == sorted({c.revision for c in waiting})
    assert waiting[-1].revision == 30_000


async def test_a_change_published_while_the_revision_is_read_is_delivered_once():
    """Older ones that are published late are left out, newer ones are not lost."""
    subscribers = Subscribers()

    async def current():
        subscribers.publish((change(1, C),))
        subscribers.publish((change(2, U),))
        subscribers.publish((change(3, U),))
        return 2

    async with subscribers.subscribe(current) as changes:
        subscribers.publish((change(4, U),))
        assert [c.revision for c in await anext(changes)] == [3, 4]
