from datetime import UTC, datetime

import pytest

from kuma.core.errors import Conflict, NotFound
from kuma.core.model.resource import Key
from kuma.cp.store.planning import plan, title
from kuma.cp.store.port import CONTROL_PLANE, Delete, Put

NOW = datetime(2026, 1, 1, tzinfo=UTC)
MESH, DP = Key("Mesh", "", "m"), Key("Dataplane", "m", "d")


def planned(*batch, stored=None, revision=0):
    """A plan on top of the outcome of another."""
    held = stored.outcome if stored else {}
    return plan(
        batch,
        find=held.get,
        owned=lambda owner: [key for key, s in held.items() if s and s.record.owner == owner],
        revision=revision,
        author=CONTROL_PLANE,
        now=NOW,
    )


def test_records_are_named_as_people_name_them():
    """With the mesh where there is one."""
    assert title(DP) == 'Dataplane "d" in mesh "m"'
    assert title(MESH) == 'Mesh "m"'


def test_the_outcome_is_the_last_state_of_each_touched_record():
    """What is gone is None, what did not change is not in it."""
    first = planned(Put(MESH, b"{}"), Put(DP, b"1", owner=MESH))

    second = planned(Put(MESH, b"{}"), Put(DP, b"2", owner=MESH), Delete(DP), stored=first, revision=2)

    assert second.outcome == {DP: None}
    assert second.revision == 4


def test_deletion_of_an_unlogged_record_is_unlogged():
    """Who wrote it last decides."""
    first = planned(Put(DP, b"1", unlogged=True))

    assert planned(Delete(DP), stored=first).logged == ()
    assert len(planned(Put(DP, b"2"), Delete(DP), stored=first).logged) == 2


def test_a_refused_batch_raises_before_anything_is_said_to_change():
    """The plan is all or nothing."""
    with pytest.raises(NotFound):
        planned(Put(MESH, b"{}"), Delete(DP))
    with pytest.raises(Conflict):
        planned(Put(MESH, b"{}"), Put(DP, b"{}", expected_version=4))


def test_a_naive_name_cannot_slip_in():
    """Text that no encoding can carry is the caller's mistake."""
    with pytest.raises(ValueError, match="not text"):
        planned(Put(Key("Mesh", "", "\udcff"), b"{}"))
