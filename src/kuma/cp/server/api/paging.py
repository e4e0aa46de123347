"""Lists: which page is asked for, which filters hold, and the answer around the items."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar
from urllib.parse import urlencode

from kuma.core.errors import BadRequest, InvalidResource, Violation
from kuma.core.resources.dataplane.facts import all_tag_sets, gateway
from kuma.core.resources.dataplane.spec import Dataplane
from kuma.cp.server.api.call import Call

DEFAULT_SIZE: Final = 100
LARGEST_SIZE: Final = 1000

_INTEGER: Final = re.compile(r"[-+]?[0-9]{1,18}")
_FILTER: Final = re.compile(r"filter\[([^\]]*)\](.*)", re.DOTALL)
_GATEWAYS: Final = {"true": ("BUILTIN", "DELEGATED"), "builtin": ("BUILTIN",), "delegated": ("DELEGATED",)}

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a list. ``next`` is where the following part is, None on the last."""

    total: int
    items: Sequence[Any]
    next: str | None

    def body(self, render: Callable[[Any], Any] = lambda item: item) -> dict[str, Any]:
        return {"total": self.total, "items": [render(item) for item in self.items], "next": self.next}


def page_of(call: Call, items: Sequence[T]) -> Page:
    """
    The part of ``items`` that the call asks for.

    Raises:
        InvalidResource: size or offset is not a usable number.
    """
    size, offset = part_of(call)
    end = offset + size
    return Page(len(items), items[offset:end], url_with(call, offset=end) if end < len(items) else None)


def part_of(call: Call) -> tuple[int, int]:
    """
    Size and offset of the part that the call asks for.

    Raises:
        InvalidResource: one of them is not a usable number.
    """
    return _size(call.first("size")), _offset(call.first("offset"))


def url_with(call: Call, **fields: int) -> str:
    """The call's own URL with other values of some query parameters."""
    kept = [(key, value) for key, value in call.query if key not in fields]
    changed = [(key, str(value)) for key, value in fields.items()]
    return f"{call.url}?{urlencode(sorted([*kept, *changed], key=lambda field: field[0]))}"


def by_meta(call: Call) -> Callable[[str, Mapping[str, str]], bool]:
    """
    The filters every list has, asked for a name and labels: ``name`` (part of it) and ``filter[labels.<key>]``.

    Raises:
        InvalidResource: another filter is asked for.
    """
    part = call.first("name") or ""
    labels = _label_filters(call)

    def keep(name: str, of: Mapping[str, str]) -> bool:
        return part in name and labels.items() <= of.items()

    return keep


def by_proxy(call: Call) -> Callable[[Dataplane], bool] | None:
    """
    The filters of lists of proxies: ``tag`` and ``gateway``; None where the call has none of them.

    Raises:
        BadRequest: ``gateway`` is none of its words.
    """
    pairs = [text.split(":", 1) for text in call.every("tag") if ":" in text]
    wanted = call.first("gateway")
    if wanted and wanted != "false" and wanted not in _GATEWAYS:
        raise BadRequest('bad request: the query parameter "gateway" must be one of true, false, builtin, delegated')

    if not pairs and not wanted:
        return None

    def keep(dataplane: Dataplane) -> bool:
        if wanted and not _is_wanted(wanted, dataplane):
            return False
        return not pairs or any(
            all(key in tags and (value == "*" or value in tags[key]) for key, value in pairs)
            for tags in all_tag_sets(dataplane)
        )

    return keep


def _is_wanted(wanted: str, dataplane: Dataplane) -> bool:
    found = gateway(dataplane)
    if found is None or wanted == "false":
        return found is None and wanted == "false"
    return found.type.value in _GATEWAYS[wanted]


def _label_filters(call: Call) -> Mapping[str, str]:
    labels: dict[str, str] = {}
    faults = []
    for key, value in call.query:
        match = _FILTER.fullmatch(key)
        if match is None:
            continue
        what, suffix = match.groups()
        where = f"{call.route.path}.{key}"
        if suffix:
            faults.append(Violation(where, "advanced filters are not supported"))
        elif not what.startswith("labels.") or what == "labels.":
            faults.append(Violation(where, "filters are only supported on labels"))
        elif labels.setdefault(what.removeprefix("labels."), value) != value:
            faults.append(Violation(where, "is given twice with different values, and no resource can have both"))
    if faults:
        raise InvalidResource(faults)
    return labels


def _size(text: str | None) -> int:
    if not text:
        return DEFAULT_SIZE
    if not _INTEGER.fullmatch(text):
        raise _bad_size("invalid format")
    size = int(text)
    if size < 1:
        raise _bad_size("must be greater than 0")
    if size > LARGEST_SIZE:
        raise _bad_size(f"invalid page size of {size}. Maximum page size is {LARGEST_SIZE}")
    return size


def _bad_size(reason: str) -> InvalidResource:
    return InvalidResource([Violation("size", reason)], detail="Invalid page size")


def _offset(text: str | None) -> int:
    if not text:
        return 0
    if not _INTEGER.fullmatch(text):
        shown = text if len(text) <= 32 else f"{text[:32]}…"
        raise _bad_offset(f'strconv.Atoi: parsing "{shown}": invalid syntax')
    if text.startswith("-") and int(text):
        raise _bad_offset("must be non-negative")
    return int(text)


def _bad_offset(reason: str) -> InvalidResource:
    return InvalidResource([], detail=f"invalid: invalid offset: {reason}")
