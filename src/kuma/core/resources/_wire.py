"""Field types of protobuf's JSON mapping, for the kinds that come from protobuf.

What a writer may send is wider than what is printed: numbers may be text, enums may be numbers, bytes may be either
base64 alphabet. Printed are: 64-bit numbers as text, enums by name, standard base64, times as RFC 3339 with ``Z``.
Every refusal is a ``ValidationError`` of pydantic; nothing else escapes, whatever the input.
"""

from __future__ import annotations

import base64
import binascii
import math
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from enum import Enum
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BeforeValidator, PlainSerializer, PlainValidator
from pydantic_core import PydanticCustomError

MAX_STRUCT_DEPTH: Final = 32
"""How deep a free-form ``conf`` may nest; no backend needs more than four levels."""

_INTEGER: Final = re.compile(r"-?[0-9]{1,20}")
_RFC3339: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?(Z|[-+][0-9]{2}:[0-9]{2})"
)


def _unsigned(bits: int) -> Callable[[object], int]:
    largest = 2**bits - 1

    def read(value: object) -> int:
        number: int | None = None
        if isinstance(value, int) and not isinstance(value, bool):
            number = value
        elif (isinstance(value, float) and value.is_integer()) or (
            isinstance(value, str) and _INTEGER.fullmatch(value)
        ):
            number = int(value)
        if number is None:
            raise PydanticCustomError("int_type", "in body must be of type integer")
        if not 0 <= number <= largest:
            raise PydanticCustomError("int_range", "must be in the range [0, {largest}]", {"largest": largest})
        return number

    return read


def _flag(value: object) -> bool:
    if isinstance(value, bool):
        return value
    raise PydanticCustomError("bool_type", "in body must be of type boolean")


def _number(value: object) -> object:
    if isinstance(value, bool) or (isinstance(value, str) and not re.fullmatch(r"[-+0-9.eE]{1,64}", value)):
        raise PydanticCustomError("float_type", "in body must be of type number")
    return value


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise PydanticCustomError("float_type", "in body must be of type number")
    return value


def _octets(value: object) -> bytes:
    if isinstance(value, bytes):
        return value
    if not isinstance(value, str):
        raise PydanticCustomError("string_type", "in body must be of type string")
    text = value.rstrip("=").replace("-", "+").replace("_", "/")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise PydanticCustomError("base64", "must be base64 encoded") from None


def _print_octets(value: bytes) -> str:
    return base64.b64encode(value).decode("ascii")


def _time(value: object) -> datetime:
    try:
        if isinstance(value, str) and _RFC3339.fullmatch(value):
            return datetime.fromisoformat(value).astimezone(UTC)
        if isinstance(value, datetime) and value.tzinfo is not None:
            return value.astimezone(UTC)
    except (ValueError, OverflowError):
        pass  # the 31st of February, or a time zone beyond the year 1
    raise PydanticCustomError("rfc3339", "must be a time such as 2026-01-31T12:00:00Z")


def _print_time(value: datetime) -> str:
    whole = value.strftime("%Y-%m-%dT%H:%M:%S").rjust(19, "0")  # strftime does not pad years below 1000
    if not value.microsecond:
        return f"{whole}Z"
    digits = f"{value.microsecond:06d}"
    return f"{whole}.{digits.removesuffix('000')}Z"


def _struct(value: object) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise PydanticCustomError("dict_type", "in body must be of type object")
    copy = _json(value, MAX_STRUCT_DEPTH)
    assert isinstance(copy, dict)  # noqa: S101  # _json keeps the shape
    return copy


def _json(value: object, depth: int) -> object:
    """A private copy of a JSON value; whole floats become ints, as Go prints them."""
    if depth < 0:
        raise PydanticCustomError("depth", "must not nest deeper than {most} levels", {"most": MAX_STRUCT_DEPTH})
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return int(value) if _finite(value).is_integer() and abs(value) < 2**53 else value
    if isinstance(value, list | tuple):
        return [_json(item, depth - 1) for item in value]
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {key: _json(item, depth - 1) for key, item in value.items()}
    raise PydanticCustomError("json", "must consist of JSON values")


UInt32 = Annotated[int, PlainValidator(_unsigned(32))]
UInt64 = Annotated[int, PlainValidator(_unsigned(64)), PlainSerializer(str, return_type=str)]
"""Printed as text, because JavaScript has no 64-bit integers."""
Flag = Annotated[bool, PlainValidator(_flag)]
"""``true`` or ``false``; text such as ``"yes"`` is refused."""
Number = Annotated[
    float, BeforeValidator(_number), AfterValidator(_finite), PlainSerializer(lambda number: _json(number, 0))
]
Octets = Annotated[bytes, PlainValidator(_octets), PlainSerializer(_print_octets, return_type=str)]
Timestamp = Annotated[datetime, PlainValidator(_time), PlainSerializer(_print_time, return_type=str)]
Struct = Annotated[Mapping[str, Any], PlainValidator(_struct)]
"""A free-form object of JSON values."""


class WireEnum(Enum):
    """An enum of protobuf: written by name, read by name or number. Members stand in the order of their numbers."""

    @classmethod
    def _missing_(cls, value: object) -> WireEnum | None:
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < len(cls):
            return list(cls)[value]
        return None
