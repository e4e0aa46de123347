"""Certificates in the one shape that is sure to be taken by Granian's TLS.

Granian does not refuse a certificate or key that its library (rustls with ring) cannot read: it aborts the process. So
only what is known to be taken is given to it, written anew, and OpenSSL serves the rest.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtensionOID

from kuma.cp.ca.authority import PrivateKey, print_key, read_certificates, read_key
from kuma.cp.certificates.server import ServerTls

_RSA_BITS: Final = (2048, 3072, 4096)
_RSA_EXPONENT: Final = 65537
_MAY_BE_CRITICAL: Final = frozenset(
    {
        ExtensionOID.BASIC_CONSTRAINTS,
        ExtensionOID.EXTENDED_KEY_USAGE,
        ExtensionOID.KEY_USAGE,
        ExtensionOID.SUBJECT_ALTERNATIVE_NAME,
    }
)
_LARGEST_SERIAL: Final = 1 << 159


def for_granian(tls: ServerTls) -> ServerTls | None:
    """The pair, written as Granian reads it; None if it may not be taken."""
    chain, key = read_certificates(tls.chain), read_key(tls.key)
    if not (_is_plain(chain[0]) and _is_usual(key)):
        return None
    pem = b"".join(one.public_bytes(serialization.Encoding.PEM) for one in chain)
    return replace(tls, chain=pem, key=print_key(key))


def _is_plain(leaf: x509.Certificate) -> bool:
    return (
        leaf.version is x509.Version.v3
        and 0 < leaf.serial_number < _LARGEST_SERIAL
        and all(one.oid in _MAY_BE_CRITICAL for one in leaf.extensions if one.critical)
    )


def _is_usual(key: PrivateKey) -> bool:
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return isinstance(key.curve, ec.SECP256R1 | ec.SECP384R1)
    numbers = key.private_numbers()
    return (
        key.key_size in _RSA_BITS
        and numbers.public_numbers.e == _RSA_EXPONENT
        and numbers.p > numbers.q
        and key.key_size // 2 == numbers.p.bit_length() == numbers.q.bit_length()
    )
