"""What a user may write in a Secret or a GlobalSecret."""

from __future__ import annotations

from pydantic import Field

from kuma.core.model.spec import LegacySpec
from kuma.core.resources._wire import Octets


class Secret(LegacySpec):
    """Bytes that are kept for a mesh or for the control plane."""

    data: Octets = Field(default=b"", repr=False)
    """Base64 on the wire; never part of a text that could reach a log."""
