"""The certificate that the control plane's servers show, as files that servers and Envoy can read.

Three cases, in this order (spec/auth.md §10): files named in the settings are used as they are; so is a pair that the
operator put into the work directory; else one is issued by the control plane's own authority, and issued again when
the machine's names change, when half of its life is over, or when the store has another authority.
``ensure_server_tls`` changes nothing without need; called on a timer it keeps the certificate alive.
"""

from __future__ import annotations

import asyncio
import ipaddress
import os
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import NameOID

from kuma.core.errors import ConfigInvalid
from kuma.core.identity.spiffe import renew_at
from kuma.core.units import is_hostname
from kuma.cp.ca.authority import (
    MAX_PEM_BYTES,
    CertificateAuthority,
    belongs,
    fingerprint,
    is_ca,
    read_certificates,
    read_key,
    sign_server_leaf,
)
from kuma.cp.certificates.stored import CONTROL_PLANE_CA
from kuma.cp.private_file import keep_private

LEAF_LIFETIME: Final = timedelta(days=3650)
CERT_FILE: Final = "kuma-cp.crt"
KEY_FILE: Final = "kuma-cp.key"
CA_FILE: Final = "ca.crt"


@dataclass(frozen=True, slots=True)
class ServerTls:
    """
    What servers show and what clients need to trust it.

    ``chain`` and ``key`` are what the two files held when they were found to belong together; servers are given these,
    never the files, which may be replaced at any time. ``names`` are the host names and addresses in the certificate.
    ``ca_pem`` is empty and ``fingerprint`` None where the operator's own chain holds no CA: then tokens carry no
    fingerprint. ``renew_at`` is None for the operator's certificates, which are theirs to renew.
    """

    cert_file: Path
    key_file: Path
    chain: bytes = field(repr=False)
    key: bytes = field(repr=False)
    ca_pem: bytes = field(repr=False)
    fingerprint: str | None
    names: tuple[str, ...] = ()
    renew_at: datetime | None = None


async def ensure_server_tls(
    work_dir: Path,
    authority: CertificateAuthority,
    *,
    hosts: Sequence[str],
    addresses: Sequence[str],
    now: datetime,
) -> ServerTls:
    """
    The pair in the work directory, issued or issued again if that is needed.

    ``hosts`` and ``addresses`` are the machine's and what the operator adds (an address among the hosts counts as
    one); ``localhost`` is always included.

    Raises:
        ConfigInvalid: the operator's pair there is unusable, or the directory cannot be written.
    """
    return await asyncio.to_thread(_ensure, work_dir, authority, [*hosts, *addresses], now)


async def own_server_tls(cert_file: Path, key_file: Path) -> ServerTls:
    """As ``read_server_tls``, beside the event loop."""
    return await asyncio.to_thread(read_server_tls, cert_file, key_file)


def _ensure(work_dir: Path, authority: CertificateAuthority, names: Sequence[str], now: datetime) -> ServerTls:
    cert_file, key_file = work_dir / CERT_FILE, work_dir / KEY_FILE
    wanted = _split(names)
    try:
        work_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        keep_private(key_file)
        chain = _existing_chain(cert_file, key_file)
        if chain is not None and not _issued_by_a_control_plane(chain[0]):
            return read_server_tls(cert_file, key_file)
        if chain is None or not _still_right(chain, key_file, authority, wanted, now):
            hosts, addresses = wanted
            pair = sign_server_leaf(authority, hosts=hosts, addresses=addresses, lifetime=LEAF_LIFETIME, now=now)
            _write(key_file, pair.key)
            _write(cert_file, pair.certificate)
            chain = read_certificates(pair.certificate)
        if not (work_dir / CA_FILE).is_file() or (work_dir / CA_FILE).read_bytes() != authority.pem:
            _write(work_dir / CA_FILE, authority.pem)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        raise ConfigInvalid(
            f"general.workDir: cannot keep certificates in {work_dir}: {where}{error.strerror}; "
            "set KUMA_GENERAL_WORK_DIR to a directory that kuma-cp may write"
        ) from error
    renewal = renew_at(chain[0].not_valid_before_utc, chain[0].not_valid_after_utc)
    return replace(read_server_tls(cert_file, key_file), renew_at=renewal)


