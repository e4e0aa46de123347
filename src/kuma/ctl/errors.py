"""What can go wrong between a user and the control plane, beside what the core already names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from kuma.core.errors import MeshError

_AUTHENTICATE: Final = '"kumactl config control-planes add --overwrite --auth-type=tokens --auth-conf token=..."'
_NEXT_STEPS: Final[Mapping[str, str]] = {
    "Failed to retrieve Mesh": 'see "kumactl get meshes"',
    "Invalid authentication data": f"the token is wrong, expired or revoked: give another with {_AUTHENTICATE}",
    "Access Denied": f"give the token of a user who may do this with {_AUTHENTICATE}",
    "Conflict": "someone else changed it at the same time; look at it, then try again",
    "Service unavailable": "try again; the log of kuma-cp says more",
}
"""What to do about refusals that the control plane words as Kuma does, by title."""


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
        fields_told = [f"* {field}: {reason}" for field, reason in self.fields]
        super().__init__("\n".join([self.summary, *fields_told, *([self.next_step] if self.next_step else [])]))

    @property
    def summary(self) -> str:
        """The answer in one line."""
        return f"{self.title} ({self.detail})" if self.title else f"({self.status}): {self.detail}"

    @property
    def next_step(self) -> str:
        """What to do about it, empty where the answer says so itself."""
        return _NEXT_STEPS.get(self.title, "")
