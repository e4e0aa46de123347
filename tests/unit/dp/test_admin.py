from __future__ import annotations

import asyncio
import json
import tempfile
from contextlib import asynccontextmanager

import pytest

from kuma.dp.admin import Admin, Bootstrap
from kuma.dp.errors import JoinRefused
from kuma.dp.http import HttpError, Peer
from tests.unit.dp.control_plane import finished


def test_the_admin_interface_is_found_in_the_bootstrap():
    """On a socket, on a port, or nowhere."""
    pipe = b'{"admin": {"address": {"pipe": {"path": "/run/x.sock", "mode": 384}}}}'
    tcp = b"admin: {address: {socketAddress: {address: 10.0.0.1, portValue: 9901}}}"

    assert Bootstrap.read(pipe).admin == Peer(unix_socket="/run/x.sock")
    assert Bootstrap.read(tcp).admin == Peer(host="10.0.0.1", port=9901)
    assert Bootstrap.read(b"node: {id: x}").admin is None


def test_the_bootstrap_says_who_reads_the_token():
    """With googleGrpc it is Envoy, from the file."""
    reloaded = b"dynamicResources: {adsConfig: {grpcServices: [{googleGrpc: {targetUri: a}}]}}"
    fixed = b"dynamicResources: {adsConfig: {grpcServices: [{envoyGrpc: {clusterName: a}}]}}"

    assert Bootstrap.read(reloaded).token_is_reloaded
    assert not Bootstrap.read(fixed).token_is_reloaded


@pytest.mark.parametrize(
    "text", [b"\xff", b"- a", b"a: [", b"admin: x", b"admin: {address: {socketAddress: {address: a}}}", b"admin: [1]"]
)
def test_other_texts_are_refused(text):
    """A control plane that sends nonsense is told of, not crashed on."""
    with pytest.raises(JoinRefused):
        Bootstrap.read(text)


@asynccontextmanager
async def _envoy(answers):
    """An admin interface that knows some paths."""

    async def serve(reader, writer):
        path = (await reader.readuntil(b"\r\n\r\n")).split(b" ")[1].decode().partition("?")[0]
        body = json.dumps(answers[path]) if isinstance(answers[path], dict) else answers[path]
        writer.write(f"HTTP/1.1 200 OK\r\ncontent-length: {len(body)}\r\n\r\n{body}".encode())
        await finished(writer)

    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/admin.sock"
        async with await asyncio.start_unix_server(serve, path):
            yield Admin(Peer(unix_socket=path))


def _listener(name, address, port):
    return {"name": name, "local_address": {"socket_address": {"address": address, "port_value": port}}}


async def test_connections_of_users_are_counted():
    """Over all listeners, IPv4 and IPv6; those by which operators look at the proxy do not count."""
    listeners = [
        _listener("inbound:10.0.0.1:80", "10.0.0.1", 80),
        _listener("outbound:[::1]:81", "::1", 81),
        _listener("kuma:envoy:admin", "10.0.0.1", 9901),
        {"name": "_kuma:dynamicconfig", "local_address": {"pipe": {"path": "/x"}}},
    ]
    values = {
        "listener.10.0.0.1_80.downstream_cx_active": 1,
        "listener.10.0.0.1_80.downstream_cx_total": 5,
        "listener.10.0.0.1_80.worker_0.downstream_cx_active": 1,
        "listener.[__1]_81.downstream_cx_active": 2,
        "listener.[__1]_81.downstream_cx_total": 7,
        "listener.10.0.0.1_9901.downstream_cx_active": 100,
        "listener.admin.downstream_cx_active": 100,
    }
    stats = [{"name": name, "value": value} for name, value in values.items()]
    answers = {"/listeners": {"listener_statuses": listeners}, "/stats": {"stats": [*stats, {"histograms": {}}]}}
    async with _envoy(answers) as admin:
        assert await admin.connections() == (3, 12)


@pytest.mark.parametrize("answer", ["", "[", "[]", '{"stats": 1}', '{"listener_statuses": [1]}'])
async def test_counts_that_make_no_sense_are_no_zero(answer):
    """Else a busy proxy would be taken for idle."""
    async with _envoy({"/listeners": answer, "/stats": answer}) as admin:
        with pytest.raises(HttpError):
            await admin.connections()
    with pytest.raises(HttpError):
        await Admin(None).connections()


@pytest.mark.parametrize(
    "state, starting",
    [("PRE_INITIALIZING\n", True), ("INITIALIZING\n", True), ("LIVE\n", False), ("DRAINING\n", False)],
)
async def test_envoy_starts_until_it_has_a_configuration(state, starting):
    """Until then it listens nowhere."""
    async with _envoy({"/ready": state}) as admin:
        assert await admin.is_starting() == starting
    assert not await admin.is_starting()


async def test_commands_go_to_envoy_and_their_failure_stops_nothing(caplog):
    """Draining goes on, whatever Envoy answers."""
    lines = []

    async def serve(reader, writer):
        lines.append((await reader.readuntil(b"\r\n\r\n")).split(b"\r\n")[0].decode())
        writer.write(b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n")
        await finished(writer)

    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/admin.sock"
        async with await asyncio.start_unix_server(serve, path):
            admin = Admin(Peer(unix_socket=path))
            await admin.fail_health_checks()
            await admin.drain_inbound()
        await admin.drain_inbound()
    await Admin(None).drain_inbound()

    assert lines == [
        "POST /healthcheck/fail HTTP/1.1",
        "POST /drain_listeners?inboundonly&graceful&skip_exit HTTP/1.1",
    ]
    assert len(caplog.records) == 4
