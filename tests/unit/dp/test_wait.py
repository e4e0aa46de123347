from __future__ import annotations

from datetime import timedelta

import pytest

from kuma.core.errors import ConfigInvalid
from kuma.dp.admin import Admin
from kuma.dp.http import Peer
from kuma.dp.readiness import Readiness
from kuma.dp.wait import NotReady, target, wait

SOON = timedelta(milliseconds=5)


async def test_waiting_ends_when_the_proxy_is_ready():
    """The application may start now."""
    readiness = Readiness(ipv6=False)
    await readiness.start(9902, any_port=True)
    readiness.running(Admin(Peer("127.0.0.1", 9901)))
    try:
        await wait(Peer("127.0.0.1", readiness.port), "/ready", timedelta(seconds=5), timedelta(seconds=1), SOON)
    finally:
        readiness.close()


async def test_waiting_is_given_up_with_the_last_answer():
    """The sentence is Kuma's, the reason is added."""
    readiness = Readiness(ipv6=False)
    await readiness.start(9902, any_port=True)
    peer = Peer("127.0.0.1", readiness.port)
    try:
        with pytest.raises(NotReady, match=r"timeout occurred while waiting for data plane proxy to be ready.*503 NOT"):
            await wait(peer, "/ready", timedelta(milliseconds=200), timedelta(seconds=1), SOON)
    finally:
        readiness.close()
    with pytest.raises(NotReady, match="connection refused"):
        await wait(peer, "/ready", timedelta(milliseconds=50), timedelta(seconds=1), SOON)


def test_where_to_ask():
    """A port of this machine, or a socket."""
    assert target("http://localhost:9901/ready", "") == (Peer("localhost", 9901), "/ready")
    assert target("http://[::1]:9902/ready", "") == (Peer("::1", 9902), "/ready")
    assert target("http://localhost:9901/ready", "/run/x.sock") == (Peer(unix_socket="/run/x.sock"), "/ready")


@pytest.mark.parametrize(
    "url", ["http://example.com/ready", "https://localhost/ready", "localhost", "http://[", "http://localhost:x"]
)
def test_other_machines_are_not_asked(url):
    """Only loopback addresses."""
    with pytest.raises(ConfigInvalid, match="--url"):
        target(url, "")
