import asyncio
import ssl
from contextlib import asynccontextmanager, suppress
from datetime import timedelta

import pytest
import trustme
import uvloop

from kuma.cp.server.listening import HttpServer, TimeLimits

FAST = TimeLimits(head=timedelta(seconds=0.2), write=timedelta(seconds=0.3), idle=timedelta(seconds=0.3))
PATIENT = TimeLimits(head=timedelta(seconds=10))
DEADLINE = 10


class App:
    """Answers with what the test wants, and remembers what it was asked."""

    def __init__(self, body=b"hello", wait=None):
        self.body = body
        self.wait = wait
        self.scopes = []

    async def __call__(self, scope, receive, send):
        self.scopes.append(scope)
        if self.wait is not None:
            await self.wait.wait()
        headers = [(b"content-length", str(len(self.body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": self.body})


@asynccontextmanager
async def serving(app, limits=PATIENT, tls=None):
    """A server on a free port of this machine."""
    server = await HttpServer.listen(app, "127.0.0.1", 0, tls=tls, limits=limits)
    try:
        yield server
    finally:
        await server.close(timedelta(seconds=1))


@asynccontextmanager
async def connection(server, **options):
    """A peer that sends bytes of its own making."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port, **options)
    try:
        yield reader, writer
    finally:
        writer.close()


async def ended(reader):
    """What still comes until the server ends the connection."""
    async with asyncio.timeout(DEADLINE):
        try:
            return await reader.read()
        except ConnectionResetError:
            return b""


async def test_requests_are_answered_one_after_the_other():
    """A connection is kept."""
    async with serving(App()) as server, connection(server) as (reader, writer):
        for _ in range(3):
            writer.write(b"GET /a%2Fb?x=1 HTTP/1.1\r\nhost: x\r\n\r\n")
            assert (await reader.readuntil(b"hello")).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("start", [b"", b"GET / HTTP/1.1\r\nhost", b"GET"])
async def test_a_peer_that_is_slow_with_its_head_is_cut_off(start):
    """However little or much it has sent."""
    async with serving(App(), FAST) as server, connection(server) as (reader, writer):
        writer.write(start)

        assert await ended(reader) == b""


@pytest.mark.parametrize(
    "sent, status, reason",
    [
        (b"GET / HTTP/1.1\r\nx: " + b"a" * 100_000, b"431", b"headers may have 65536 bytes at most"),
        (b"GET / HTTP/1.1\r\n" + b"x: a\r\n" * 20_000, b"431", b"headers may have 65536 bytes at most"),
        (b"GET / HTTP/1.1\r\n\r\n", b"400", b"Host"),
        (b"GET / HTTP/1.1\r\nhost: x\r\na\x00: b\r\n\r\n", b"400", b"not a valid HTTP/1.1 request: "),
        (b"GET / HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n", b"400", b"Content-Length"),
        (b"PUT / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: gzip\r\n\r\n", b"400", b"Transfer-Encoding"),
        ("GET /\u20ac HTTP/1.1\r\nhost: x\r\n\r\n".encode(), b"400", b"not a valid HTTP/1.1 request: "),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", b"400", b"not a valid HTTP/1.1 request: "),
        (b"HELLO\r\n\r\n", b"400", b"not a valid HTTP/1.1 request: "),
    ],
)
async def test_what_is_no_http_request_is_told_why(sent, status, reason):
    """TLS on the plain port, another protocol, a head without end: never a fault of the server; the connection ends."""
    async with serving(App()) as server, connection(server) as (reader, writer):
        writer.write(sent)

        head, _, body = (await ended(reader)).partition(b"\r\n\r\n")
        assert head.split(b" ")[1] == status
        assert body.startswith(status + b": ")
        assert reason in body


async def test_nonsense_after_the_answer_ends_the_connection():
    """The rest of a body that was answered already has no answer of its own, and is no failure of the server."""
    failures = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: failures.append(context))
    async with serving(App()) as server, connection(server) as (reader, writer):
        writer.write(b"PUT / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n")
        await reader.readuntil(b"hello")
        writer.write(b"no chunk\r\n")

        assert await ended(reader) == b""
    assert failures == []


async def test_a_trickling_head_does_not_win_time():
    """Each byte is not a new chance."""

    async def trickle(writer):
        while True:
            writer.write(b"x")
            await asyncio.sleep(0.02)

    async with serving(App(), FAST) as server, connection(server) as (reader, writer):
        writer.write(b"GET / HTTP/1.1\r\nx: ")
        trickling = asyncio.create_task(trickle(writer))
        try:
            assert await ended(reader) == b""
        finally:
            trickling.cancel()


async def test_an_idle_connection_is_closed():
    """After its last answer."""
    async with serving(App(), FAST) as server, connection(server) as (reader, writer):
        writer.write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")

        assert (await ended(reader)).endswith(b"hello")


async def test_a_peer_that_does_not_fetch_its_answer_is_cut_off():
    """Large answers do not pile up in memory for peers that never read."""
    app = App(body=b"x" * 30_000_000)
    async with serving(app, FAST) as server, connection(server, limit=1000) as (reader, writer):
        writer.write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        async with asyncio.timeout(DEADLINE):
            while server.connections:  # noqa: ASYNC110 - nothing tells a test that a server dropped a peer
                await asyncio.sleep(0.05)


async def test_an_unread_body_does_not_hold_the_connection():
    """A body that goes on after its answer has a time limit of its own."""

    async def trickle(writer):
        while True:
            writer.write(b"1\r\nx\r\n")
            await asyncio.sleep(0.02)

    async with serving(App(), FAST) as server, connection(server) as (reader, writer):
        writer.write(b"PUT / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n")
        trickling = asyncio.create_task(trickle(writer))
        try:
            assert b"hello" in await reader.readuntil(b"hello")
            with suppress(ConnectionError):  # what was not read may end a connection that way
                await ended(reader)
        finally:
            trickling.cancel()


async def test_headers_of_proxies_do_not_change_who_the_caller_is():
    """The peer's address is the socket's."""
    app = App()
    async with serving(app) as server, connection(server) as (reader, writer):
        writer.write(
            b"GET http://other/ HTTP/1.1\r\nhost: x\r\nx-forwarded-for: 9.9.9.9\r\nx-forwarded-proto: https\r\n\r\n"
        )
        await reader.readuntil(b"hello")

    scope = app.scopes[0]
    assert (scope["client"][0], scope["scheme"], scope["raw_path"]) == ("127.0.0.1", "http", b"http://other/")


async def test_a_running_request_is_finished_when_the_server_closes():
    """Within the grace; new connections are refused at once."""
    go_on = asyncio.Event()
    server = await HttpServer.listen(App(wait=go_on), "127.0.0.1", 0, limits=PATIENT)
    async with connection(server) as (reader, writer):
        writer.write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        await writer.drain()
        async with asyncio.timeout(DEADLINE):
            while not server.requests:  # noqa: ASYNC110 - as above
                await asyncio.sleep(0.01)
        port = server.port
        closing = asyncio.create_task(server.close(timedelta(seconds=5)))
        await asyncio.sleep(0)
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)
        go_on.set()

        assert (await ended(reader)).endswith(b"hello")
        await closing


async def test_a_request_that_never_ends_does_not_hold_up_the_end():
    """After the grace it is cut."""
    server = await HttpServer.listen(App(wait=asyncio.Event()), "127.0.0.1", 0, limits=PATIENT)
    async with connection(server) as (reader, writer):
        writer.write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        async with asyncio.timeout(DEADLINE):
            while not server.requests:  # noqa: ASYNC110 - as above
                await asyncio.sleep(0.01)
            await server.close(timedelta(seconds=0.1))

        await ended(reader)


@pytest.fixture(scope="module")
def authority():
    """A CA for the server and for clients."""
    return trustme.CA()


def server_context(authority, verify):
    """TLS as the composition root makes it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.configure_trust(context)
    context.verify_mode = verify
    return context


@pytest.mark.parametrize("shown", [True, False])
async def test_a_verified_client_certificate_is_told_to_the_application(authority, shown):
    """And its absence."""
    app = App()
    ours = ssl.create_default_context()
    authority.configure_trust(ours)
    if shown:
        authority.issue_cert("client@example.test").configure_cert(ours)
    async with (
        serving(app, tls=server_context(authority, ssl.CERT_OPTIONAL)) as server,
        connection(server, ssl=ours) as (reader, writer),
    ):
        writer.write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        await reader.readuntil(b"hello")

    assert app.scopes[0]["state"]["peer_certificate"] is shown
    assert app.scopes[0]["scheme"] == "https"


def test_a_new_certificate_holds_for_new_connections_and_no_connection_is_lost(authority):
    """Connections are made all the time while the certificate changes; an open one goes on as it was."""
    uvloop.run(_renewed_under_load(authority))


async def _renewed_under_load(authority):
    ours = ssl.create_default_context()
    authority.configure_trust(ours)
    seen, fresh, stop = set(), asyncio.Queue(), asyncio.Event()

    async def come_and_go():
        while not stop.is_set():
            async with connection(server, ssl=ours) as (reader, writer):
                serial = writer.get_extra_info("peercert")["serialNumber"]
                if serial not in seen:
                    seen.add(serial)
                    fresh.put_nowait(serial)
                await ask(reader, writer)

    async with (
        asyncio.timeout(DEADLINE),
        serving(App(), tls=server_context(authority, ssl.CERT_NONE)) as server,
        connection(server, ssl=ours) as (reader, writer),
        asyncio.TaskGroup() as group,
    ):
        port = server.port
        for _ in range(4):
            group.create_task(come_and_go())
        for _ in range(5):
            await fresh.get()
            await ask(reader, writer)
            await server.renew(server_context(authority, ssl.CERT_NONE))
        await fresh.get()
        stop.set()
        assert server.port == port


async def ask(reader, writer):
    """One request and its answer."""
    writer.write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
    assert (await reader.readuntil(b"hello")).startswith(b"HTTP/1.1 200")


async def test_a_ca_that_is_taken_away_lets_nobody_in_any_more(authority):
    """Not even with a session that began before."""
    ours = ssl.create_default_context()
    authority.configure_trust(ours)
    authority.issue_cert("client@example.test").configure_cert(ours)
    async with serving(App(), tls=server_context(authority, ssl.CERT_REQUIRED)) as server:
        async with connection(server, ssl=ours) as (reader, writer):
            await ask(reader, writer)
        without = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1").configure_cert(without)
        trustme.CA().configure_trust(without)
        without.verify_mode = ssl.CERT_REQUIRED
        await server.renew(without)

        async def again():
            async with connection(server, ssl=ours) as (reader, writer):
                await ask(reader, writer)

        with pytest.raises((ssl.SSLError, ConnectionError, asyncio.IncompleteReadError)):
            await again()
