import socket
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import structlog
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from kuma.core.errors import ConfigInvalid
from kuma.cp.config.sections.api_server import ApiServer
from kuma.cp.server.sockets import api_context, check_port, client_ca_files, server_context


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

    def make(*, require=False, file=False, folder=False, authn="tokens", **limits):
        return ApiServer.model_validate(
            {
                "https": {
                    "tls_cert_file": str(tmp_path / "server.crt"),
                    "tls_key_file": str(tmp_path / "server.key"),
                    "tls_ca_file": str(tmp_path / "clients" / "ca.pem") if file else "",
                    "require_client_cert": require,
                    **limits,
                },
                "auth": {"client_certs_dir": str(tmp_path / "clients") if folder else ""},
                "authn": {"type": authn},
            }
        )

    return make


def shown_after_handshake(server, authority, *, certificate):
    """The client's certificate as the server sees it, after both sides talked in memory."""
    client = ssl.create_default_context()
    if certificate is not None:
        certificate.configure_cert(client)
    return handshake(server, authority, client).getpeercert()


def handshake(server, authority, client):
    """The server's side of a connection, after both sides talked in memory."""
    authority.configure_trust(client)
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
    return theirs


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


def test_other_files_in_the_folder_are_told_once(settings):
    """Somebody may have forgotten how to name them; looking at the folder again tells nothing more."""
    with structlog.testing.capture_logs() as logs:
        api_context(settings(folder=True))
        client_ca_files(settings(folder=True))

    assert [Path(line["file"]).name for line in logs if line["event"].startswith("skipped")] == ["README"]


def test_administrators_by_certificate_without_a_ca_are_warned_of(settings):
    """The start goes on: on this host an administrator may still get in otherwise."""
    with structlog.testing.capture_logs() as logs:
        api_context(settings(authn="adminClientCerts"))

    assert [line["log_level"] for line in logs if "no certificate makes an administrator" in line["event"]] == [
        "warning"
    ]


def test_nobody_is_asked_for_a_certificate_by_default(settings, authority):
    """A browser that has certificates does not offer to choose one."""
    context = api_context(settings(folder=True))

    assert not shown_after_handshake(context, authority, certificate=authority.issue_cert("someone@example.test"))


def test_the_certificate_of_one_client_may_be_all_that_is_trusted(settings, authority, tmp_path):
    """As Kuma's guides have it: the folder holds the clients' certificates themselves."""
    trusted, other = (authority.issue_cert(f"{name}@example.test") for name in ("admin", "someone"))
    (tmp_path / "clients" / "ca.pem").unlink()
    trusted.cert_chain_pems[0].write_to_path(tmp_path / "clients" / "admin.pem")
    context = api_context(settings(folder=True, authn="adminClientCerts"))

    assert shown_after_handshake(context, authority, certificate=trusted)
    with pytest.raises(ssl.SSLError):
        shown_after_handshake(context, authority, certificate=other)


def test_a_server_certificate_does_not_make_a_client(settings, authority):
    """A certificate for another purpose is no key to the API, whoever signed it."""
    context = api_context(settings(file=True, authn="adminClientCerts"))
    server_only = signed_for(authority, ExtendedKeyUsageOID.SERVER_AUTH)

    with pytest.raises(ssl.SSLError):
        shown_after_handshake(context, authority, certificate=server_only)
    assert shown_after_handshake(context, authority, certificate=signed_for(authority, ExtendedKeyUsageOID.CLIENT_AUTH))


@pytest.mark.parametrize("life", [(-2, -1), (1, 2)], ids=["expired", "not yet"])
def test_a_certificate_out_of_its_time_does_not_count(settings, authority, life):
    """Neither an expired one nor one of the future."""
    context = api_context(settings(file=True, authn="adminClientCerts"))

    with pytest.raises(ssl.SSLError):
        shown_after_handshake(
            context, authority, certificate=signed_for(authority, ExtendedKeyUsageOID.CLIENT_AUTH, life)
        )


def signed_for(authority, purpose, life=(-1, 1)):
    """A certificate of the authority for one purpose, valid between two days counted from now."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    root = x509.load_pem_x509_certificate(authority.cert_pem.bytes())
    signer = serialization.load_pem_private_key(authority.private_key_pem.bytes(), password=None)
    made = (
        x509.CertificateBuilder(root.subject, x509.Name([]), key.public_key(), x509.random_serial_number())
        .not_valid_before(now + timedelta(days=life[0]))
        .not_valid_after(now + timedelta(days=life[1]))
        .add_extension(x509.ExtendedKeyUsage([purpose]), critical=True)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(
                root.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
            ),
            critical=False,
        )
        .sign(signer, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return trustme.LeafCert(private, made.public_bytes(serialization.Encoding.PEM), [])


def client_of(version):
    """A client that speaks one version only."""
    client = ssl.create_default_context()
    client.minimum_version = client.maximum_version = version
    return client


V12, V13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3


@pytest.mark.parametrize(
    ("limits", "spoken"),
    [
        ({}, {V12, V13}),
        ({"tls_min_version": "TLSv1_0"}, {V12, V13}),
        ({"tls_min_version": "TLSv1_3"}, {V13}),
        ({"tls_max_version": "TLSv1_2"}, {V12}),
        ({"tls_cipher_suites": ("TLS_AES_128_GCM_SHA256",)}, {V13}),
        ({"tls_cipher_suites": ("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",)}, {V13}),
        ({"tls_cipher_suites": ("TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",)}, {V12, V13}),
    ],
)
def test_only_the_versions_that_the_settings_allow_are_spoken(settings, authority, limits, spoken):
    """The certificate here has an EC key: suites for RSA leave TLS 1.2 nothing."""
    context = server_context(settings(**limits).https)

    for version in (V12, V13):
        if version in spoken:
            assert handshake(context, authority, client_of(version))
        else:
            with pytest.raises(ssl.SSLError):
                handshake(context, authority, client_of(version))


def test_only_the_suites_that_the_settings_name_are_spoken(settings, authority):
    """A client that offers another one is refused."""
    context = server_context(settings(tls_cipher_suites=("TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",)).https)
    client, other = client_of(V12), client_of(V12)
    other.set_ciphers("ECDHE-ECDSA-AES128-GCM-SHA256")

    assert handshake(context, authority, client).cipher()[0] == "ECDHE-ECDSA-AES256-GCM-SHA384"
    with pytest.raises(ssl.SSLError):
        handshake(context, authority, other)


def test_suites_that_do_not_fit_the_certificate_stop_the_start(settings):
    """When TLS 1.3 is excluded, nobody could connect."""
    limits = {"tls_max_version": "TLSv1_2", "tls_cipher_suites": ("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",)}

    with pytest.raises(ConfigInvalid, match=r"none of TlsCipherSuites is for the ECDSA key of .*server\.crt"):
        server_context(settings(**limits).https)


def test_a_certificate_is_loaded_whole_or_not_at_all(settings, tmp_path):
    """A key of another certificate, or half a file, is refused with the name of the file."""
    wanted = settings().https
    trustme.CA().issue_cert("x").private_key_pem.write_to_path(tmp_path / "server.key")
    with pytest.raises(ConfigInvalid, match=r"server\.key is not the key of the certificate in .*server\.crt"):
        server_context(wanted)
    (tmp_path / "server.crt").write_bytes((tmp_path / "server.crt").read_bytes()[:300])
    with pytest.raises(ConfigInvalid, match=r"server\.crt cannot be used"):
        server_context(wanted)


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
