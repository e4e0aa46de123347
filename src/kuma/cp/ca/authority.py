"""A certificate authority: its certificate, its key, and the certificates it signs.

An authority is loaded once (reading a key costs more than signing with it) and is frozen. Everything issued here is
P-256, starts ten seconds ago for peers whose clock is behind, and has a random serial.
"""

from __future__ import annotations

import hashlib
import ipaddress
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

BACKDATED: Final = timedelta(seconds=10)
ROOT_LIFETIME: Final = timedelta(days=365 * 10)
MAX_PEM_BYTES: Final = 256 * 1024


PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate (or chain, its owner first) and its private key, both PEM."""

    certificate: bytes
    key: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class CertificateAuthority:
    """
    An authority that can sign.

    ``pem`` is what others have to trust: the certificate, and above it the rest of its chain if it has one.
    ``fingerprint`` is that of the signing certificate.
    """

    backend: str
    certificate: x509.Certificate = field(repr=False)
    key: PrivateKey = field(repr=False)
    pem: bytes = field(repr=False)
    fingerprint: str
    key_identifier: x509.AuthorityKeyIdentifier = field(repr=False)

    @property
    def not_before(self) -> datetime:
        return self.certificate.not_valid_before_utc

    @property
    def not_after(self) -> datetime:
        return self.certificate.not_valid_after_utc


def fingerprint(certificate: x509.Certificate) -> str:
    """``sha256:`` and the hex SHA-256 of the DER: what a token carries, and a data plane compares."""
    return f"sha256:{hashlib.sha256(certificate.public_bytes(serialization.Encoding.DER)).hexdigest()}"


def load_authority(pair: Pair, backend: str = "") -> CertificateAuthority:
    """
    An authority from what is stored.

    Raises:
        ValueError: not a certificate and its key; the text says which of the two is wrong, and never quotes it.
    """
    chain = read_certificates(pair.certificate)
    key = read_key(pair.key)
    if not belongs(chain[0], key):
        raise ValueError("the key is not the key of the certificate")
    try:
        of_issuer = chain[0].extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        key_identifier = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(of_issuer)
    except x509.ExtensionNotFound:
        key_identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key())
    pem = b"".join(one.public_bytes(serialization.Encoding.PEM) for one in chain)
    return CertificateAuthority(backend, chain[0], key, pem, fingerprint(chain[0]), key_identifier)


def read_certificates(pem: bytes) -> tuple[x509.Certificate, ...]:
    """
    The certificates in a PEM text; at least one.

    Raises:
        ValueError: there is none, or one cannot be read.
    """
    if len(pem) > MAX_PEM_BYTES:
        raise ValueError(f"it is longer than {MAX_PEM_BYTES} bytes")
    try:
        chain = tuple(x509.load_pem_x509_certificates(pem))
        for certificate in chain:
            _ = certificate.extensions, certificate.public_key()  # parsed on demand: find a broken one here
    except (ValueError, TypeError, UnsupportedAlgorithm, x509.DuplicateExtension) as error:
        raise ValueError("it is not a certificate in PEM") from error
    return chain


def read_key(pem: bytes) -> PrivateKey:
    """
    A private key from PEM.

    Raises:
        ValueError: not an EC key (P-256, P-384, P-521) or RSA key (2048 bits or more) without a password.
    """
    if len(pem) > MAX_PEM_BYTES:
        raise ValueError(f"it is longer than {MAX_PEM_BYTES} bytes")
    try:
        key = serialization.load_pem_private_key(pem.strip(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        # Not chained: what the library says may quote the key.
        raise ValueError("it is not a private key in PEM without a password") from None
    if isinstance(key, rsa.RSAPrivateKey) and key.key_size >= 2048:
        return key
    if isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(
        key.curve, ec.SECP256R1 | ec.SECP384R1 | ec.SECP521R1
    ):
        return key
    raise ValueError("it is neither an EC key (P-256, P-384 or P-521) nor an RSA key of at least 2048 bits")


def belongs(certificate: x509.Certificate, key: PrivateKey) -> bool:
    """Whether a certificate is about this key."""
    return _spki(certificate.public_key()) == _spki(key.public_key())


def is_authority(certificate: x509.Certificate) -> bool:
    """Whether a certificate may sign others: CA, and not kept from it by its key usage."""
    return is_ca(certificate) and may_sign(certificate)


def is_ca(certificate: x509.Certificate) -> bool:
    """Whether the basic constraints say CA."""
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


def may_sign(certificate: x509.Certificate) -> bool:
    """Whether the key usage, where there is one, includes keyCertSign."""
    try:
        return certificate.extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign
    except x509.ExtensionNotFound:
        return True


def print_key(key: PrivateKey) -> bytes:
    """PKCS#8 PEM."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def new_root(
    *, common_name: str, unit: str, uri: str, lifetime: timedelta, now: datetime, key: PrivateKey | None = None
) -> Pair:
    """A self-signed root: P-256 unless another key is given; ``uri`` may be empty."""
    signer = key or ec.generate_private_key(ec.SECP256R1())
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Kuma"),
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, unit),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )
    builder = (
        x509.CertificateBuilder(subject_name=name, issuer_name=name)
        .public_key(signer.public_key())
        .serial_number(new_serial())
        .not_valid_before(_whole_second(now - BACKDATED))
        .not_valid_after(_whole_second(now + lifetime))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(_usage(key_cert_sign=True, crl_sign=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(signer.public_key()), critical=False)
    )
    if uri:
        names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri)])
        builder = builder.add_extension(names, critical=False)
    certificate = builder.sign(signer, hashes.SHA256())
    return Pair(certificate.public_bytes(serialization.Encoding.PEM), print_key(signer))


