from __future__ import annotations

import asyncio
import tempfile

import pytest

from kuma.dp.admin import Admin, Bootstrap
from kuma.dp.errors import JoinRefused
from kuma.dp.http import Peer
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
