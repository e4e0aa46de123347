"""What all servers of the control plane share: whether a port is free, and TLS from their settings."""

from __future__ import annotations

import socket
import ssl

from kuma.core.errors import ConfigInvalid
from kuma.cp.config import openssl_ciphers, tls_version
from kuma.cp.config.sections.general import TlsServer


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
