"""What all servers of the control plane share: whether a port is free, and TLS from their settings."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import structlog

from kuma.core.errors import ConfigInvalid
from kuma.cp.config import openssl_ciphers, tls_version
from kuma.cp.config.sections.api_server import ApiServer
from kuma.cp.config.sections.general import TlsServer

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
    The TLS context of a server.

    Raises:
        ConfigInvalid: the certificate or key cannot be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(settings.tls_cert_file, settings.tls_key_file)
    except (OSError, ssl.SSLError) as error:
        raise ConfigInvalid(
            f"the certificate {settings.tls_cert_file} and key {settings.tls_key_file} cannot be used: {error}"
        ) from error
    if (minimum := tls_version(settings.tls_min_version)) is not None:
        context.minimum_version = minimum
    if (maximum := tls_version(settings.tls_max_version)) is not None:
        context.maximum_version = maximum
    if (ciphers := openssl_ciphers(settings.tls_cipher_suites)) is not None:
        context.set_ciphers(ciphers)
    return context


def api_context(api: ApiServer) -> ssl.SSLContext:
    """
    The TLS context of the HTTPS API.

    A client certificate is demanded with ``https.requireClientCert``; asked for, and verified if shown, where one makes
    an administrator.

    Raises:
        ConfigInvalid: a certificate cannot be used, or certificates are demanded and no CA could verify them.
    """
    context = server_context(api.https)
    files = list(_client_ca_files(api))
    if not files:
        if api.https.require_client_cert:
            raise ConfigInvalid(
                "apiServer.https.requireClientCert is set, and no CA says which certificates count: set "
                "apiServer.https.tlsCaFile or apiServer.auth.clientCertsDir"
            )
        return context
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


def _client_ca_files(api: ApiServer) -> Iterator[Path]:
    if api.https.tls_ca_file:
        yield Path(api.https.tls_ca_file)
    if not api.auth.client_certs_dir:
        return
    folder = Path(api.auth.client_certs_dir)
    try:
        found = sorted(path for path in folder.iterdir() if path.is_file())
    except OSError as error:
        raise ConfigInvalid(f"apiServer.auth.clientCertsDir: cannot read {folder}: {error.strerror}") from error
    for path in found:
        if path.suffix in _CERTIFICATE_SUFFIXES:
            yield path
        else:
            log.info("skipped, a CA certificate ends in .pem or .crt", file=str(path))
