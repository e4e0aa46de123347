"""What the data plane port speaks and shows, and how its certificate is replaced under the feet of proxies."""

import asyncio
import socket
import ssl
import threading
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import structlog
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from kuma.core.errors import ConfigInvalid
from kuma.core.model.resource import Key
from kuma.core.xds.names import CLUSTER
from kuma.cp.certificates.server import ServerTls
from kuma.cp.server.dp.pair import for_granian
from kuma.cp.server.dp.server import MOST_FORMER
from tests.contract.xds.stack import Proxy, dataplane, eventually, node, now, running

GRANIAN, OPENSSL = {}, {"tls_max_version": "TLSv1_3", "tls_cipher_suites": ("TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",)}
V12, V13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
DEADLINE = 20
ENOUGH = 100_000


def certificate(stack, key=None, also=lambda builder: builder):
    """A new certificate of the stack's authority; ``also`` adds to it."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    authority, moment = stack.authority, now()
    builder = (
        x509.CertificateBuilder(
            authority.certificate.subject, x509.Name([]), key.public_key(), x509.random_serial_number()
        )
        .not_valid_before(moment - timedelta(days=1))
        .not_valid_after(moment + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=True)
        .add_extension(authority.key_identifier, critical=False)
    )
    made = also(builder).sign(authority.key, hashes.SHA256())
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    chain = made.public_bytes(serialization.Encoding.PEM) + authority.pem
    return ServerTls(Path("new.crt"), Path("new.key"), chain, private, authority.pem, authority.fingerprint)


def serial(tls):
    """Of its certificate."""
    return x509.load_pem_x509_certificates(tls.chain)[0].serial_number


def trusting(stack, *, alpn=("http/1.1",)):
    """TLS of a client."""
    context = ssl.create_default_context(cadata=stack.authority.pem.decode())
    context.set_alpn_protocols(list(alpn))
    return context


@asynccontextmanager
async def connection(stack, context):
    """A connection over TLS."""
    async with asyncio.timeout(DEADLINE):
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", stack.port, ssl=context, server_hostname="localhost"
        )
        try:
            yield reader, writer
        finally:
            writer.close()


async def ask(reader, writer):
    """One request; its answer says that this is the data plane port."""
    writer.write(b"GET /bootstrap HTTP/1.1\r\nhost: localhost\r\n\r\n")
    assert (await reader.readuntil(b"405: Method Not Allowed")).startswith(b"HTTP/1.1 405")


def shown_by(writer):
    """The serial number of the certificate that the server showed."""
    return int(writer.get_extra_info("peercert")["serialNumber"], 16)


@pytest.mark.parametrize("limits", [GRANIAN, OPENSSL], ids=["granian", "openssl"])
async def test_a_proxy_is_served_whoever_speaks_tls(tmp_path, delta, limits):
    """Bytes both ways, in both dialects, large ones too; and its address is its own."""
    async with running(tmp_path, limits=limits) as stack:
        for number in range(60):
            await stack.apply(**dataplane(f"api-{number}", f"api-{number}"))
        resource = dataplane("web-1", "web", *(f"api-{number}" for number in range(60)))
        proxy = Proxy(stack, node("web-1", resource), await stack.token("web-1"), delta)
        with structlog.testing.capture_logs() as logs:
            async with proxy.connected():
                await eventually(lambda: len(proxy.names(CLUSTER)) > 60)

    (line,) = [line for line in logs if line["event"] == "proxy connected"]
    host, _, port = line["address"].rpartition(":")
    assert host == "127.0.0.1"
    assert int(port) not in (0, stack.port)


@pytest.mark.parametrize(
    ("limits", "spoken"),
    [
        ({}, {V12, V13}),
        ({"tls_min_version": "TLSv1_0"}, {V12, V13}),
        ({"tls_min_version": "TLSv1_3"}, {V13}),
        ({"tls_max_version": "TLSv1_2"}, {V12}),
        ({"tls_max_version": "TLSv1_3"}, {V12, V13}),
        ({"tls_cipher_suites": ("TLS_AES_128_GCM_SHA256",)}, {V13}),
        ({"tls_cipher_suites": ("TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",)}, {V12, V13}),
    ],
)
async def test_only_the_versions_that_the_settings_allow_are_spoken(tmp_path, limits, spoken):
    """As on the port of the API."""
    async with running(tmp_path, limits=limits) as stack:
        for version in (V12, V13):
            context = trusting(stack)
            context.minimum_version = context.maximum_version = version
            if version in spoken:
                async with connection(stack, context) as (reader, writer):
                    await ask(reader, writer)
                    assert writer.get_extra_info("ssl_object").version() == version.name.replace("_", ".")
            else:
                with pytest.raises((ssl.SSLError, ConnectionError)):
                    await connect_once(stack, context)


async def connect_once(stack, context):
    """A connection and a request, as one step that may fail."""
    async with connection(stack, context) as (reader, writer):
        await ask(reader, writer)


async def test_only_the_suites_that_the_settings_name_are_spoken(tmp_path):
    """A client that offers another one only is refused."""
    limits = {"tls_cipher_suites": ("TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",)}
    async with running(tmp_path, limits=limits) as stack:
        both, other = trusting(stack), trusting(stack)
        both.maximum_version = other.maximum_version = V12
        other.set_ciphers("ECDHE-ECDSA-AES128-GCM-SHA256")

        async with connection(stack, both) as (_, writer):
            assert writer.get_extra_info("cipher")[0] == "ECDHE-ECDSA-AES256-GCM-SHA384"
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await connect_once(stack, other)


@pytest.mark.parametrize("alpn", [("h2", "http/1.1"), ("h2",), ("http/1.1",)])
@pytest.mark.parametrize("limits", [GRANIAN, OPENSSL], ids=["granian", "openssl"])
async def test_http2_is_preferred(tmp_path, limits, alpn):
    """Envoy gets HTTP/2, a plain client what it speaks."""
    async with (
        running(tmp_path, limits=limits) as stack,
        connection(stack, trusting(stack, alpn=alpn)) as (_, writer),
    ):
        assert writer.get_extra_info("ssl_object").selected_alpn_protocol() == alpn[0]


def with_critical(builder):
    """An extension that is marked critical and that few programs know."""
    policy = x509.PolicyInformation(x509.ObjectIdentifier("1.2.3.4"), None)
    return builder.add_extension(x509.CertificatePolicies([policy]), critical=True)


KEYS = {
    "P-256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "P-384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "P-521": lambda: ec.generate_private_key(ec.SECP521R1()),
    "RSA-2048": lambda: rsa.generate_private_key(65537, 2048),
    "RSA-2056": lambda: rsa.generate_private_key(65537, 2056),
    "RSA-2048-3": lambda: rsa.generate_private_key(3, 2048),
    "RSA-3072": lambda: rsa.generate_private_key(65537, 3072),
    "RSA-4096": lambda: rsa.generate_private_key(65537, 4096),
}
GRANIANS = ("P-256", "P-384", "RSA-2048", "RSA-3072", "RSA-4096")


@pytest.mark.parametrize("kind", KEYS)
async def test_every_kind_of_key_is_served(stack, kind):
    """Also those that Granian would fall over."""
    tls = certificate(stack, KEYS[kind]())
    assert (for_granian(tls) is not None) is (kind in GRANIANS)
    await stack.server.renew(tls)

    async with connection(stack, trusting(stack)) as (reader, writer):
        await ask(reader, writer)
        assert shown_by(writer) == serial(tls)


@pytest.mark.parametrize("extra", [with_critical, None], ids=["critical", "comment"])
async def test_every_shape_of_certificate_is_served(stack, extra):
    """Odd extensions, and files with comments, other blocks and the old form of a key."""
    key = ec.generate_private_key(ec.SECP256R1())
    tls = certificate(stack, key, extra or (lambda builder: builder))
    if extra is None:
        old = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
        )
        tls = replace(tls, chain=b"our certificate\r\n" + tls.chain.replace(b"\n", b"\r\n"), key=b"\n" + old)
    await stack.server.renew(tls)

    async with connection(stack, trusting(stack)) as (reader, writer):
        await ask(reader, writer)
        assert shown_by(writer) == serial(tls)


@pytest.mark.parametrize("limits", [GRANIAN, OPENSSL], ids=["granian", "openssl"])
async def test_a_new_certificate_breaks_nothing(tmp_path, limits):
    """While it changes several times: no new connection fails, no stream ends, and what changes reaches every proxy."""
    async with running(tmp_path, limits=limits) as stack:
        proxy = Proxy(stack, node("web-1", dataplane("web-1", "web")), await stack.token("web-1"), True)
        seen, stop = set(), asyncio.Event()
        context = trusting(stack)

        async def come_and_go():
            while not stop.is_set():
                async with connection(stack, context) as (reader, writer):
                    seen.add(shown_by(writer))
                    await ask(reader, writer)

        async with proxy.connected(), asyncio.TaskGroup() as group:
            await eventually(lambda: proxy.names(CLUSTER))
            for _ in range(6):
                group.create_task(come_and_go())
            await eventually(lambda: serial(stack.tls) in seen)
            for number in range(3):
                tls = certificate(stack)
                await stack.server.renew(tls)
                await eventually(lambda tls=tls: serial(tls) in seen)
                await stack.apply(**dataplane("web-1", "web", *(f"api-{number}-{at}" for at in range(3))))
                await eventually(lambda number=number: any(f"api-{number}-0" in name for name in proxy.names(CLUSTER)))
            stop.set()
        assert len(seen) == 4


async def test_new_connections_see_the_new_certificate_only(stack):
    """From the moment that the change is done."""
    tls = certificate(stack)
    await stack.server.renew(tls)

    for _ in range(20):
        async with connection(stack, trusting(stack)) as (_, writer):
            assert shown_by(writer) == serial(tls)


async def test_what_is_left_of_a_former_certificate_ends(stack):
    """An idle connection is closed a while later, and with it goes what served it."""
    async with connection(stack, trusting(stack)) as (reader, writer):
        await ask(reader, writer)
        threads = foreign_threads()
        await stack.server.renew(certificate(stack))
        await ask(reader, writer)
        assert foreign_threads() > threads

        assert await reader.read() == b""
    await eventually(lambda: foreign_threads() <= threads)


def foreign_threads():
    """How many threads there are that Python did not start: those of Granian."""
    return len(list(Path("/proc/self/task").iterdir())) - len(threading.enumerate())


@pytest.mark.parametrize("limits", [GRANIAN, OPENSSL], ids=["granian", "openssl"])
async def test_streams_do_not_keep_more_than_a_few_former_certificates_alive(tmp_path, limits):
    """The oldest stream is ended; its proxy comes back."""
    key = Key("Dataplane", "default", "web-1")
    async with running(tmp_path, limits=limits) as stack:
        proxy = Proxy(stack, node("web-1", dataplane("web-1", "web")), await stack.token("web-1"), True)
        async with proxy.connected():
            await eventually(lambda: proxy.names(CLUSTER))
            for _ in range(MOST_FORMER):
                await stack.server.renew(certificate(stack))
            assert stack.streams.get(key)
            await stack.server.renew(certificate(stack))
            await eventually(lambda: not stack.streams.get(key))
        async with proxy.connected():
            await eventually(lambda: stack.streams.get(key))


async def test_a_certificate_that_cannot_be_served_changes_nothing(tmp_path):
    """The former one is shown as before."""
    limits = {"tls_max_version": "TLSv1_2", "tls_cipher_suites": ("TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",)}
    async with running(tmp_path, limits=limits) as stack:
        with pytest.raises(ConfigInvalid, match="is for the RSA key"):
            await stack.server.renew(certificate(stack, KEYS["RSA-2048"]()))
        whole = certificate(stack)
        with pytest.raises(ConfigInvalid, match="cannot be used"):
            await stack.server.renew(replace(whole, key=whole.key[:40]))

        async with connection(stack, trusting(stack)) as (reader, writer):
            await ask(reader, writer)
            assert shown_by(writer) == serial(stack.tls)


async def test_nobody_else_gets_in_behind_tls(tmp_path):
    """The way from OpenSSL to Granian is a folder for kuma-cp's user only, and a stranger there is refused."""
    async with running(tmp_path, limits=OPENSSL) as stack:
        (folder,) = tmp_path.glob("dp-server-*")
        assert folder.stat().st_mode & 0o777 == 0o700
        inside = socket.socket(socket.AF_UNIX)
        inside.connect(str(folder / "server"))
        reader, writer = await asyncio.open_unix_connection(sock=inside)
        async with asyncio.timeout(DEADLINE):
            writer.write(b"POST /bootstrap HTTP/1.1\r\nhost: localhost\r\ncontent-length: 2\r\n\r\n{}")
            assert (await reader.readline()).startswith(b"HTTP/1.1 403")
        writer.close()
        await connect_once(stack, trusting(stack))
        assert [path.name for path in folder.iterdir()] == ["server"]
    assert list(tmp_path.glob("dp-server-*")) == []


