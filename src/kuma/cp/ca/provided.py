"""Provided backends: authorities whose certificate and key the user gives, from a Secret, a file or the Mesh itself."""

from __future__ import annotations

import asyncio
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from kuma.core.errors import Violation
from kuma.core.identity import secret_data
from kuma.core.model.resource import Key
from kuma.cp.ca.authority import MAX_PEM_BYTES, Pair, belongs, is_ca, may_sign, read_certificates, read_key
from kuma.cp.store.port import Reader


@dataclass(frozen=True, slots=True)
class DataSource:
    """Where a value is: exactly one of the four is set. ``inline`` is already decoded from its base64."""

    secret: str | None = None
    file: str | None = None
    inline: bytes | None = field(default=None, repr=False)
    inline_string: str | None = field(default=None, repr=False)

    @property
    def is_exact(self) -> bool:
        return sum(one is not None for one in (self.secret, self.file, self.inline, self.inline_string)) == 1


@dataclass(frozen=True, slots=True)
class ProvidedBackend:
    """A backend of type ``provided``. A source is None where the user gave none."""

    name: str
    cert: DataSource | None
    key: DataSource | None


async def read_source(store: Reader, mesh: str, source: DataSource) -> bytes:
    """
    The value behind a data source.

    Raises:
        ValueError: it is not there or cannot be read; the text never quotes what is in it.
    """
    if not source.is_exact:
        raise ValueError("exactly one of secret, file, inline and inlineString has to be set")
    if source.secret is not None:
        record = await store.find(Key("Secret", mesh, source.secret))
        if record is None:
            raise ValueError(f'Secret "{source.secret}" does not exist in mesh "{mesh}"; create it first')
        return secret_data.decode(record.spec)
    if source.file is not None:
        return await asyncio.to_thread(_read_file, Path(source.file))
    if source.inline is not None:
        return source.inline
    return (source.inline_string or "").encode()


async def read_provided(
    store: Reader, mesh: str, backend: ProvidedBackend
) -> tuple[Pair | None, tuple[Violation, ...]]:
    """Both values of a backend, or what keeps them from being read, as paths below the backend."""
    values: dict[str, bytes] = {}
    violations: list[Violation] = []
    for name, source in (("cert", backend.cert), ("key", backend.key)):
        if source is None:
            violations.append(Violation(f"conf.{name}", "has to be defined"))
            continue
        try:
            values[name] = await read_source(store, mesh, source)
        except ValueError as error:
            violations.append(Violation(f"conf.{name}", str(error)))
    return (None if violations else Pair(values["cert"], values["key"])), tuple(violations)


async def check_provided(store: Reader, mesh: str, backend: ProvidedBackend, *, now: datetime) -> tuple[Violation, ...]:
    """Everything that keeps this backend from signing, as paths below the backend."""
    pair, violations = await read_provided(store, mesh, backend)
    return violations if pair is None else tuple(validate_provided(pair, now=now))


def validate_provided(pair: Pair, *, now: datetime) -> Iterator[Violation]:
    """What is wrong with a certificate and key that are to be an authority, as paths below the backend."""
    try:
        certificate = read_certificates(pair.certificate)[0]
    except ValueError as error:
        certificate = None
        yield Violation("conf.cert", str(error))
    try:
        key = read_key(pair.key)
    except ValueError as error:
        key = None
        yield Violation("conf.key", str(error))
    if certificate is None:
        return
    if key is not None and not belongs(certificate, key):
        yield Violation("conf.key", "is not the key of the certificate in conf.cert")
    if not may_sign(certificate):
        yield Violation("conf.cert", "key usage keyCertSign has to be set")
    if not is_ca(certificate):
        yield Violation("conf.cert", "is not a CA: basic constraint CA has to be true")
    if now >= certificate.not_valid_after_utc:
        yield Violation("conf.cert", f"ended at {certificate.not_valid_after_utc:%Y-%m-%d %H:%M:%S} UTC")
    if now < certificate.not_valid_before_utc:
        yield Violation("conf.cert", f"starts only at {certificate.not_valid_before_utc:%Y-%m-%d %H:%M:%S} UTC")


def _read_file(path: Path) -> bytes:
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # before opening: a pipe would keep the thread waiting
            raise ValueError("it is not a regular file")
        with path.open("rb") as file:
            value = file.read(MAX_PEM_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ValueError(f"the control plane cannot read the file {path}: {reason}") from error
    if len(value) > MAX_PEM_BYTES:
        raise ValueError(f"the file {path} is longer than {MAX_PEM_BYTES} bytes")
    return value
