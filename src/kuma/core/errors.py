"""Every error this project raises on purpose.

MeshError                     never raised itself; what an edge catches
├─ InvalidResource      400   the caller sent something wrong; carries all violations
├─ BadRequest           400   the request itself is malformed (not JSON, bad query, unknown type)
├─ Unauthenticated      401   a credential was given and is not valid
├─ AccessDenied         403   the caller may not do this
├─ NotFound             404   no such resource
│  ├─ NoSuchPart              the resource is there and has no such part; says what it has
│  └─ SigningKeyNotFound      the key a token needs is absent; names the secret
├─ MethodNotAllowed     405   the kind is read-only
├─ Conflict             409   optimistic-lock loss or duplicate; the caller re-reads and retries
├─ TooLarge             413   an input is over its limit; names the limit
├─ InvalidToken         401   a dataplane, zone or user token is refused; says why
├─ ConfigInvalid        -     a program's settings are wrong; stops the start
└─ StoreUnavailable     503   ours to retry; always chained to the driver's exception

Edges map these to HTTP, gRPC and exit codes, each in one table. A foreign exception is wrapped once, at the
edge that called the foreign code, with ``from``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Violation:
    """One thing wrong with one field; ``field`` is a path as the user wrote it, e.g. ``spec.to[0].default``."""

    field: str
    reason: str

    def under(self, prefix: str) -> Violation:
        """The same violation seen from a parent: ``kind`` under ``spec.targetRef`` is ``spec.targetRef.kind``."""
        if not self.field:
            return Violation(prefix, self.reason)
        joint = "" if self.field.startswith("[") or not prefix else "."
        return Violation(f"{prefix}{joint}{self.field}", self.reason)


class MeshError(Exception):
    """
    What every edge catches. The text is for a person: what is wrong, where, and what to do next.

    ``title`` names the operation that failed, where the one who raises knows it better than the edge does; the REST
    API shows it (spec/api-server.md §3.1).
    """

    title: str = ""

    def __init__(self, *texts: object, title: str = "") -> None:
        super().__init__(*texts)
        if title:
            self.title = title


class InvalidResource(MeshError):
    """The caller sent a resource that breaks rules; all of them are listed. ``detail`` sums them up."""

    def __init__(
        self, violations: Iterable[Violation], *, title: str = "", detail: str = "Resource is not valid"
    ) -> None:
        self.violations = tuple(violations)
        self.detail = detail
        super().__init__("; ".join(f"{v.field}: {v.reason}" for v in self.violations), title=title)

    @classmethod
    def of(cls, field: str, reason: str) -> InvalidResource:
        """One violation."""
        return cls([Violation(field, reason)])


class BadRequest(MeshError):
    """The request cannot be understood at all."""


class Unauthenticated(MeshError):
    """A credential was presented and is not valid. The text never says which part was wrong to the caller."""


class AccessDenied(MeshError):
    """The identified caller may not do this."""


class NotFound(MeshError):
    """No such resource."""


class NoSuchPart(NotFound):
    """What was asked of a resource is not there; the text names it and what there is instead."""


class SigningKeyNotFound(NotFound):
    """A token cannot be issued or verified, because its signing key is absent; the text names the secret."""


class MethodNotAllowed(MeshError):
    """The kind can be read only."""


class Conflict(MeshError):
    """Someone else wrote first, or the name is taken: re-read and try again."""


class TooLarge(MeshError):
    """An input is over its limit; the text names the limit."""


class InvalidToken(MeshError):
    """A token is refused; the text is the reason that goes into the log and, where safe, to the caller."""


class ConfigInvalid(MeshError):
    """A program's settings are wrong; the text names the key or variable."""


class StoreUnavailable(MeshError):
    """The store cannot be reached or failed; always chained to the driver's exception."""
