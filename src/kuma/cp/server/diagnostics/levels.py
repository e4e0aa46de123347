"""Log levels of single components, changed by an operator while the control plane runs; gone after a restart."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from kuma.core.errors import BadRequest, MeshError

MOST_OVERRIDES: Final = 100
LEVELS: Final[Mapping[str, int]] = MappingProxyType(
    {"debug": logging.DEBUG, "info": logging.INFO, "off": logging.CRITICAL + 1}
)

_COMPONENT: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,127}")


class TooManyOverrides(MeshError):
    """The text names the limit and how to make room."""


class LogLevels:
    """Overrides by component. Names have parts between dots; one without a level of its own has its parent's."""

    def __init__(self) -> None:
        self._overrides: dict[str, str] = {}

    @property
    def overrides(self) -> dict[str, str]:
        """Level by component, in alphabetical order."""
        return dict(sorted(self._overrides.items()))

    def put(self, component: str, level: str) -> None:
        """
        Set one.

        Raises:
            BadRequest: no such level, or not a component's name.
            TooManyOverrides: there are ``MOST_OVERRIDES`` already.
        """
        if level not in LEVELS:
            raise BadRequest(f"level must be one of {', '.join(LEVELS)}")
        if not _COMPONENT.fullmatch(component):
            raise BadRequest("component must be a name such as xds or api-server.access, of at most 128 characters")
        if component not in self._overrides and len(self._overrides) >= MOST_OVERRIDES:
            raise TooManyOverrides(
                f"{MOST_OVERRIDES} components have a level of their own already, which is the limit; "
                "DELETE /logging/<component> makes room, DELETE /logging resets all"
            )
        self._overrides[component] = level

    def reset(self, component: str) -> bool:
        """Back to the general level; whether there was an override."""
        return self._overrides.pop(component, None) is not None

    def reset_all(self) -> dict[str, str]:
        """Back to the general level everywhere; gives what was reset."""
        gone = self.overrides
        self._overrides.clear()
        return gone

    def allows(self, component: str, level: int, general: int) -> bool:
        """Whether a line of this level (as in ``logging``) of a component is to be written."""
        name = component
        while name:
            override = self._overrides.get(name)
            if override is not None:
                return level >= LEVELS[override]
            name = name.rpartition(".")[0]
        return level >= general
