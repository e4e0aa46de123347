"""Between stored or received text and parsed resources."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

from pydantic import ValidationError

from kuma.core.errors import InvalidResource
from kuma.core.model.kinds import BY_NAME, Form
from kuma.core.model.resource import definition
from kuma.core.model.spec import Spec, violations

_SMALL: Final = 64 * 1024


@lru_cache(maxsize=64)
def _recent(kind: str, text: bytes) -> Any:
    """A join reads one text several times in a moment, and what is read is frozen."""
    return definition(kind).spec.model_validate_json(text)


def encode_spec(spec: Spec) -> bytes:
    """The stored text of a spec."""
    return spec.to_text()


def decode_spec(kind: str, text: bytes) -> Any:
    """
    Parse the JSON text of a spec.

    Raises:
        InvalidResource: with every fault; field paths start with ``spec.`` for plugin kinds.
    """
    prefix = "spec" if BY_NAME[kind].form is Form.PLUGIN else ""
    try:
        return _recent(kind, text) if len(text) <= _SMALL else definition(kind).spec.model_validate_json(text)
    except ValidationError as error:
        raise InvalidResource(violations(error, prefix)) from error


def decode_json(kind: str, data: Mapping[str, Any]) -> Any:
    """Parse a spec that is already JSON data. Raises ``InvalidResource`` as ``decode_spec`` does."""
    return decode_spec(kind, json.dumps(data).encode())
