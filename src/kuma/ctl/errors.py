"""What can go wrong between a user and the control plane, beside what the core already names."""

from __future__ import annotations

from collections.abc import Sequence

from kuma.core.errors import MeshError


class CommandFailed(MeshError):
    """A command cannot do what it was asked; the text says why and what to do next."""


class Unreachable(MeshError):
    """The control plane cannot be talked to: address, network, TLS or something else answers there."""


class ApiError(MeshError):
    """
    The control plane refused.

    ``title`` is empty when the answer was not in the API's error format; then ``detail`` is what came.
    """

    def __init__(self, status: int, title: str, detail: str, fields: Sequence[tuple[str, str]] = ()) -> None:
        self.status = status
        self.title = title
        self.detail = detail
        self.fields = tuple(fields)
        super().__init__("\n".join([self.summary, *(f"* {field}: {reason}" for field, reason in self.fields)]))

    @property
    def summary(self) -> str:
        """The answer in one line."""
        return f"{self.title} ({self.detail})" if self.title else f"({self.status}): {self.detail}"
