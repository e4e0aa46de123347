"""Whom this proxy takes for its control plane.

In this order: the CA certificate the user gives; else the CA whose fingerprint the token carries; else the system's
CAs. ``--skip-verify`` switches verification off. The promise: unless the user switched it off, the token is only ever
sent over a connection whose other end has proved to be the control plane, for the host name it was called by.

How a fingerprint becomes trust: the first connection verifies nothing, sends nothing, and only looks at the chain of
certificates the server shows. The certificate with the fingerprint becomes the only CA of a second connection, which
is verified in full. Someone in between may show the true CA, but cannot prove a host name under it.
"""

from __future__ import annotations

import asyncio
import hashlib
import ssl
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

from kuma.core.errors import ConfigInvalid
from kuma.dp.errors import ControlPlaneUnverified
from kuma.dp.http import HttpError, Peer, connected, reason
from kuma.dp.settings import ControlPlaneAddress

MAX_CA_BYTES: Final = 256 << 10
_HANDSHAKE_SECONDS: Final = 10
_DER: Final = 2  # _ssl.ENCODING_DER


@dataclass(frozen=True, slots=True)
class Trust:
    """
    How to tell the control plane from anyone else.

    ``tls`` is for connections to it (None for plain HTTP), ``ca`` what Envoy shall trust, as PEM; empty leaves that
    to the control plane. ``origin`` says where the trust comes from, for logs and refusals.
    """

    tls: ssl.SSLContext | None
    ca: str
    origin: str


def given_ca(text: str, path: str) -> str:
    """
    The CA certificate the user gives, as PEM; empty when none.

    Raises:
        ConfigInvalid: the file cannot be read, or holds no certificate.
    """
    where = "KUMA_CONTROL_PLANE_CA_CERT" if text else f"--ca-cert-file {path}"
    if path and not text:
        try:
            with Path(path).open("rb") as file:
                text = file.read(MAX_CA_BYTES + 1).decode("ascii")
        except OSError as error:
            raise ConfigInvalid(f"--ca-cert-file: cannot read {path}: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise ConfigInvalid(f"{where} is not a PEM file (-----BEGIN CERTIFICATE-----)") from error
    if not text:
        if path:
            raise ConfigInvalid(f"{where} is empty")
        return ""
    try:
        _context(text)
    except (ssl.SSLError, ValueError) as error:
        raise ConfigInvalid(f"{where} holds no certificate in PEM form (-----BEGIN CERTIFICATE-----)") from error
    return text


async def establish(address: ControlPlaneAddress, ca: str, fingerprint: str, *, skip_verify: bool) -> Trust:
    """
    Decide whom to trust. Connects only where a fingerprint has to be turned into a certificate.

    Raises:
        ControlPlaneUnverified: nothing can make this connection safe; the text says what would.
        HttpError: the control plane cannot be reached.
    """
    if address.scheme == "http":
        if not skip_verify:
            raise ControlPlaneUnverified(
                f"{address} is plain HTTP: the token could be read and the control plane could be anyone. "
                "Use https://, or --skip-verify in tests"
            )
        return Trust(None, ca, "nothing: plain HTTP")
    if skip_verify:
        return Trust(_unverified(), ca, "nothing: --skip-verify")
    if ca:
        return Trust(_context(ca), ca, "the given CA certificate")
    if fingerprint:
        pem = await _shown_ca(address, fingerprint)
        return Trust(_context(pem), pem, "the CA fingerprint in the token")
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return Trust(context, "", "the system's CAs")


def refusal(address: ControlPlaneAddress, trust: Trust, error: ssl.SSLCertVerificationError) -> ControlPlaneUnverified:
    """The reason, and the ways out."""
    why = error.verify_message.rstrip(".")
    head = f"cannot verify the control plane at {address} by {trust.origin}: {why}. Nothing was sent to it."
    if error.verify_code in (62, 64):  # X509_V_ERR_HOSTNAME_MISMATCH, X509_V_ERR_IP_ADDRESS_MISMATCH
        return ControlPlaneUnverified(
            f"{head} Use a --cp-address whose host its certificate names, or give the control plane a certificate "
            "for this host"
        )
    if trust.ca:
        return ControlPlaneUnverified(f"{head} {_elsewhere(address)}")
    return ControlPlaneUnverified(
        f"{head} One of these helps:\n"
        "  a token that this control plane issued (kumactl generate dataplane-token), by --dataplane-token-file: it "
        "names the CA to trust\n"
        "  --ca-cert-file=FILE with the CA certificate of the control plane\n"
        "  --skip-verify, which trusts whoever answers: for tests only"
    )


async def _shown_ca(address: ControlPlaneAddress, fingerprint: str) -> str:
    peer = Peer(address.host, address.port, _unverified())
    try:
        async with asyncio.timeout(_HANDSHAKE_SECONDS), connected(peer) as (_, writer):
            chain = _shown_chain(writer.get_extra_info("ssl_object"))
    except TimeoutError:
        raise HttpError(f"no answer from {peer} within {_HANDSHAKE_SECONDS}s") from None
    except OSError as error:
        raise HttpError(f"{peer}: {reason(error)}") from error
    for der in chain:
        if f"sha256:{hashlib.sha256(der).hexdigest()}" == fingerprint:
            return ssl.DER_cert_to_PEM_cert(der)
    raise ControlPlaneUnverified(
        f"cannot verify the control plane at {address} by the CA fingerprint in the token: it does not show the CA "
        f"with {fingerprint}. Nothing was sent to it. {_elsewhere(address)}"
    )


def _elsewhere(address: ControlPlaneAddress) -> str:
    return (
        f"Either {address} is not the control plane meant, or someone is in between, or the control plane has a new "
        "CA: then a new token (kumactl generate dataplane-token) or its new CA certificate (--ca-cert-file) helps"
    )


def _shown_chain(connection: ssl.SSLObject) -> Iterable[bytes]:
    """
    The certificates the server sent, as DER, not verified.

    Python 3.13 has a method for it. Before, the same list is held by the object beneath, which all of 3.11 and 3.12
    have; nothing public shows more than the first certificate.
    """
    public: Any = getattr(connection, "get_unverified_chain", None)
    if public is not None:
        return cast("list[bytes]", public())
    inner: Any = connection._sslobj  # type: ignore[attr-defined]  # noqa: SLF001
    return [certificate.public_bytes(_DER) for certificate in inner.get_unverified_chain() or ()]


def _context(pem: str) -> ssl.SSLContext:
    """Trust in exactly these certificates, whether or not they are roots."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.load_verify_locations(cadata=pem)
    return context


def _unverified() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