async def test_what_a_killed_control_plane_left_is_tidied_up(tmp_path):
    """The folder of one that runs is left alone."""
    (tmp_path / "dp-server-dead").mkdir()
    (tmp_path / "dp-server-dead" / "server").touch()
    async with running(tmp_path, limits=OPENSSL) as one:
        (first,) = tmp_path.glob("dp-server-*")
        async with running(tmp_path, limits=OPENSSL) as other:
            assert len(list(tmp_path.glob("dp-server-*"))) == 2
            assert first.exists()
            for stack in (one, other):
                await connect_once(stack, trusting(stack))


async def test_what_is_not_fetched_is_not_piled_up(tmp_path):
    """A peer that reads nothing is not read from either, and others are served meanwhile."""
    async with running(tmp_path, limits=OPENSSL) as stack, connection(stack, trusting(stack)) as (reader, writer):
        request = b"GET /bootstrap HTTP/1.1\r\nhost: localhost\r\nx: " + b"x" * 1000 + b"\r\n\r\n"
        writer.transport.pause_reading()
        sent = 0
        with suppress(TimeoutError):
            async with asyncio.timeout(1):
                while sent < ENOUGH:
                    writer.write(request)
                    sent += 1
                    await writer.drain()
        assert sent < ENOUGH
        await connect_once(stack, trusting(stack))
        writer.transport.resume_reading()
        for _ in range(sent):
            await reader.readuntil(b"405: Method Not Allowed")
