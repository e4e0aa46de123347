"""The users there are: names and groups."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

ADMIN_NAME: Final = "mesh-system:admin"
AUTHENTICATED: Final = "mesh-system:authenticated"
UNAUTHENTICATED: Final = "mesh-system:unauthenticated"


@dataclass(frozen=True, slots=True)
class User:
    """Who calls. Prints as ``name/group1,group2``, which is how refusals name a caller."""

    name: str
    groups: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.name}/{','.join(self.groups)}" if self.groups else self.name

    @classmethod
    def authenticated(cls, name: str, groups: tuple[str, ...]) -> User:
        """A caller whose credential was verified; the group of all such callers comes last, once."""
        return cls(name, (*(group for group in groups if group != AUTHENTICATED), AUTHENTICATED))


ADMIN: Final = User(ADMIN_NAME, (ADMIN_NAME, AUTHENTICATED))
ANONYMOUS: Final = User("mesh-system:anonymous", (UNAUTHENTICATED,))
