import json
from datetime import timedelta

import pytest

from kuma.core.errors import StoreUnavailable
from kuma.core.xds.names import CLUSTER, LISTENER, SECRET
from kuma.core.xds.resources import XdsResource
from kuma.cp.reconcile.identities import Certificate
from kuma.cp.reconcile.insights import Insights, timestamp
from kuma.cp.store.memory import MemoryStore
from kuma.cp.store.port import CONTROL_PLANE, Put
from tests.unit.cp.reconcile.control import MESH, NOW, key, put


class Failing(MemoryStore):
    """A store that can be told to fail."""

    broken = False

    async def write(self, batch, *, author, now):
        if self.broken:
            raise StoreUnavailable("the disk is full")
        return await super().write(batch, author=author, now=now)


@pytest.fixture
async def store():
    """A store with one Dataplane."""
    made = Failing()
    await made.write([Put(MESH, b"{}"), put("web")], author=CONTROL_PLANE, now=NOW)
    return made


def writer(store, *, limit=3, exists=lambda _: True):
    """A writer that flushes when told."""
    return Insights(store, "cp-1", lambda: NOW, exists, flush_interval=timedelta(seconds=10), limit=limit)


async def read(store, name="web"):
    """The stored insight."""
    record = await store.find(key(name, "DataplaneInsight"))
    return {} if record is None else json.loads(record.spec)


def certificate(number=1, *, held=False):
    """A certificate, issued now or brought along."""
    begins, ends = NOW + timedelta(hours=number), NOW + timedelta(hours=number + 24)
    return Certificate(XdsResource(SECRET, "identity", b"", f"v{number}", held=held), "d", begins, ends, "ca-1")


def test_times_are_printed_as_protobuf_does():
    """UTC with Z; parts of a second only where there are any."""
    assert timestamp(NOW) == "2026-11-23T12:00:00Z"
    assert timestamp(NOW + timedelta(microseconds=5)) == "2026-11-23T12:00:00.000005Z"


async def test_a_stream_is_a_subscription_with_counters(store):
    """Per type and in total, as texts, zeros left out; the last refusal with Envoy's words."""
    insights = writer(store)
    seen = insights.open(key("web"), "s-1", {"kumaDp": {"version": "1"}})
    seen.sent(CLUSTER)
    seen.sent(LISTENER)
    seen.acknowledged(CLUSTER, NOW)
    seen.rejected(LISTENER, "v9", "bad port", NOW)
    await insights.flush()

    [subscription] = (await read(store))["subscriptions"]
    assert subscription == {
        "id": "s-1",
        "controlPlaneInstanceId": "cp-1",
        "connectTime": "2026-11-23T12:00:00Z",
        "version": {"kumaDp": {"version": "1"}},
        "status": {
            "lastUpdateTime": "2026-11-23T12:00:00Z",
            "total": {"responsesSent": "2", "responsesAcknowledged": "1", "responsesRejected": "1"},
            "cds": {"responsesSent": "1", "responsesAcknowledged": "1"},
            "lds": {
                "responsesSent": "1",
                "responsesRejected": "1",
                "lastRejection": {"time": "2026-11-23T12:00:00Z", "version": "v9", "message": "bad port"},
            },
        },
    }


async def test_a_proxy_for_which_nothing_can_be_made_says_so(store):
    """Until it is over; the reason is where an operator looks first."""
    insights = writer(store)
    seen = insights.open(key("web"), "s-1", {})
    seen.stuck("appendModifications[0].cluster (Patch): no such path")
    await insights.flush()
    during = (await read(store))["subscriptions"][0]["status"]
    seen.stuck("")
    await insights.flush()

    assert during["problem"] == "appendModifications[0].cluster (Patch): no such path"
    assert "problem" not in (await read(store))["subscriptions"][0]["status"]


async def test_a_text_of_envoy_is_kept_within_bounds(store):
    """Envoy may quote a whole configuration."""
    insights = writer(store)
    insights.open(key("web"), "s-1", {}).rejected(CLUSTER, "v", "x" * 100_000, NOW)
    await insights.flush()

    assert len((await read(store))["subscriptions"][0]["status"]["cds"]["lastRejection"]["message"]) == 4096


