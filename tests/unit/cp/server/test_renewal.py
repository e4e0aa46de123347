"""Servers and the files of their certificates, put together."""

import asyncio
import ssl
from datetime import timedelta

import pytest
import trustme
import uvloop

from kuma.core.errors import ConfigInvalid
from kuma.cp.certificates.watch import CertificateWatch
from kuma.cp.config.sections.general import TlsServer
from kuma.cp.server.listening import HttpServer
from kuma.cp.server.renewal import Shown, listen_securely, pair_files
from kuma.cp.server.sockets import server_context

QUICK = timedelta(milliseconds=20)


@pytest.fixture
def authority():
    """A CA of the operator."""
    return trustme.CA()


@pytest.fixture
def settings(authority, tmp_path):
    """A pair of files."""
    write(authority, tmp_path, "first")
    return TlsServer(tls_cert_file=str(tmp_path / "tls.crt"), tls_key_file=str(tmp_path / "tls.key"))


def write(authority, folder, name):
    """A certificate of this name, with its CA."""
    pair = authority.issue_cert("localhost", common_name=name)
    (folder / "tls.key").write_bytes(pair.private_key_pem.bytes())
    (folder / "tls.crt").write_bytes(pair.cert_chain_pems[0].bytes() + authority.cert_pem.bytes())


async def shown_by(server, authority):
    """Whose certificate a server shows."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    _, writer = await asyncio.open_connection("127.0.0.1", server.port, ssl=context, server_hostname="localhost")
    subject = writer.get_extra_info("peercert")["subject"]
    writer.close()
    return dict(one[0] for one in subject)["commonName"]


async def eventually(condition):
    """Ask until the answer is true."""
    async with asyncio.timeout(10):
        while not await condition():  # noqa: ASYNC110 - files tell nobody
            await asyncio.sleep(0.01)


def test_a_server_shows_what_its_files_hold(authority, settings, tmp_path):
    """Also the files of the diagnostics server, and whatever serves HTTP with TLS."""
    uvloop.run(_shows_what_its_files_hold(authority, settings, tmp_path))


async def _shows_what_its_files_hold(authority, settings, tmp_path):
    watch = CertificateWatch(QUICK)

    async def application(scope, receive, send):
        pass

    server = await listen_securely(
        "diagnostics",
        watch,
        lambda: pair_files(settings),
        lambda: server_context(settings),
        lambda tls: HttpServer.listen(application, "127.0.0.1", 0, tls=tls),
    )
    looking = asyncio.create_task(watch.run())
    assert await shown_by(server, authority) == "first"

    write(authority, tmp_path, "second")

    async def second():
        return await shown_by(server, authority) == "second"

    await eventually(second)
    looking.cancel()
    await server.close(QUICK)


async def test_files_that_cannot_be_used_stop_the_start_and_name_the_server(settings, tmp_path):
    """There is no former certificate to keep."""
    (tmp_path / "tls.key").write_text("nothing")

    with pytest.raises(ConfigInvalid, match=r"the diagnostics server: .*tls\.key cannot be used"):
        await listen_securely(
            "diagnostics", CertificateWatch(), tuple, lambda: server_context(settings), lambda _: asyncio.sleep(0)
        )


async def test_what_the_data_plane_server_shows_is_what_tokens_and_bootstraps_say(authority, settings, tmp_path):
    """A new certificate is in them once it is shown, and not when it could not be."""
    watch, given, refuse = CertificateWatch(QUICK), [], []

    async def renew(tls):
        given.append(tls)
        if refuse:
            raise ConfigInvalid("no")

    shown = Shown(settings)
    first = await shown.read(watch)
    shown.give_to(renew)
    assert shown.fingerprint == first.fingerprint
    looking = asyncio.create_task(watch.run())

    other = trustme.CA()
    write(other, tmp_path, "second")

    async def changed():
        return bool(given) and shown.tls is given[-1]

    await eventually(changed)
    assert shown.fingerprint not in ("", first.fingerprint)
    assert other.cert_pem.bytes().strip() == shown.tls.ca_pem.strip()

    refuse.append(True)
    write(authority, tmp_path, "third")

    async def tried():
        return len(given) == 2

    await eventually(tried)
    assert shown.tls is given[0]
    looking.cancel()
