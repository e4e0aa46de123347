"""Key material: reading what lies in secrets and settings, and making new signing keys.

Signing keys are RSA-2048 because Kuma's tools read nothing else; everything else this control plane issues is P-256.
"""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass, field
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

KEY_BITS: Final = 2048
MIN_HMAC_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class VerificationKey:
    """
    A key that tokens are checked with.

    ``digest`` is equal for equal keys and reveals nothing; ``hmac`` is set only for a key with serial 0, which may
    have signed tokens before RSA was used.
    """

    kid: str
    digest: bytes
    public: rsa.RSAPublicKey | None = field(default=None, repr=False)
    hmac: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A key that tokens are signed with."""

    serial: int
    private: rsa.RSAPrivateKey = field(repr=False)


@dataclass(frozen=True, slots=True)
class StaticKey:
    """A public key from the settings, trusted beside or instead of those in the store. ``mesh`` "" means all."""

    kid: str
    public: rsa.RSAPublicKey = field(repr=False)
    mesh: str = ""

    def verification_key(self) -> VerificationKey:
        der = self.public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.PKCS1)
        return VerificationKey(self.kid, hashlib.sha256(b"static" + der).digest(), self.public)


def read_private_key(raw: bytes) -> rsa.RSAPrivateKey:
    """
    A signing key from PEM or DER.

    Raises:
        ValueError: not an RSA private key of at least 2048 bits; the text is for the owner of the key.
    """
    try:
        if b"-----BEGIN" in raw:
            key = serialization.load_pem_private_key(raw.strip(), password=None)
        else:
            key = serialization.load_der_private_key(raw, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        # Not chained: what the library says may quote the key.
        raise ValueError('it is not a PEM block "RSA PRIVATE KEY" (PKCS#1) without a password') from None
    if not isinstance(key, rsa.RSAPrivateKey):
        raise ValueError("it is not an RSA key")  # noqa: TRY004 - a content error like the others
    if key.key_size < KEY_BITS:
        raise ValueError(f"it has {key.key_size} bits, at least {KEY_BITS} are needed")
    return key


def read_public_key(raw: bytes) -> rsa.RSAPublicKey:
    """
    A verification key from PEM, block ``RSA PUBLIC KEY`` or ``PUBLIC KEY``.

    Raises:
        ValueError: not an RSA public key of at least 2048 bits.
    """
    try:
        key = serialization.load_pem_public_key(raw.strip())
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ValueError('it is not a PEM block "RSA PUBLIC KEY" or "PUBLIC KEY"') from None
    if not isinstance(key, rsa.RSAPublicKey):
        raise ValueError("it is not an RSA key")  # noqa: TRY004 - a content error like the others
    if key.key_size < KEY_BITS:
        raise ValueError(f"it has {key.key_size} bits, at least {KEY_BITS} are needed")
    return key


def print_private_key(key: rsa.RSAPrivateKey) -> bytes:
    """PKCS#1 PEM, as Kuma's tools write it."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )


async def generate_signing_key() -> bytes:
    """A new signing key as PEM, made in a thread: finding primes takes up to some tenths of a second."""
    key = await asyncio.to_thread(rsa.generate_private_key, public_exponent=65537, key_size=KEY_BITS)
    return print_private_key(key)
