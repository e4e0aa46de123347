"""Localhost is admin, over real sockets: the decision rests on what was sent, whatever the HTTP server makes of it.

The rules themselves have their table in tests/unit/cp/access/test_localhost.py; other machines ask in
tests/e2e/test_security.py.
"""

from __future__ import annotations

import asyncio
import json
import socket
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kuma.cp.server.listening import HttpServer
from tests.contract.api.control_plane import REMOTE, control_plane

ADMIN, ANONYMOUS = "mesh-system:admin", "mesh-system:anonymous"
REFUSED = "400"
"""The server itself takes the request for no HTTP."""


async def ask(host: str, port: int, head: str) -> str:
    """Whom the API takes the sender of a request for; the status where it does not answer."""
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(head.replace("\n", "\r\n").replace("PORT", str(port)).encode("latin-1"))
    async with asyncio.timeout(10):
        answer = await reader.read()
    writer.close()
    status, body = answer.split(b" ", 2)[1].decode(), answer.partition(b"\r\n\r\n")[2]
    return json.loads(body)["name"] if status == "200" else status


def request(*headers: str, line: str = "GET /who-am-i HTTP/1.1") -> str:
    """A request that ends its connection."""
    return "\n".join((line, *headers, "Connection: close", "", ""))


@pytest.mark.parametrize(
    "head, who",
    [
        pytest.param(request("Host: localhost:PORT"), ADMIN, id="plain"),
        pytest.param(request("host: LOCALHOST.:PORT"), ADMIN, id="another spelling"),
        pytest.param(request("Host: 127.0.0.1:PORT"), ADMIN, id="by address"),
        pytest.param(request("Host: [::1]:PORT"), ADMIN, id="by the other family's address"),
        pytest.param(request("Host: localhost:PORT", "Authorization: Bearer nonsense"), ADMIN, id="bad token"),
        pytest.param(request("Host: localhost:PORT", line="GET http://localhost:PORT/who-am-i HTTP/1.1"), ADMIN,
                     id="absolute form"),
        pytest.param(request("Host: localhost:PORT", "Origin: http://localhost:PORT"), ADMIN, id="own origin"),
        pytest.param(request("Host: localhost:PORT", "Sec-Fetch-Site: same-origin"), ADMIN, id="own page"),
        pytest.param(request("Host: evil.example:PORT"), ANONYMOUS, id="rebound name"),
        pytest.param(request("Host: evil.example:PORT", "Origin: http://evil.example:PORT"), ANONYMOUS,
                     id="rebound page"),
        pytest.param(request("Host: localhost:PORT", "Forwarded: for=127.0.0.1"), ANONYMOUS, id="Forwarded"),
        pytest.param(request("Host: localhost:PORT", "X-Forwarded-For: 127.0.0.1"), ANONYMOUS, id="X-Forwarded-For"),
        pytest.param(request("Host: localhost:PORT", "X-Forwarded-For:"), ANONYMOUS, id="empty X-Forwarded-For"),
        pytest.param(request("Host: localhost:PORT", "X-Real-IP: 127.0.0.1"), ANONYMOUS, id="X-Real-IP"),
        pytest.param(request("Host: localhost:PORT", "Sec-Fetch-Site: cross-site"), ANONYMOUS, id="other site"),
        pytest.param(request("Host: localhost:PORT", "Sec-Fetch-Site: none", "Sec-Fetch-Site: cross-site"), ANONYMOUS,
                     id="repeated Sec-Fetch-Site"),
        pytest.param(request("Host: localhost:PORT", "Origin: http://localhost:9"), ANONYMOUS, id="other port"),
        pytest.param(request("Host: localhost:PORT", "Origin: http://localhost:PORT", "Origin: null"), ANONYMOUS,
                     id="repeated Origin"),
        pytest.param(request("Host: localhost:PORT", line="GET http://evil.example/who-am-i HTTP/1.1"), ANONYMOUS,
                     id="absolute form of another"),
        pytest.param(request("Host: evil.example", line="GET http://localhost:PORT/who-am-i HTTP/1.1"), ANONYMOUS,
                     id="Host disagrees with the request line"),
        pytest.param(request("Host: localhost:PORT", "Host: evil.example"), REFUSED, id="two hosts"),
        pytest.param(request(), REFUSED, id="no host"),
        pytest.param(request(line="GET /who-am-i HTTP/1.0"), ANONYMOUS, id="no host, HTTP/1.0"),
        pytest.param(request("Host: localhost:PORT", "X-Forwarded-For : 127.0.0.1"), REFUSED, id="space in a name"),
        pytest.param(request("Host: localhost:PORT", " X-Forwarded-For: 127.0.0.1"), ANONYMOUS, id="folded line"),
    ],
)  # fmt: skip
async def test_who_is_local(cp, head, who):
    """Each row as its bytes arrive."""
    server = await HttpServer.listen(cp.api, "127.0.0.1", 0)
    try:
        assert await ask("127.0.0.1", server.port, head) == who
    finally:
        await server.close(timedelta(seconds=2))


