"""One request as a handler sees it: identified caller, decoded path and query, complete body."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qsl

from pydantic_core import to_json
from starlette.responses import Response

from kuma.core.errors import BadRequest
from kuma.core.model.kinds import Kind
from kuma.core.model.text import Limits, parse_json
from kuma.cp.access.control import Access
from kuma.cp.access.user import User
from kuma.cp.resources.aside import LARGE_TEXT, aside
from kuma.cp.server.api.routing import JSON, TEXT, Route
from kuma.cp.store.port import Author, Record

_MOST_QUERY_FIELDS: Final = 200
_FEW_ITEMS: Final = 20
"""How many resources can be printed before the event loop has to turn."""


@dataclass(frozen=True, slots=True)
class Call:
    """``address`` is the peer's; ``url`` the part of the request's URL before the query, as the caller wrote it."""

    route: Route
    user: User
    address: str
    url: str
    parameters: Mapping[str, str]
    query: tuple[tuple[str, str], ...]
    body: bytes

    def first(self, name: str) -> str | None:
        """The first value of a query parameter."""
        return next(self.every(name), None)

    def every(self, name: str) -> Iterator[str]:
        """All values of a query parameter."""
        return (value for key, value in self.query if key == name)

    def flag(self, name: str) -> bool:
        """A query parameter that is true or false, and false where it is absent."""
        text = self.first(name)
        if text not in (None, "", "true", "false"):
            raise BadRequest(f'bad request: the query parameter "{name}" must be true or false')
        return text == "true"

    @property
    def mesh(self) -> str:
        """The mesh in the path, empty where it names none."""
        return self.parameters.get("mesh", "")

    @property
    def name(self) -> str:
        """The resource's name in the path."""
        return self.parameters["name"]

    @property
    def author(self) -> Author:
        return Author(self.user.name, self.user.groups, self.address)

    async def document(self, limits: Limits) -> Any:
        """The JSON in the body. Raises ``BadRequest``."""
        return await aside(len(self.body) > LARGE_TEXT, parse_json, self.body, limits)

    def may_write(self, access: Access) -> Any:
        """What ``Resources`` asks before it changes a kind."""

        def allowed(kind: Kind) -> None:
            access.check_write(self.user, kind)

        return allowed


def query_of(text: bytes) -> tuple[tuple[str, str], ...]:
    """
    Decode a query.

    Raises:
        BadRequest: not text, or more fields than anyone needs.
    """
    try:
        return tuple(
            parse_qsl(text.decode(), keep_blank_values=True, errors="strict", max_num_fields=_MOST_QUERY_FIELDS)
        )
    except UnicodeDecodeError:
        raise BadRequest("bad request: the query is not UTF-8 text") from None
    except ValueError:
        raise BadRequest(f"bad request: the query has more than {_MOST_QUERY_FIELDS} fields") from None


def json_reply(body: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """JSON as Kuma prints it: one space of indent and a line break at the end."""
    return Response(to_json(body, indent=1) + b"\n", status, {"content-type": JSON, **(headers or {})})


async def rendered(render: Callable[[], Any], records: Sequence[Record]) -> Response:
    """The answer that ``render`` makes of records, off the event loop where they are many or large."""
    large = len(records) > _FEW_ITEMS or sum(len(record.spec) for record in records) > LARGE_TEXT
    return await aside(large, lambda: json_reply(render()))


def text_reply(body: str | bytes, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Plain text; without a charset, as Kuma's clients know it."""
    return Response(body, status, {"content-type": TEXT, **(headers or {})})


_JSON_TYPE: Final = re.compile(r"\s*application/json\s*(;.*)?", re.IGNORECASE | re.DOTALL)


def is_json(content_type: str) -> bool:
    """Whether a Content-Type header says JSON; parameters do not matter."""
    return _JSON_TYPE.fullmatch(content_type) is not None


def admits(accept: str, produces: tuple[str, ...]) -> bool:
    """Whether an Accept header (empty: none) admits one of the media types."""
    if not accept.strip():
        return True
    wanted = {part.partition(";")[0].strip().lower() for part in accept.split(",")}
    return any(not wanted.isdisjoint({"*/*", media, f"{media.partition('/')[0]}/*"}) for media in produces)
