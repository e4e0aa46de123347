"""The ``conf`` of a mesh's backends, by type, and what holds where a mesh says nothing.

A free-form ``conf`` is read here and nowhere else. The readers raise pydantic's ``ValidationError`` on values of the
wrong type; a stored mesh was validated with the same readers, so there they do not.
"""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Final

from pydantic import AliasChoices, Field

from kuma.core.model.spec import LegacySpec
from kuma.core.resources._wire import Flag, Octets, UInt32
from kuma.core.resources.mesh.spec import CaBackend, LoggingBackend, Mesh, TracingBackend

BUILTIN: Final = "builtin"
PROVIDED: Final = "provided"
CA_TYPES: Final = (BUILTIN, PROVIDED)

DEFAULT_CERTIFICATE_LIFETIME: Final = timedelta(hours=24)
DEFAULT_CA_LIFETIME: Final = timedelta(days=3650)
RSA_BITS: Final = range(2048, 4097)
"""Fewer are refused by today's TLS libraries; finding a key of more takes longer than whoever asked for it waits."""

_LIFETIME: Final = re.compile(r"([0-9]{1,15})(ms|[ywdhms])")
_UNITS: Final = {
    "y": timedelta(days=365),
    "w": timedelta(weeks=1),
    "d": timedelta(days=1),
    "h": timedelta(hours=1),
    "m": timedelta(minutes=1),
    "s": timedelta(seconds=1),
    "ms": timedelta(milliseconds=1),
}
_LONGEST: Final = timedelta(days=292 * 365)
"""What Kuma can hold."""


class CaCert(LegacySpec):
    """The root that a builtin authority makes for itself. ``RSAbits`` is how the guides spell it."""

    rsa_bits: UInt32 | None = Field(default=None, validation_alias=AliasChoices("rsaBits", "RSAbits", "rsa_bits"))
    expiration: str = ""


class BuiltinConf(LegacySpec):
    """``conf`` of an authority that the control plane runs itself."""

    ca_cert: CaCert | None = None

    @property
    def ca_lifetime(self) -> timedelta:
        return lifetime(self.ca_cert.expiration if self.ca_cert else "") or DEFAULT_CA_LIFETIME


class DataSource(LegacySpec):
    """Where a certificate or key lies; exactly one field is set."""

    secret: str | None = None
    file: str | None = None
    inline: Octets | None = Field(default=None, repr=False)
    inline_string: str | None = Field(default=None, repr=False)

    @property
    def chosen(self) -> tuple[str, ...]:
        """Names of the fields that are set, as a user writes them."""
        values = {"secret": self.secret, "file": self.file, "inline": self.inline, "inlineString": self.inline_string}
        return tuple(name for name, value in values.items() if value is not None)

    @property
    def is_empty(self) -> bool:
        return not (self.secret or self.file or self.inline or self.inline_string)


class ProvidedConf(LegacySpec):
    """``conf`` of an authority whose certificate and key are the user's."""

    cert: DataSource | None = None
    key: DataSource | None = None


class FileLog(LegacySpec):
    """``conf`` of a logging backend that writes to a file of the proxy."""

    path: str = ""


class TcpLog(LegacySpec):
    """``conf`` of a logging backend that sends lines to a TCP service."""

    address: str = ""


class Zipkin(LegacySpec):
    """``conf`` of a tracing backend that speaks Zipkin."""

    url: str = ""
    trace_id_128bit: Flag = Field(default=False, alias="traceId128bit")
    api_version: str = ""
    shared_span_context: Flag | None = None


class Datadog(LegacySpec):
    """``conf`` of a tracing backend that speaks to a Datadog agent."""

    address: str = ""
    port: UInt32 = 0
    split_service: Flag = False


def lifetime(text: str) -> timedelta:
    """
    Read how long a certificate lives: one number and a unit (``y w d h m s ms``), ``0`` or nothing for "the default".

    Raises:
        ValueError: anything else, or more than 292 years.
    """
    if text in {"", "0"}:
        return timedelta(0)
    match = _LIFETIME.fullmatch(text)
    if match is None:
        raise ValueError("has to be a valid format")
    try:
        value = int(match[1]) * _UNITS[match[2]]
    except OverflowError as error:
        raise ValueError("has to be a valid format") from error
    if value > _LONGEST:
        raise ValueError("has to be a valid format")
    return value


def builtin_conf(backend: CaBackend) -> BuiltinConf:
    return BuiltinConf.model_validate(backend.conf or {})


def provided_conf(backend: CaBackend) -> ProvidedConf:
    return ProvidedConf.model_validate(backend.conf or {})


def logging_conf(backend: LoggingBackend) -> FileLog | TcpLog | None:
    """None for a type that does not exist."""
    models: dict[str, type[FileLog | TcpLog]] = {"file": FileLog, "tcp": TcpLog}
    model = models.get(backend.type)
    return model.model_validate(backend.conf or {}) if model else None


def tracing_conf(backend: TracingBackend) -> Zipkin | Datadog | None:
    """None for a type that does not exist."""
    models: dict[str, type[Zipkin | Datadog]] = {"zipkin": Zipkin, "datadog": Datadog}
    model = models.get(backend.type)
    return model.model_validate(backend.conf or {}) if model else None


def ca_backend(mesh: Mesh, name: str) -> CaBackend | None:
    """The listed backend of that name."""
    return next((one for one in (mesh.mtls.backends if mesh.mtls else ()) if one.name == name), None)


def enabled_backend(mesh: Mesh) -> CaBackend | None:
    """The backend that issues certificates, None while mTLS is off."""
    if mesh.mtls is None or not mesh.mtls.enabled_backend:
        return None
    return ca_backend(mesh, mesh.mtls.enabled_backend)


def certificate_lifetime(backend: CaBackend) -> timedelta:
    """How long a proxy's certificate from this backend is valid."""
    rotation = backend.dp_cert.rotation if backend.dp_cert else None
    return lifetime(rotation.expiration if rotation else "") or DEFAULT_CERTIFICATE_LIFETIME


def secrets_in_use(mesh: Mesh) -> dict[str, str]:
    """Names of the secrets that ``provided`` backends read, each with the name of the backend."""
    found: dict[str, str] = {}
    for backend in mesh.mtls.backends if mesh.mtls else ():
        if backend.type == PROVIDED:
            conf = provided_conf(backend)
            for source in (conf.cert, conf.key):
                if source is not None and source.secret:
                    found[source.secret] = backend.name
    return found
