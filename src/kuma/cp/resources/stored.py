"""Reading what is stored, and saying which resource it was when its text fits no schema any more."""

from __future__ import annotations

from typing import Any

from kuma.core.errors import InvalidResource
from kuma.core.model.resource import Resource
from kuma.cp.store.decoding import resource_of
from kuma.cp.store.planning import title
from kuma.cp.store.port import Record


def read(record: Record) -> Resource[Any]:
    """
    The resource in a record.

    Raises:
        InvalidResource: the text does not fit the kind; the detail names the resource and what to do.
    """
    try:
        return resource_of(record)
    except InvalidResource as error:
        detail = f"{title(record.key)}, as it is stored, cannot be read: apply it again, or delete it"
        raise InvalidResource(error.violations, detail=detail) from error


def readable(record: Record | None) -> Resource[Any] | None:
    """The resource in a record, None where there is none or it cannot be read."""
    if record is None:
        return None
    try:
        return resource_of(record)
    except InvalidResource:
        return None
