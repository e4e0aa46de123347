"""Which foreign origins a browser may let read answers: ``apiServer.corsAllowedDomains``, by name or by pattern."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import re2

_METHODS: Final = "GET, PUT, POST, DELETE"
_LONGEST_ORIGIN: Final = 512


class Cors:
    """
    Off without domains. A pattern has to match the whole origin.

    Kuma is content with a match anywhere in it, which lets a stranger in whose domain merely contains an allowed one.
    """

    def __init__(self, domains: Iterable[str]) -> None:
        self._names = {domain.lower() for domain in domains}
        self._patterns = [pattern for domain in domains if (pattern := _pattern(domain)) is not None]

    def allows(self, origin: str | None) -> bool:
        if not origin or len(origin) > _LONGEST_ORIGIN or not self._names:
            return False
        if "*" in self._names or origin.lower() in self._names:
            return True
        return any(pattern.fullmatch(origin) for pattern in self._patterns)

    def headers(self, origin: str | None) -> Mapping[str, str]:
        """What an answer to that origin says."""
        if origin is None or not self.allows(origin):
            return {"vary": "origin"} if self._names else {}
        return {"access-control-allow-origin": origin, "vary": "origin"}

    def is_preflight(self, headers: Mapping[str, str]) -> bool:
        """Whether a browser asks if it may send a request."""
        return "access-control-request-method" in headers and self.allows(headers.get("origin"))

    def preflight(self, headers: Mapping[str, str]) -> dict[str, str]:
        """The answer to that question."""
        wanted = headers.get("access-control-request-headers", "content-type, authorization")
        return {"access-control-allow-methods": _METHODS, "access-control-allow-headers": wanted}


def _pattern(domain: str) -> Any | None:
    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(domain, options=options)
    except re2.error:
        return None  # a plain name, or nothing that could match