def sign_server_leaf(
    authority: CertificateAuthority,
    *,
    hosts: Sequence[str],
    addresses: Sequence[str],
    lifetime: timedelta,
    now: datetime,
) -> Pair:
    """A certificate for a server of the control plane, followed by the authority's own chain."""
    names = [
        *(x509.DNSName(host) for host in hosts),
        *(x509.IPAddress(ipaddress.ip_address(address)) for address in addresses),
    ]
    usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
    certificate, key = sign_leaf(authority, names, usage, not_after=now + lifetime, now=now)
    return Pair(certificate.public_bytes(serialization.Encoding.PEM) + authority.pem, print_key(key))


def sign_leaf(
    authority: CertificateAuthority,
    names: Sequence[x509.GeneralName],
    usage: x509.ExtendedKeyUsage,
    *,
    not_after: datetime,
    now: datetime,
) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    """A leaf with a new P-256 key and no subject, named by its SANs only. It never outlives its authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = (
        x509.CertificateBuilder(subject_name=x509.Name([]), issuer_name=authority.certificate.subject)
        .public_key(key.public_key())
        .serial_number(new_serial())
        .not_valid_before(_whole_second(now - BACKDATED))
        .not_valid_after(min(_whole_second(not_after), authority.not_after))
        .add_extension(x509.SubjectAlternativeName(names), critical=True)  # critical: there is no subject (RFC 5280)
        .add_extension(_LEAF_USAGE, critical=True)
        .add_extension(usage, critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(authority.key_identifier, critical=False)
        .sign(authority.key, hashes.SHA256())
    )
    return certificate, key


def new_serial() -> int:
    """A random positive serial of 128 bits."""
    return secrets.randbits(127) | 1 << 127


def _usage(
    *,
    digital_signature: bool = False,
    key_encipherment: bool = False,
    key_agreement: bool = False,
    key_cert_sign: bool = False,
    crl_sign: bool = False,
) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        content_commitment=False,
        key_encipherment=key_encipherment,
        data_encipherment=False,
        key_agreement=key_agreement,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        encipher_only=False,
        decipher_only=False,
    )


_LEAF_USAGE: Final = _usage(digital_signature=True, key_encipherment=True, key_agreement=True)


def _spki(key: object) -> bytes:
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)  # type: ignore[attr-defined, no-any-return]


def _whole_second(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(microsecond=0)
