"""What all servers of the control plane share: whether a port is free, and TLS from their settings."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path
from typing import Final

import structlog
from cryptography.hazmat.primitives.asymmetric import rsa

from kuma.core.errors import ConfigInvalid
from kuma.cp.ca.authority import read_certificates
from kuma.cp.certificates.files import as_files
from kuma.cp.certificates.server import ServerTls, read_server_tls
from kuma.cp.config import TlsRules, tls_rules
from kuma.cp.config.sections.api_server import ApiServer
from kuma.cp.config.sections.general import TlsLimits, TlsServer

_CERTIFICATE_SUFFIXES: Final = (".pem", ".crt")

log = structlog.get_logger("api-server")


def everywhere() -> str:
    """The address that stands for all of this host's: both families where it has both, as Envoy may use either."""
    return "::" if socket.has_dualstack_ipv6() else "0.0.0.0"  # noqa: S104 - proxies come from everywhere


def check_port(name: str, address: str, port: int) -> None:
    """
    See that an address can be listened on, so that a failure names the server and not a system call.

    Raises:
        ConfigInvalid: it cannot; the text names it and says what to look for.
    """
    host = address.strip("[]") or "::"
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen()
        except (OSError, OverflowError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            raise ConfigInvalid(
                f"the {name} server cannot listen on {address}:{port}: {reason}; "
                "see which program holds the port, or give this server another one"
            ) from error


def server_context(settings: TlsServer) -> ssl.SSLContext:
    """
    The TLS context of a server, with its certificate as it is in the files now.

    Raises:
        ConfigInvalid: the certificate or key cannot be used.
    """
    return tls_context(settings, read_server_tls(Path(settings.tls_cert_file), Path(settings.tls_key_file)))


def tls_context(limits: TlsLimits, tls: ServerTls) -> ssl.SSLContext:
    """
    The TLS context of a server that shows a certificate.

    Raises:
        ConfigInvalid: OpenSSL takes the certificate or the limits not.
    """
    rules = tls_rules(limits.tls_min_version, limits.tls_max_version, limits.tls_cipher_suites)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = rules.minimum
    if rules.maximum is not None:
        context.maximum_version = rules.maximum
    try:
        if rules.ciphers is not None:
            context.set_ciphers(rules.ciphers)
        with as_files(tls) as (chain, key):
            context.load_cert_chain(chain, key)
    except (OSError, ssl.SSLError) as error:
        raise ConfigInvalid(
            f"the certificate {tls.cert_file} and key {tls.key_file} cannot be used: {error}"
        ) from error
    if rules.ciphers is not None:
        _check_suites_fit(context, rules, tls)
    return context


def _check_suites_fit(context: ssl.SSLContext, rules: TlsRules, tls: ServerTls) -> None:
    """A list for RSA keys is of no use to an EC key, and the other way round."""
    kind = "rsa" if isinstance(read_certificates(tls.chain)[0].public_key(), rsa.RSAPublicKey) else "ecdsa"
    if any(suite["auth"] == f"auth-{kind}" for suite in context.get_ciphers()):
        return
    if rules.maximum == ssl.TLSVersion.TLSv1_2:
        raise ConfigInvalid(
            f"none of TlsCipherSuites is for the {kind.upper()} key of the certificate {tls.cert_file}, so nobody "
            "could connect: add suites for it, or use another certificate"
        )
    log.warning(
        "no cipher suite fits the key of the certificate: only TLSv1_3 is spoken", certificate=str(tls.cert_file)
    )


def api_context(api: ApiServer) -> ssl.SSLContext:
    """
    The TLS context of the HTTPS API.

    A client certificate is demanded with ``https.requireClientCert``; asked for, and verified if shown, where one makes
    an administrator.

    Raises:
        ConfigInvalid: a certificate cannot be used, or certificates are demanded and no CA could verify them.
    """
    context = server_context(api.https)
    files = client_ca_files(api)
    for path in _in_folder(api):
        if path not in files:
            log.info("skipped, a CA certificate ends in .pem or .crt", file=str(path))
    if not files:
        if api.https.require_client_cert:
            raise ConfigInvalid(
                "apiServer.https.requireClientCert is set, and no CA says which certificates count: set "
                "apiServer.https.tlsCaFile or apiServer.auth.clientCertsDir"
            )
        if api.authn.type == "adminClientCerts":
            log.warning(
                "no certificate makes an administrator: apiServer.authn.type is adminClientCerts, and neither "
                "apiServer.auth.clientCertsDir nor apiServer.https.tlsCaFile names a CA"
            )
        return context
    # What the operator trusts is trusted as it is: an intermediate, or the very certificate of one client.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    for path in files:
        try:
            context.load_verify_locations(cafile=path)
        except (OSError, ssl.SSLError) as error:
            raise ConfigInvalid(f"the CA certificate {path} for clients of the API cannot be used: {error}") from error
    if api.https.require_client_cert:
        context.verify_mode = ssl.CERT_REQUIRED
    elif api.authn.type == "adminClientCerts":
        context.verify_mode = ssl.CERT_OPTIONAL
    return context


def client_ca_files(api: ApiServer) -> tuple[Path, ...]:
    """
    The files with CAs of clients of the API.

    Raises:
        ConfigInvalid: the folder of ``auth.clientCertsDir`` cannot be read.
    """
    named = (Path(api.https.tls_ca_file),) if api.https.tls_ca_file else ()
    return (*named, *(path for path in _in_folder(api) if path.suffix in _CERTIFICATE_SUFFIXES))


def _in_folder(api: ApiServer) -> list[Path]:
    if not api.auth.client_certs_dir:
        return []
    folder = Path(api.auth.client_certs_dir)
    try:
        return sorted(path for path in folder.iterdir() if path.is_file())
    except OSError as error:
        raise ConfigInvalid(f"apiServer.auth.clientCertsDir: cannot read {folder}: {error.strerror}") from error
