"""The certificate by which a proxy proves who it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import ExtendedKeyUsageOID

from kuma.core.errors import InvalidResource, Violation
from kuma.core.identity.spiffe import identity_digest, renew_at
from kuma.cp.ca.authority import CertificateAuthority, print_key, sign_leaf

DEFAULT_LIFETIME: Final = timedelta(hours=24)
_BOTH_SIDES: Final = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])


@dataclass(frozen=True, slots=True)
class IdentityCertificate:
    """
    A proxy's certificate with its key, ready for Envoy.

    ``chain_pem`` is the leaf and whatever lies between it and the root. ``digest`` is the ``identity_digest`` it was
    issued for: as long as that stays, the certificate is right until ``renew_at``.
    """

    backend: str
    chain_pem: bytes = field(repr=False)
    key_pem: bytes = field(repr=False)
    not_before: datetime
    not_after: datetime
    serial: int
    digest: str

    @property
    def renew_at(self) -> datetime:
        return renew_at(self.not_before, self.not_after)


def issue_leaf(
    authority: CertificateAuthority, names: Sequence[str], *, now: datetime, lifetime: timedelta = DEFAULT_LIFETIME
) -> IdentityCertificate:
    """
    Issue a certificate for these URI SANs (see ``kuma.core.identity.spiffe.subject_names``).

    Takes well under a millisecond with a P-256 authority, so the event loop may do it.

    Raises:
        InvalidResource: the authority is over, or a name cannot stand in a certificate.
    """
    if not authority.not_before <= now < authority.not_after:
        held = f"from {authority.not_before:%Y-%m-%d %H:%M:%S} to {authority.not_after:%Y-%m-%d %H:%M:%S} UTC"
        reason = f'the root of backend "{authority.backend}" holds {held}; add a backend with a new one and enable it'
        raise InvalidResource([Violation("mtls.backends", reason)])
    try:
        sans = [x509.UniformResourceIdentifier(name) for name in names]
    except ValueError as error:
        reason = "a tag value with characters that are not ASCII cannot stand in a certificate"
        raise InvalidResource([Violation("networking.inbound", reason)]) from error
    leaf, key = sign_leaf(authority, sans, _BOTH_SIDES, not_after=now + lifetime, now=now)
    return IdentityCertificate(
        backend=authority.backend,
        chain_pem=leaf.public_bytes(serialization.Encoding.PEM) + _intermediates(authority),
        key_pem=print_key(key),
        not_before=leaf.not_valid_before_utc,
        not_after=leaf.not_valid_after_utc,
        serial=leaf.serial_number,
        digest=identity_digest(authority.fingerprint, names, lifetime),
    )


def _intermediates(authority: CertificateAuthority) -> bytes:
    """What a peer needs beside the leaf: nothing if the authority is a root itself, else its chain."""
    is_root = authority.certificate.issuer == authority.certificate.subject
    return b"" if is_root else authority.pem
