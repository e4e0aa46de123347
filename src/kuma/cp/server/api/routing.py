"""From a path to a route, by Kuma's rules: a fixed word wins over a parameter, a trailing slash is ignored.

Paths are split before they are decoded, so an encoded slash never becomes a separator.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote_to_bytes

from kuma.core.errors import BadRequest

if TYPE_CHECKING:
    from starlette.responses import Response

    from kuma.cp.server.api.call import Call

JSON: Final = "application/json"
TEXT: Final = "text/plain"

_MOST_SEGMENTS: Final = 16
_ABSOLUTE: Final = re.compile(rb"https?://[^/]*", re.IGNORECASE)
_BROKEN_ESCAPE: Final = re.compile(rb"%(?![0-9a-fA-F]{2})")


@dataclass(frozen=True, slots=True)
class Route:
    """
    One operation.

    ``title`` is what a failure is called. ``public`` routes are answered whoever calls, even with a bad credential.
    ``produces`` is what a caller's Accept header has to admit, any of it.
    """

    method: str
    path: str
    handler: Callable[[Call], Awaitable[Response]]
    title: str
    produces: tuple[str, ...] = (JSON,)
    public: bool = False

    @property
    def takes_body(self) -> bool:
        return self.method in ("PUT", "POST")


@dataclass(slots=True)
class _Node:
    words: dict[str, _Node] = field(default_factory=dict)
    parameter: _Node | None = None
    routes: dict[str, Route] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Found:
    """The routes at a path by method, and the values of its parameters in order."""

    routes: Mapping[str, Route]
    values: tuple[str, ...]


class Router:
    """All routes. Adding one twice is a programming error and raises."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self._root = _Node()
        self.routes = tuple(routes)
        for route in self.routes:
            self._add(route)

    def find(self, segments: Sequence[str]) -> Found | None:
        """The routes at a path, None where there are none."""
        return None if len(segments) > _MOST_SEGMENTS else _find(self._root, tuple(segments), ())

    def _add(self, route: Route) -> None:
        node = self._root
        for word in filter(None, route.path.split("/")):
            if word.startswith("{"):
                node.parameter = node.parameter or _Node()
                node = node.parameter
            else:
                node = node.words.setdefault(word, _Node())
        if route.method in node.routes:
            raise ValueError(f"two routes for {route.method} {route.path}")
        node.routes[route.method] = route


def _find(node: _Node, segments: tuple[str, ...], values: tuple[str, ...]) -> Found | None:
    if not segments:
        return Found(node.routes, values) if node.routes else None
    first, rest = segments[0], segments[1:]
    word = node.words.get(first)
    found = _find(word, rest, values) if word else None
    if found is None and node.parameter is not None and first:
        found = _find(node.parameter, rest, (*values, first))
    return found


def parameters(route: Route, values: Sequence[str]) -> dict[str, str]:
    """The values of a route's parameters by name."""
    names = re.findall(r"\{([^}]+)\}", route.path)
    return dict(zip(names, values, strict=True))


def segments_of(raw_path: bytes) -> tuple[str, ...]:
    """
    The decoded parts of a path as it was received.

    Raises:
        BadRequest: it cannot be decoded to text, or holds a NUL.
    """
    path = _ABSOLUTE.sub(b"", raw_path, count=1) if raw_path[:1] != b"/" else raw_path
    if _BROKEN_ESCAPE.search(path):
        raise BadRequest('bad request: the path holds a "%" that is not followed by two hexadecimal digits')
    try:
        segments = tuple(unquote_to_bytes(part).decode() for part in path.rstrip(b"/").split(b"/")[1:])
    except UnicodeDecodeError:
        raise BadRequest("bad request: the path is not UTF-8 text") from None
    if any("\0" in segment for segment in segments):
        raise BadRequest("bad request: the path holds a NUL character")
    return segments
