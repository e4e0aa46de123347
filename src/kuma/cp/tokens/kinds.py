"""The three kinds of token, and where their keys and revocation lists lie in the store.

A key's secret is ``<prefix>-<serial>``; the bare prefix is serial 0 (keys older than serials). Prefixes of mesh-scoped
keys contain the mesh, and are looked for in that mesh only, so that mesh ``a`` never sees a key of mesh ``a-1``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import Final

from kuma.core.model.resource import Key

_SERIAL: Final = re.compile(r"[0-9]{1,18}")


@dataclass(frozen=True, slots=True)
class _Places:
    noun: str
    secret_kind: str


class TokenKind(Enum):
    """What a token is for."""

    USER = _Places("user", "GlobalSecret")
    ZONE = _Places("zone", "GlobalSecret")
    DATAPLANE = _Places("dataplane", "Secret")

    @property
    def secret_kind(self) -> str:
        return self.value.secret_kind

    def home(self, mesh: str) -> str:
        """The mesh in which the keys lie: none for global kinds."""
        return mesh if self is TokenKind.DATAPLANE else ""

    def key_prefix(self, mesh: str) -> str:
        return f"{self.value.noun}-token-signing-key{self._suffix(mesh)}"

    def signing_key(self, mesh: str, serial: int) -> Key:
        """Where the key with this serial is."""
        name = self.key_prefix(mesh) if serial == 0 else f"{self.key_prefix(mesh)}-{serial}"
        return Key(self.secret_kind, self.home(mesh), name)

    def revocations(self, mesh: str) -> tuple[Key, ...]:
        """Where revoked ids are listed. For proxies Kuma reads a GlobalSecret and documents a Secret: both count."""
        name = f"{self.value.noun}-token-revocations{self._suffix(mesh)}"
        everywhere = Key("GlobalSecret", "", name)
        return (everywhere, Key("Secret", mesh, name)) if self.home(mesh) else (everywhere,)

    def concerns(self, key: Key, mesh: str) -> bool:
        """Whether a secret is one of those by which tokens of this kind are judged in a mesh."""
        if key in self.revocations(mesh):
            return True
        at_home = key.kind == self.secret_kind and key.mesh == self.home(mesh)
        return at_home and self.serial_of(key.name, mesh) is not None

    def serial_of(self, name: str, mesh: str) -> int | None:
        """The serial in a secret's name, None if it is not the name of such a key."""
        prefix = self.key_prefix(mesh)
        if name == prefix:
            return 0
        if not name.startswith(f"{prefix}-"):
            return None
        digits = name.removeprefix(f"{prefix}-")
        return int(digits) if _SERIAL.fullmatch(digits) else None

    def _suffix(self, mesh: str) -> str:
        return f"-{mesh}" if self.home(mesh) else ""
