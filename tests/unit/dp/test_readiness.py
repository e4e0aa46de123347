from __future__ import annotations

import asyncio
import socket
import tempfile

import pytest

from kuma.core.errors import ConfigInvalid
from kuma.dp.admin import Admin
from kuma.dp.http import Peer, request
from kuma.dp.readiness import Readiness
from tests.unit.dp.control_plane import finished


@pytest.fixture
async def readiness():
    """A readiness server on a free port."""
    server = Readiness(ipv6=False)
    await server.start(_free_port(), any_port=True)
    yield server
    server.close()


def _free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


async def _ask(readiness, path="/ready", method="GET"):
    return await request(Peer("127.0.0.1", readiness.port), method, path, timeout=5)


async def test_not_ready_before_envoy_runs(readiness):
    """A probe during the start gets an answer, and it is no."""
    answer = await _ask(readiness)

    assert (answer.status, answer.body) == (503, b"NOT_READY\n")


async def test_envoy_decides_where_only_kuma_dp_can_ask_it(readiness):
    """Status and text of Envoy are passed on."""

    async def serve(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 503 x\r\ncontent-length: 13\r\n\r\nINITIALIZING\n")
        await finished(writer)

    with tempfile.TemporaryDirectory() as folder:
        readiness.running(Admin(Peer(unix_socket=f"{folder}/a.sock")))
        async with await asyncio.start_unix_server(serve, f"{folder}/a.sock"):
            answer = await _ask(readiness)
        gone = await _ask(readiness)

    assert (answer.status, answer.body) == (503, b"INITIALIZING\n")
    assert gone.status == 503


async def test_ready_where_envoy_can_be_asked_by_anyone(readiness):
    """With a TCP admin interface this port only says that kuma-dp does not drain."""
    readiness.running(Admin(Peer("127.0.0.1", 9901)))

    assert (await _ask(readiness)).body == b"READY\n"


async def test_terminating_wins(readiness):
    """From the first moment of draining no new traffic is wanted."""
    readiness.running(Admin(Peer("127.0.0.1", 9901)))
    readiness.terminating()

    answer = await _ask(readiness)

    assert (answer.status, answer.body) == (503, b"TERMINATING\n")


async def test_other_requests_are_answered_shortly(readiness):
    """One path, two methods."""
    assert (await _ask(readiness, "/")).status == 404
    assert (await _ask(readiness, method="POST")).status == 405
    assert (await _ask(readiness, method="HEAD")).body == b""
    assert (await _ask(readiness, "/ready?x=1")).status == 503


async def test_nonsense_is_survived(readiness):
    """A scanner does not disturb."""
    for nonsense in (b"\x16\x03\x01" + b"\r\n\r\n", b"x" * 20000, b""):
        reader, writer = await asyncio.open_connection("127.0.0.1", readiness.port)
        writer.write(nonsense)
        writer.write_eof()
        await reader.read()
        await finished(writer)

    assert (await _ask(readiness)).status == 503


async def test_a_taken_port_is_replaced_by_a_free_one(readiness):
    """Two proxies on one machine do not collide."""
    second = Readiness(ipv6=False)
    await second.start(readiness.port, any_port=True)
    try:
        assert second.port != readiness.port
        assert (await _ask(second)).status == 503
    finally:
        second.close()


async def test_a_taken_port_that_the_user_chose_stops_the_start(readiness):
    """Whoever chose the port has probes that expect it."""
    with pytest.raises(ConfigInvalid, match="KUMA_READINESS_PORT"):
        await Readiness(ipv6=False).start(readiness.port, any_port=False)


async def test_both_families_where_the_machine_has_them():
    """Envoy asks on the loopback address of the proxy's own family."""
    from kuma.dp.machine import has_ipv6

    if not has_ipv6():
        pytest.skip("this machine has no IPv6")
    server = Readiness(ipv6=True)
    await server.start(_free_port(), any_port=True)
    try:
        for host in ("127.0.0.1", "::1"):
            assert (await request(Peer(host, server.port), "GET", "/ready")).status == 503
    finally:
        server.close()


async def test_it_also_listens_where_envoys_admin_does(readiness):
    """Envoy looks for readiness at the address of its admin interface; loopback is there already."""
    await readiness.also_on("127.0.0.1")
    await readiness.also_on("0.0.0.0")
    await readiness.also_on("not-an-address")

    assert (await _ask(readiness)).status == 503
