from datetime import UTC, datetime

from kuma.core.model.resource import Key
from kuma.cp.store.memory import MemoryStore
from kuma.cp.store.port import CONTROL_PLANE, Put

NOW = datetime(2026, 1, 1, tzinfo=UTC)


async def test_two_memory_stores_share_nothing():
    """Each is its own world, so that tests may run side by side."""
    one, other = MemoryStore(), MemoryStore()
    await one.write([Put(Key("Mesh", "", "m"), b"{}")], author=CONTROL_PLANE, now=NOW)

    assert (await one.contents()).revision == 1
    assert (await other.contents()).records == ()
