"""From stored records to resources."""

from __future__ import annotations

import json
from typing import Any

from kuma.core.model.codec import decode_spec
from kuma.core.model.resource import Meta, Resource
from kuma.cp.store.port import Record


def meta_of(record: Record) -> Meta:
    """The metadata of a record."""
    return Meta(record.key, record.labels, record.created, record.modified, record.version, record.revision)


def resource_of(record: Record) -> Resource[Any]:
    """
    The resource in a record.

    Raises:
        InvalidResource: the stored text does not fit the kind's schema (it was written by something else).
    """
    status = None if record.status is None else json.loads(record.status)
    return Resource(meta_of(record), decode_spec(record.key.kind, record.spec), status)
