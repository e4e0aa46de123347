"""From errors to answers: the one table of status codes, titles and details (spec/api-server.md §3.1).

Nothing that is not in the table reaches a caller: an unexpected exception is a 500 that tells no more than the id under
which it was logged.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from kuma.core.errors import (
    AccessDenied,
    BadRequest,
    Conflict,
    InvalidResource,
    InvalidToken,
    MeshError,
    MethodNotAllowed,
    NoSuchPart,
    NotFound,
    SigningKeyNotFound,
    StoreUnavailable,
    TooLarge,
    Unauthenticated,
    Violation,
)


@dataclass(frozen=True, slots=True)
class Problem:
    """What a caller is told. ``instance`` is the id to look for in the log, where there is something to find."""

    status: int
    title: str
    detail: str
    violations: tuple[Violation, ...] = ()
    instance: str = ""

    def body(self) -> dict[str, Any]:
        """The error body, fields in the order Kuma's clients know."""
        body: dict[str, Any] = {
            "type": "/std-errors",
            "status": self.status,
            "title": self.title,
            "detail": self.detail,
        }
        if self.instance:
            body["instance"] = self.instance
        if self.violations:
            body["invalid_parameters"] = [{"field": v.field, "reason": v.reason} for v in self.violations]
        body["details"] = self.detail
        if self.violations:
            body["causes"] = [{"field": v.field, "message": v.reason} for v in self.violations]
        return body


@dataclass(frozen=True, slots=True)
class _Row:
    """``title`` empty: the title of the operation; ``detail`` None: the error's own text."""

    error: type[MeshError]
    status: int
    title: str = ""
    detail: str | None = None


_TABLE: Final = (
    # A class stands before its base classes: the first row that fits decides.
    _Row(SigningKeyNotFound, 404, "Signing Key not found"),
    _Row(NoSuchPart, 404),
    _Row(NotFound, 404, "", "Not found"),
    _Row(InvalidResource, 400),
    _Row(BadRequest, 400, "Bad Request"),
    _Row(Unauthenticated, 401, "Invalid authentication data", "Unauthenticated"),
    _Row(InvalidToken, 401, "Invalid authentication data", "Unauthenticated"),
    _Row(AccessDenied, 403, "Access Denied"),
    _Row(MethodNotAllowed, 405, "Method not allowed"),
    _Row(Conflict, 409, "Conflict"),
    _Row(TooLarge, 413, "Request is too large"),
    _Row(StoreUnavailable, 503, "Service unavailable"),
)


def problem_of(error: Exception, operation: str, report: Callable[[], str]) -> Problem:
    """
    What to tell the caller of an operation that ended in ``error``.

    ``report`` logs an error that nobody expected and gives the id it was logged under.
    """
    row = next((row for row in _TABLE if isinstance(error, row.error)), None)
    if row is None or not isinstance(error, MeshError):
        return Problem(500, operation, "Internal Server Error", instance=report())
    title = error.title or row.title or operation
    if isinstance(error, InvalidResource):
        return Problem(row.status, title, error.detail, error.violations)
    return Problem(row.status, title, str(error) if row.detail is None else row.detail)
