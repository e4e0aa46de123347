import socket
import ssl

import pytest
import trustme

from kuma.core.errors import ConfigInvalid
from kuma.cp.config.sections.api_server import ApiServer
from kuma.cp.server.sockets import api_context, check_port


@pytest.fixture(scope="module")
def authority():
    """A CA that issues to servers and clients."""
    return trustme.CA()


@pytest.fixture
def settings(authority, tmp_path):
    """Settings of an API with a certificate; the CA of clients in a file, and in a folder with other files."""
    server = authority.issue_cert("localhost")
    server.private_key_pem.write_to_path(tmp_path / "server.key")
    for blob in server.cert_chain_pems:
        blob.write_to_path(tmp_path / "server.crt", append=True)
    (tmp_path / "clients").mkdir()
    authority.cert_pem.write_to_path(tmp_path / "clients" / "ca.pem")
    (tmp_path / "clients" / "README").write_text("no certificate")

    def make(*, require=False, file=False, folder=False, authn="tokens"):
        return ApiServer.model_validate(
            {
                "https": {
                    "tls_cert_file": str(tmp_path / "server.crt"),
                    "tls_key_file": str(tmp_path / "server.key"),
                    "tls_ca_file": str(tmp_path / "clients" / "ca.pem") if file else "",
                    "require_client_cert": require,
                },
                "auth": {"client_certs_dir": str(tmp_path / "clients") if folder else ""},
                "authn": {"type": authn},
            }
        )

    return make


def shown_after_handshake(server, authority, *, certificate):
    """The client's certificate as the server sees it, after both sides talked in memory."""
    client = ssl.create_default_context()
    authority.configure_trust(client)
    if certificate is not None:
        certificate.configure_cert(client)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = client.wrap_bio(to_client, to_server, server_hostname="localhost")
    theirs = server.wrap_bio(to_server, to_client, server_side=True)
    waiting = {ours, theirs}
    while waiting:
        for side in tuple(waiting):
            try:
                side.do_handshake()
                waiting.discard(side)
            except ssl.SSLWantReadError:
                continue
    return theirs.getpeercert()


@pytest.mark.parametrize("source", [{"file": True}, {"folder": True}])
def test_a_demanded_client_certificate_keeps_others_out(settings, authority, source):
    """Whoever cannot show a certificate of a trusted CA does not get as far as a request."""
    context = api_context(settings(require=True, **source))

    with pytest.raises(ssl.SSLError):
        shown_after_handshake(context, authority, certificate=None)
    with pytest.raises(ssl.SSLError):
        shown_after_handshake(context, authority, certificate=trustme.CA().issue_cert("someone@example.test"))
    assert shown_after_handshake(context, authority, certificate=authority.issue_cert("someone@example.test"))


def test_where_certificates_make_administrators_they_are_asked_for(settings, authority):
    """And who has none still gets in, as somebody else."""
    context = api_context(settings(file=True, authn="adminClientCerts"))

    assert shown_after_handshake(context, authority, certificate=authority.issue_cert("admin@example.test"))
    assert not shown_after_handshake(context, authority, certificate=None)


def test_nobody_is_asked_for_a_certificate_by_default(settings, authority):
    """A browser that has certificates does not offer to choose one."""
    context = api_context(settings(folder=True))

    assert not shown_after_handshake(context, authority, certificate=authority.issue_cert("someone@example.test"))


def test_demanding_certificates_without_a_ca_is_refused(settings):
    """The start says so, instead of letting everybody in or nobody."""
    with pytest.raises(ConfigInvalid, match="clientCertsDir"):
        api_context(settings(require=True))


def test_a_ca_file_that_cannot_be_read_is_named(settings, tmp_path):
    """The operator learns which of the files is meant."""
    wanted = settings(require=True, file=True)
    (tmp_path / "clients" / "ca.pem").write_text("nothing")

    with pytest.raises(ConfigInvalid, match=r"ca\.pem"):
        api_context(wanted)


def test_a_port_that_is_taken_is_named_with_its_server():
    """Before anything is served."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]

        with pytest.raises(ConfigInvalid, match=rf"the HTTP API server cannot listen on 127\.0\.0\.1:{port}"):
            check_port("HTTP API", "127.0.0.1", port)
