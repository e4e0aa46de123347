"""Dataplanes whose proxy left long ago do not stay for ever."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from kuma.core.model.resource import Key
from kuma.cp.reconcile.cleanup import Cleanup
from kuma.cp.store.memory import MemoryStore
from kuma.cp.store.port import CONTROL_PLANE, Put

NOW = datetime(2026, 5, 1, tzinfo=UTC)
AGE = timedelta(hours=72)


@pytest.fixture
async def store():
    """A store with the mesh the proxies are in."""
    made = MemoryStore()
    await made.write([Put(Key("Mesh", "", "default"), b"{}")], author=CONTROL_PLANE, now=NOW)
    yield made
    await made.close()


async def add(store: MemoryStore, name: str, *ends: timedelta | None) -> None:
    """A Dataplane whose streams ended so long ago; None is a stream that is open."""
    streams = [
        {"id": str(number)} | ({} if ago is None else {"disconnectTime": (NOW - ago).isoformat()})
        for number, ago in enumerate(ends)
    ]
    batch = [Put(Key("Dataplane", "default", name), b"{}", owner=Key("Mesh", "", "default"))]
    if ends:
        insight = json.dumps({"subscriptions": streams}).encode()
        owner = Key("Dataplane", "default", name)
        batch.append(Put(Key("DataplaneInsight", "default", name), insight, owner=owner))
    await store.write(batch, author=CONTROL_PLANE, now=NOW)


async def left(store: MemoryStore) -> list[str]:
    """Names of the Dataplanes that are still there."""
    return [record.key.name for record in await store.list("Dataplane")]


def nobody(_: Key) -> bool:
    """No proxy is connected."""
    return False


async def test_a_proxy_that_is_just_back_keeps_its_dataplane(store):
    """Its insight does not say so yet."""
    await add(store, "back", AGE * 2)
    await add(store, "old", AGE * 2)

    await Cleanup(store, lambda key: key.name == "back", lambda: NOW, AGE).look()

    assert await left(store) == ["back"]


async def test_only_what_was_offline_for_longer_than_the_age_goes(store):
    """Open streams, recent ones and Dataplanes that never connected keep a Dataplane; its insight goes with it."""
    hour = timedelta(hours=1)
    await add(store, "connected", AGE * 2, None)
    await add(store, "never-connected")
    await add(store, "old", AGE * 2, AGE + hour)
    await add(store, "recent", AGE * 2, AGE - hour)

    await Cleanup(store, nobody, lambda: NOW, AGE).look()

    assert await left(store) == ["connected", "never-connected", "recent"]
    assert await store.find(Key("DataplaneInsight", "default", "old")) is None


async def test_an_age_of_zero_keeps_everything(store):
    """The loop ends at once instead of removing whatever is offline."""
    await add(store, "old", AGE * 2)

    await Cleanup(store, nobody, lambda: NOW, timedelta(0)).run()

    assert await left(store) == ["old"]