async def test_earlier_streams_are_kept_up_to_the_limit(store):
    """The newest last."""
    insights = writer(store, limit=2)
    for number in range(4):
        seen = insights.open(key("web"), f"s-{number}", {})
        await insights.flush()
        seen.closed(NOW)
        await insights.flush()

    assert [one["id"] for one in (await read(store))["subscriptions"]] == ["s-2", "s-3"]


async def test_a_reconnect_within_one_write_loses_no_stream(store):
    """The end of one stream and the begin of the next may be written together."""
    insights = writer(store)
    first = insights.open(key("web"), "s-1", {})
    await insights.flush()
    first.closed(NOW)
    insights.open(key("web"), "s-2", {})
    await insights.flush()

    first, second = (await read(store))["subscriptions"]
    assert (first["id"], "disconnectTime" in first) == ("s-1", True)
    assert (second["id"], "disconnectTime" in second) == ("s-2", False)


async def test_a_proxy_that_comes_back_keeps_its_certificate_in_sight(store):
    """Until it is known what it holds now; else its service would leave mutual TLS for a moment (PERMISSIVE)."""
    insights = writer(store)
    first = insights.open(key("web"), "s-1", {})
    first.secured(certificate(), ("ca-1",), NOW)
    await insights.flush()
    first.closed(NOW)
    second = insights.open(key("web"), "s-2", {})
    await insights.flush()
    assert (await read(store))["mTLS"]["issuedBackend"] == "ca-1"

    second.secured(certificate(held=True), ("ca-1",), NOW)
    await insights.flush()

    assert (await read(store))["mTLS"]["certificateRegenerations"] == 1


async def test_a_fresh_envoy_holds_no_certificate(store):
    """What an earlier one held is gone with it."""
    insights = writer(store)
    first = insights.open(key("web"), "s-1", {})
    first.secured(certificate(), ("ca-1",), NOW)
    await insights.flush()
    first.closed(NOW)
    insights.open(key("web"), "s-2", {}).holds_nothing()
    await insights.flush()

    assert "mTLS" not in await read(store)


async def test_certificates_are_counted_over_streams(store):
    """Each that was issued; not one that was brought along."""
    insights = writer(store)
    first = insights.open(key("web"), "s-1", {})
    for number in (1, 2):
        first.secured(certificate(number), ("ca-1",), NOW)
        await insights.flush()
    first.closed(NOW)
    await insights.flush()
    second = insights.open(key("web"), "s-2", {})
    await insights.flush()
    second.secured(certificate(2, held=True), ("ca-1", "ca-2"), NOW)
    second.secured(certificate(3), ("ca-1", "ca-2"), NOW)
    await insights.flush()

    shown = (await read(store))["mTLS"]
    assert shown["certificateRegenerations"] == 3
    assert shown["supportedBackends"] == ["ca-1", "ca-2"]
    assert shown["certificateExpirationTime"] == timestamp(certificate(3).not_after)


async def test_switching_mutual_tls_off_is_seen(store):
    """Also when the proxy leaves afterwards."""
    insights = writer(store)
    seen = insights.open(key("web"), "s-1", {})
    seen.secured(certificate(), ("ca-1",), NOW)
    await insights.flush()
    seen.secured(None, (), NOW)
    seen.closed(NOW)
    await insights.flush()

    assert "mTLS" not in await read(store)


async def test_what_could_not_be_written_is_written_later(store):
    """A store that is away loses no news."""
    insights = writer(store)
    seen = insights.open(key("web"), "s-1", {})
    store.broken = True
    await insights.flush()
    seen.closed(NOW)
    await insights.flush()
    assert await read(store) == {}

    store.broken = False
    await insights.flush()

    assert "disconnectTime" in (await read(store))["subscriptions"][0]


async def test_an_unchanged_insight_is_not_written(store):
    """So nobody is woken by it."""
    insights = writer(store)
    seen = insights.open(key("web"), "s-1", {})
    await insights.flush()
    before = await store.revision()
    seen.tell(seen, urgent=True)
    await insights.flush()

    assert await store.revision() == before


async def test_streams_an_earlier_run_left_open_are_closed(store):
    """The control plane was killed; what is connected will say so again."""
    insights = writer(store)
    insights.open(key("web"), "s-1", {})
    await insights.flush()

    await writer(store).close_stale()

    assert "disconnectTime" in (await read(store))["subscriptions"][0]
