"""Keys, tokens signed without a control plane, and certificates for ``kumactl generate``.

Everything is what Kuma's own tools make and read: RS256 tokens with Go's claim names, RSA-2048 in PKCS#1 PEM.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_private_key,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID

from kuma.core.units import is_hostname, is_ip
from kuma.ctl.errors import CommandFailed

MAX_KEY_BYTES: Final = 64 * 1024
_SKEW: Final = timedelta(seconds=5)
_CERTIFICATE_SKEW: Final = timedelta(minutes=5)
_CERTIFICATE_LIFE: Final = timedelta(days=10 * 365)

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


def new_signing_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def private_pem(key: PrivateKey) -> bytes:
    """``RSA PRIVATE KEY`` or ``EC PRIVATE KEY``."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())


def public_pem(key: rsa.RSAPrivateKey) -> bytes:
    """``RSA PUBLIC KEY``, as the control plane's static public keys want it."""
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.PKCS1)


def read_signing_key(path: str) -> rsa.RSAPrivateKey:
    """
    An RSA key from a file: PEM, DER, or base64 of PEM as ``generate signing-key`` prints by default.

    Raises:
        CommandFailed: no such file, or no such key in it.
    """
    try:
        with Path(path).open("rb") as file:
            data = file.read(MAX_KEY_BYTES)
    except OSError as error:
        raise CommandFailed(f"cannot read the signing key {path}: {error.strerror}") from None
    try:
        key = _load_key(data)
    except (ValueError, TypeError, UnsupportedAlgorithm, binascii.Error):
        key = None
    if not isinstance(key, rsa.RSAPrivateKey):
        raise CommandFailed(
            f"{path} holds no RSA private key; make one with "
            '"kumactl generate signing-key --format=pem" and give its file'
        )
    return key


def _load_key(data: bytes) -> object:
    if b"-----BEGIN" in data:
        return load_pem_private_key(data, password=None)
    try:
        return load_der_private_key(data, password=None)
    except ValueError:
        return load_pem_private_key(base64.b64decode(data, validate=False), password=None)


def sign(
    claims: Mapping[str, Any], key: rsa.RSAPrivateKey, key_id: str, valid_for: timedelta, now: datetime, token_id: str
) -> str:
    """A token as the control plane would issue it; valid from five seconds ago, against clocks that differ."""
    import jwt

    begin = int((now - _SKEW).timestamp())
    payload = {
        **claims,
        "exp": int((now + valid_for).timestamp()),
        "nbf": begin,
        "iat": begin,
        "jti": token_id,
    }
    return jwt.encode(payload, key, algorithm="RS256", headers={"kid": key_id})


def self_signed(kind: str, key_type: str, hostnames: Sequence[str], now: datetime) -> tuple[PrivateKey, bytes]:
    """
    A key and its certificate in PEM, for a ``server`` or a ``client``, valid for ten years.

    Raises:
        CommandFailed: a host name is none.
    """
    key: PrivateKey = ec.generate_private_key(ec.SECP256R1()) if key_type == "ecdsa" else new_signing_key()
    usage = ExtendedKeyUsageOID.SERVER_AUTH if kind == "server" else ExtendedKeyUsageOID.CLIENT_AUTH
    no_name = x509.Name([])
    start = now.astimezone(UTC)
    certificate = (
        x509.CertificateBuilder(
            issuer_name=no_name,
            subject_name=no_name,
            public_key=key.public_key(),
            serial_number=x509.random_serial_number(),
            not_valid_before=start - _CERTIFICATE_SKEW,
            not_valid_after=start + _CERTIFICATE_LIFE,
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(_KEY_USAGE, critical=True)
        .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        # critical, because the subject is empty (RFC 5280 4.1.2.6)
        .add_extension(x509.SubjectAlternativeName([_general_name(name) for name in hostnames]), critical=True)
        .sign(key, hashes.SHA256())
    )
    return key, certificate.public_bytes(Encoding.PEM)


_KEY_USAGE: Final = x509.KeyUsage(
    digital_signature=True,
    key_encipherment=True,
    key_cert_sign=True,
    content_commitment=False,
    data_encipherment=False,
    key_agreement=False,
    crl_sign=False,
    encipher_only=False,
    decipher_only=False,
)


def _general_name(name: str) -> x509.GeneralName:
    if is_ip(name):
        return x509.IPAddress(ip_address(name))
    if not is_hostname(name.removeprefix("*.")):
        raise CommandFailed(f'--hostname "{name}" is neither a host name nor an IP address')
    return x509.DNSName(name)
