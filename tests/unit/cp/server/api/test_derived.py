import asyncio
from datetime import UTC, datetime, timedelta

from kuma.core.model.codec import encode_spec
from kuma.core.model.resource import Key, definition
from kuma.cp.server.api.derived import Derived
from kuma.cp.server.api.proxies import Proxies
from kuma.cp.store.memory import MemoryStore
from kuma.cp.store.port import CONTROL_PLANE, Delete, Put

NOW = datetime(2026, 1, 1, tzinfo=UTC)


class CountingStore(MemoryStore):
    """A store that counts how often proxies are listed."""

    def __init__(self):
        super().__init__()
        self.listed = 0

    async def list(self, kind, mesh=None):
        self.listed += kind == "DataplaneInsight"
        return await super().list(kind, mesh)


async def stored(*operations):
    """A store with the mesh ``default``."""
    store = CountingStore()
    await store.write([put("Mesh", "", "default", {}), *operations], author=CONTROL_PLANE, now=NOW)
    return store


def put(kind, mesh, name, document):
    """A stored resource."""
    return Put(Key(kind, mesh, name), encode_spec(definition(kind).spec.model_validate(document)))


def proxy(name, service="web"):
    """A Dataplane that offers one service and consumes another."""
    networking = {
        "address": "10.0.0.1",
        "inbound": [{"port": 80, "tags": {"kuma.io/service": service}}],
        "outbound": [{"port": 90, "tags": {"kuma.io/service": "db"}}],
    }
    return put("Dataplane", "default", name, {"networking": networking})


def derived(store, latest=timedelta(0), monotonic=lambda: 0.0):
    """Figures of a store; without allowance they are never late."""
    return Derived(store, Proxies(store), lambda: NOW, latest, monotonic)


async def test_an_unchanged_store_is_read_once():
    """However many ask, and all at once."""
    store = await stored(proxy("web-1"))
    figures = derived(store)

    found = await asyncio.gather(*(figures.figures() for _ in range(20)))

    assert store.listed == 1
    assert all(one is found[0] for one in found)


async def test_a_change_is_counted():
    """Also that something is gone."""
    store = await stored(proxy("web-1"), proxy("web-2"))
    figures = derived(store)
    before = await figures.figures()
    await store.write([Delete(Key("Dataplane", "default", "web-1"))], author=CONTROL_PLANE, now=NOW)
    after = await figures.figures()

    assert [one.mesh("default").spec.dataplanes.total for one in (before, after)] == [2, 1]


async def test_a_change_may_be_late_where_that_is_allowed():
    """A busy store is not counted over and over: the pause is ten times what counting cost."""
    store = await stored(proxy("web-1"))
    times = iter([0.0, 0.0, 100.0, 102.0, 121.9, 122.1, 122.1, 123.0, 124.0])
    figures = derived(store, timedelta(hours=1), lambda: next(times))
    before = await figures.figures()
    await store.write([proxy("web-2")], author=CONTROL_PLANE, now=NOW)
    at_once = await figures.figures()
    later = await figures.figures()

    assert at_once is before
    assert later.mesh("default").spec.dataplanes.total == 2


async def test_a_proxy_that_cannot_be_read_hides_no_other():
    """Its text was written by something else."""
    store = await stored(proxy("web-1"), Put(Key("Dataplane", "default", "broken"), b'{"networking": 5}'))

    services = (await derived(store).figures()).services_of("default")

    assert list(services.spec.services) == ["web"]


async def test_what_a_proxy_consumes_is_not_kept():
    """It is most of its size, and nobody asks these copies for it."""
    store = await stored(proxy("web-1"))
    proxies = Proxies(store)

    first, second = await proxies.dataplanes(), await proxies.dataplanes()

    assert first[0].spec.networking.outbound == ()
    assert first[0].spec.networking.inbound[0].port == 80
    assert first[0] is second[0]
