"""The base of everything a user writes: frozen models, camelCase on the wire, all violations at once.

``Spec`` is for plugin kinds (types are strict: ``"80"`` is not a number), ``LegacySpec`` for kinds that come from
protobuf (its JSON mapping: numbers may be text, snake_case is accepted, default values are left out of the output).
Unknown fields are dropped; ``unknown_fields`` names them so that the writer can be warned.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, ConfigDict, PlainSerializer, PlainValidator, ValidationError, model_validator
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError

from kuma.core.errors import Violation
from kuma.core.units import format_duration, format_proto_duration, parse_duration


def _duration(value: object) -> timedelta:
    if isinstance(value, timedelta):
        return value
    if not isinstance(value, str):
        raise PydanticCustomError("go_duration", "in body must be of type string")
    try:
        return parse_duration(value)
    except ValueError as error:
        raise PydanticCustomError("go_duration", "{text}", {"text": str(error)}) from None


Duration = Annotated[timedelta, PlainValidator(_duration), PlainSerializer(format_duration, return_type=str)]
"""A Go duration, printed as Go prints it: ``1h0m0s``."""
LegacyDuration = Annotated[
    timedelta, PlainValidator(_duration), PlainSerializer(format_proto_duration, return_type=str)
]
"""A Go duration on input, printed as protobuf does: ``3600s``."""


class Spec(BaseModel):
    """A part of a resource as the user writes it."""

    model_config = ConfigDict(
        frozen=True,
        extra="ignore",
        alias_generator=to_camel,
        validate_by_name=True,
        strict=True,
        hide_input_in_errors=True,
    )
    omit_defaults: ClassVar[bool] = False

    def to_json(self) -> dict[str, Any]:
        """The wire form: camelCase, unset fields left out."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_defaults=self.omit_defaults)

    def to_text(self) -> bytes:
        """The wire form as compact JSON."""
        return self.model_dump_json(by_alias=True, exclude_none=True, exclude_defaults=self.omit_defaults).encode()


class LegacySpec(Spec):
    """A part of a kind that comes from protobuf."""

    model_config = ConfigDict(strict=False)
    omit_defaults: ClassVar[bool] = True

    @model_validator(mode="before")
    @classmethod
    def _null_is_unset(cls, data: object) -> object:
        """Protobuf's JSON mapping: ``null`` means the default, for every field."""
        if isinstance(data, Mapping) and None in data.values():
            return {name: value for name, value in data.items() if value is not None}
        return data


def field_path(location: Sequence[str | int]) -> str:
    """``("to", 0, "default")`` is ``to[0].default``."""
    path = ""
    for part in location:
        if isinstance(part, int):
            path += f"[{part}]"
        else:
            path += f".{part}" if path else part
    return path


_REASONS: Mapping[str, str] = {
    "missing": "in body is required",
    "string_type": "in body must be of type string",
    "int_type": "in body must be of type integer",
    "int_from_float": "in body must be of type integer",
    "int_parsing": "in body must be of type integer",
    "float_type": "in body must be of type number",
    "bool_type": "in body must be of type boolean",
    "bool_parsing": "in body must be of type boolean",
    "tuple_type": "in body must be of type array",
    "list_type": "in body must be of type array",
    "dict_type": "in body must be of type object",
    "model_type": "in body must be of type object",
}


def violations(error: ValidationError, prefix: str = "") -> Iterator[Violation]:
    """Everything pydantic found, in the words of the Kuma API (OpenAPI validation of plugin kinds)."""
    for item in error.errors(include_url=False, include_input=False):
        reason = _REASONS.get(item["type"], item["msg"])
        if item["type"] in {"enum", "literal_error"}:
            expected = item.get("ctx", {}).get("expected", "").replace("'", "").replace(" or ", ", ")
            reason = f"in body should be one of [{expected.replace(', ', ' ')}]"
        yield Violation(field_path(item["loc"]), reason).under(prefix)


def unknown_fields(spec: BaseModel, data: object, path: str = "") -> Iterator[str]:
    """Paths of fields in ``data`` that ``spec`` (parsed from it) does not know, in the order written."""
    if not isinstance(data, Mapping):
        return
    known: dict[str, str] = {}
    for name, field in type(spec).model_fields.items():
        known[name] = known[field.alias or name] = name
    for key, value in data.items():
        here = f"{path}.{key}" if path else str(key)
        if key not in known:
            yield here
            continue
        yield from _unknown_below(getattr(spec, known[key]), value, here)


def _unknown_below(parsed: object, value: object, path: str) -> Iterator[str]:
    if isinstance(parsed, BaseModel):
        yield from unknown_fields(parsed, value, path)
    elif isinstance(parsed, Mapping) and isinstance(value, Mapping):
        for key, item in value.items():
            yield from _unknown_below(parsed.get(key), item, f"{path}.{key}")
    elif isinstance(parsed, tuple) and isinstance(value, Sequence):
        for index, (one, item) in enumerate(zip(parsed, value, strict=False)):
            yield from _unknown_below(one, item, f"{path}[{index}]")
