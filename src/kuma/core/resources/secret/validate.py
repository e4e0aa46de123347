"""The one rule of secrets: their size."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from kuma.core.errors import Violation
from kuma.core.model.resource import Resource
from kuma.core.resources.secret.spec import Secret

MAX_BYTES: Final = 1024 * 1024


def validate(resource: Resource[Secret]) -> Iterator[Violation]:
    if len(resource.spec.data) > MAX_BYTES:
        yield Violation("data", f"must not be longer than {MAX_BYTES} bytes when decoded")
