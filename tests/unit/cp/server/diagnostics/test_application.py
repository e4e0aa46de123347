import httpx2
import pytest
from prometheus_client import CollectorRegistry, Counter

from kuma.cp.server.diagnostics.application import Diagnostics
from kuma.cp.server.diagnostics.levels import LogLevels


class Started:
    """Whether all parts of the control plane have started."""

    def __init__(self):
        self.ready = False

    def __call__(self):
        return self.ready


@pytest.fixture
def started():
    """Not yet."""
    return Started()


@pytest.fixture
async def client(started):
    """A caller of the diagnostics port."""
    registry = CollectorRegistry()
    Counter("turns", "Turns made", registry=registry).inc()
    transport = httpx2.ASGITransport(Diagnostics(started, registry, LogLevels()))
    async with httpx2.AsyncClient(transport=transport, base_url="http://localhost:5680") as client:
        yield client


async def test_ready_is_503_until_everything_has_started(client, started):
    """Empty either way."""
    before = await client.get("/ready")
    started.ready = True
    after = await client.get("/ready")

    assert (before.status_code, before.text) == (503, "")
    assert (after.status_code, after.text) == (200, "")


async def test_healthy_is_always_200(client):
    """The process answers."""
    answer = await client.get("/healthy")

    assert (answer.status_code, answer.text) == (200, "")


async def test_metrics_are_in_prometheus_text(client):
    """Every metric of the registry."""
    answer = await client.get("/metrics")

    assert answer.headers["content-type"].startswith("text/plain")
    assert "turns_total 1.0" in answer.text


async def test_a_log_level_is_set_shown_and_reset(client):
    """By component."""
    put = await client.put("/logging", json={"component": "xds", "level": "debug"})
    shown = await client.get("/logging")
    one = await client.delete("/logging/xds")
    again = await client.delete("/logging/xds")
    every = await client.delete("/logging")

    assert put.status_code == 200
    assert shown.json() == {"components": {"xds": "debug"}}
    assert (one.status_code, again.status_code) == (200, 404)
    assert every.json() == {"components": {}}


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b'{"component": "xds"}', b'{"component": 1, "level": "debug"}', b'{"component": "x", "level": "loud"}',
     b"x" * 5000, b"[" * 4000],
)  # fmt: skip
async def test_a_bad_body_is_400(client, body):
    """Also one that is too large."""
    answer = await client.put("/logging", content=body)

    assert answer.status_code == 400
    assert answer.text


async def test_too_many_levels_are_429(client):
    """It says how to make room."""
    for number in range(100):
        await client.put("/logging", json={"component": f"c{number}", "level": "off"})

    answer = await client.put("/logging", json={"component": "one-more", "level": "off"})

    assert answer.status_code == 429
    assert "DELETE /logging" in answer.text


@pytest.mark.parametrize("method, path, status", [("GET", "/nope", 404), ("POST", "/ready", 405), ("GET", "/%zz", 400)])
async def test_other_paths_and_verbs_are_refused(client, method, path, status):
    """In plain text."""
    assert (await client.request(method, path)).status_code == status