@pytest.mark.parametrize(
    "url, origin, who",
    [
        ("https://localhost", "https://localhost", ADMIN),
        ("https://localhost", "http://localhost", ANONYMOUS),
        ("http://localhost", "https://localhost", ANONYMOUS),
        ("https://localhost", "https://localhost:80", ANONYMOUS),
    ],
)
async def test_a_page_of_the_other_scheme_is_another_page(cp, url, origin, who):
    """Ports that are left out are those of the scheme by which the request came."""
    async with cp.client(headers={"origin": origin}) as client:
        assert (await client.get(f"{url}/who-am-i")).json()["name"] == who


async def test_ipv6_is_local_too(cp):
    """Its loopback address is one like the other."""
    if not socket.has_ipv6:
        pytest.skip("this machine has no IPv6")
    server = await HttpServer.listen(cp.api, "::1", 0)
    try:
        assert await ask("::1", server.port, request("Host: [::1]:PORT")) == ADMIN
        assert await ask("::1", server.port, request("Host: [::1]:PORT", "X-Real-IP: ::1")) == ANONYMOUS
        assert await ask("::1", server.port, request("Host: ip6-localhost:PORT")) == ANONYMOUS
    finally:
        await server.close(timedelta(seconds=2))


async def test_ipv4_in_an_ipv6_socket_is_what_it_was(cp):
    """A peer that is shown as ``::ffff:…`` counts by its IPv4 address."""
    for peer, who in (("::ffff:127.0.0.1", ADMIN), ("::ffff:10.0.0.1", ANONYMOUS), ("::127.0.0.1", ANONYMOUS)):
        async with cp.client((peer, 40000)) as client:
            assert (await client.get("/who-am-i")).json()["name"] == who


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=st.binary(max_size=200))
async def test_no_credential_breaks_the_api(cp, value):
    """Whatever stands in Authorization, the sender is anonymous or refused, and it is the header that decides."""
    import httpx2

    raw = httpx2.Headers([(b"authorization", value)])
    async with cp.client(REMOTE) as client:
        answer = await client.get("/who-am-i", headers=raw)

    if value.startswith(b"Bearer "):
        assert answer.status_code == 401
    else:
        assert answer.json()["name"] == ANONYMOUS


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    headers=st.lists(
        st.tuples(
            st.sampled_from([b"host", b"origin", b"sec-fetch-site", b"forwarded", b"x-forwarded-for", b"x-real-ip"]),
            st.sampled_from([b"localhost:5681", b"127.0.0.1", b"[::1]", b"none", b"http://localhost:5681", b""])
            | st.binary(max_size=60),
        ),
        max_size=6,
    )
)
async def test_no_headers_make_a_remote_caller_local(cp, headers):
    """Nothing that a caller writes changes where it calls from."""
    sent = []

    async def send(message):
        sent.append(message)

    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    scope = {
        "type": "http", "method": "GET", "scheme": "http", "path": "/who-am-i", "raw_path": b"/who-am-i",
        "query_string": b"", "headers": headers, "client": REMOTE, "server": ("10.0.0.1", 5681),
    }  # fmt: skip
    await cp.api(scope, receive, send)

    assert sent[0]["status"] == 200
    assert json.loads(sent[1]["body"])["name"] == ANONYMOUS


async def test_switched_off_nobody_is_local():
    """Not even the plainest request."""
    from kuma.cp.config import Config

    cp = await control_plane(Config(apiServer={"authn": {"localhostIsAdmin": False}}))
    server = await HttpServer.listen(cp.api, "127.0.0.1", 0)
    try:
        assert await ask("127.0.0.1", server.port, request("Host: localhost:PORT")) == ANONYMOUS
    finally:
        await server.close(timedelta(seconds=2))