def read_server_tls(cert_file: Path, key_file: Path) -> ServerTls:
    """
    A pair of files as they are now.

    Raises:
        ConfigInvalid: they cannot be read or do not belong together; the text names the file.
    """
    values: dict[Path, bytes] = {}
    for path in (cert_file, key_file):
        try:
            values[path] = _read(path)
        except OSError as error:
            raise ConfigInvalid(f"cannot read the TLS file {path}: {error.strerror}") from error
    try:
        chain = read_certificates(values[cert_file])
    except ValueError as error:
        raise ConfigInvalid(f"the TLS certificate file {cert_file} cannot be used: {error}") from error
    try:
        key = read_key(values[key_file])
    except ValueError as error:
        raise ConfigInvalid(f"the TLS key file {key_file} cannot be used: {error}") from error
    if not belongs(chain[0], key):
        raise ConfigInvalid(f"the TLS key file {key_file} is not the key of the certificate in {cert_file}")
    anchor = top_authority(chain)
    return ServerTls(
        cert_file,
        key_file,
        values[cert_file],
        values[key_file],
        anchor.public_bytes(serialization.Encoding.PEM) if anchor is not None else b"",
        fingerprint(anchor) if anchor is not None else None,
        _names(chain[0]),
    )


def _names(certificate: x509.Certificate) -> tuple[str, ...]:
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    addresses = (str(address) for address in found.get_values_for_type(x509.IPAddress))
    return (*found.get_values_for_type(x509.DNSName), *addresses)


def top_authority(chain: Sequence[x509.Certificate]) -> x509.Certificate | None:
    """The highest CA that a chain leads to from its first certificate; itself if it is a CA and nothing is above it."""
    top = chain[0]
    rest = list(chain[1:])
    while above := next((one for one in rest if _signed_by(top, one)), None):
        rest.remove(above)
        top = above
    return top if is_ca(top) else None


def _existing_chain(cert_file: Path, key_file: Path) -> tuple[x509.Certificate, ...] | None:
    """What is in the work directory; None if there is nothing that anybody could use."""
    if not all(path.is_file() and path.stat().st_size for path in (cert_file, key_file)):
        return None
    try:
        return read_certificates(_read(cert_file))
    except ValueError as error:
        raise ConfigInvalid(
            f"the TLS certificate file {cert_file} cannot be used: {error}; mend it, or delete it for a new one"
        ) from error


def _issued_by_a_control_plane(leaf: x509.Certificate) -> bool:
    """Whether it is one of ours, also of an earlier store: an operator's certificate has another issuer."""
    names = leaf.issuer.get_attributes_for_oid(NameOID.COMMON_NAME)
    return [name.value for name in names] == [CONTROL_PLANE_CA] and not is_ca(leaf)


def _still_right(
    chain: Sequence[x509.Certificate],
    key_file: Path,
    authority: CertificateAuthority,
    wanted: tuple[list[str], list[str]],
    now: datetime,
) -> bool:
    leaf = chain[0]
    if not _signed_by(leaf, authority.certificate) or chain[1:] != (authority.certificate,):
        return False
    if now >= renew_at(leaf.not_valid_before_utc, leaf.not_valid_after_utc):
        return False
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    shown = [str(one) for one in names.get_values_for_type(x509.IPAddress)]
    if (names.get_values_for_type(x509.DNSName), shown) != wanted:
        return False
    try:
        return belongs(leaf, read_key(_read(key_file)))
    except ValueError:
        return False


def _split(names: Sequence[str]) -> tuple[list[str], list[str]]:
    """Host names and addresses, each once and in a stable order; what can be neither is left out."""
    hosts, found = {"localhost"}, set()
    for name in names:
        try:
            found.add(ipaddress.ip_address(name.partition("%")[0]))
        except ValueError:
            if name.isascii() and is_hostname(name):
                hosts.add(name.lower().rstrip("."))
    return sorted(hosts), [str(one) for one in sorted(found, key=lambda one: (one.version, one.packed))]


def _signed_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    if certificate == issuer:
        return False
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(MAX_PEM_BYTES + 1)


def _write(path: Path, content: bytes) -> None:
    """Replace a file at once, readable by its owner only from its first byte on."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mkstemp makes it 0600
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        with suppress(OSError):
            Path(temporary).unlink()
        raise
