"""Envoy's messages as users write them: YAML or JSON in, messages out, and one message merged into another.

Types inside ``typedConfig`` are looked up in the generated Envoy API when they are first met, so nothing of it is
loaded before a user names it.
"""

from __future__ import annotations

import re
from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from typing import Any, Final, TypeVar

from google.protobuf import descriptor_pool
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.json_format import MessageToDict, ParseDict, ParseError, SerializeToJsonError
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from kuma.core.errors import BadRequest, MeshError, TooLarge
from kuma.core.model.text import Limits, parse_document

_API: Final = "kuma.envoy_api"
_PACKAGE: Final = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*")
_LIMITS: Final = Limits(size=256 * 1024, depth=60, nodes=50_000)
_DEEPEST: Final = 80
_VALUES: Final = re.compile(r"google\.protobuf\.(Duration|Timestamp|\w+Value|FieldMask)")
"""Messages that stand for one value: the later one counts as a whole."""

M = TypeVar("M", bound=Message)


class EnvoyTextInvalid(MeshError):
    """A text or data is no message of the wanted type; the text says why."""


class UnknownType(EnvoyTextInvalid):
    """A ``@type`` that Envoy's API does not have."""


class _Types:
    """The generated API as a descriptor pool that loads what it is asked for."""

    def FindMessageTypeByName(self, name: str) -> Descriptor:  # noqa: N802 - protobuf's name
        """The type with a full name."""
        return _descriptor(name)


_TYPES: Final[Any] = _Types()


def parse_message(text: str, kind: type[M]) -> M:
    """
    A message from YAML or JSON, with field names in either of protobuf's spellings.

    Raises:
        EnvoyTextInvalid: it is none.
    """
    try:
        data = parse_document(text, _LIMITS)
    except (BadRequest, TooLarge) as error:
        raise EnvoyTextInvalid(str(error)) from None
    return from_json(data, kind)


def from_json(data: Any, kind: type[M]) -> M:
    """
    A message from its JSON form.

    Raises:
        EnvoyTextInvalid: it is none.
    """
    if not isinstance(data, dict):
        raise EnvoyTextInvalid(f"an object is needed, with the fields of {kind.DESCRIPTOR.full_name}")
    try:
        return ParseDict(data, kind(), descriptor_pool=_TYPES, max_recursion_depth=_DEEPEST)
    except EnvoyTextInvalid:
        raise
    except (ParseError, ValueError, TypeError, AttributeError, KeyError, OverflowError) as error:
        raise EnvoyTextInvalid(re.sub(r"\s+", " ", str(error))) from None


def to_json(message: Message) -> dict[str, Any]:
    """
    The JSON form of a message: camelCase, without default values.

    Raises:
        EnvoyTextInvalid: something inside is of a type that Envoy's API does not have.
    """
    try:
        return MessageToDict(message, descriptor_pool=_TYPES)
    except (SerializeToJsonError, DecodeError, TypeError, ValueError) as error:
        raise EnvoyTextInvalid(str(error)) from None


def unpacked(packed: AnyMessage) -> Message:
    """
    What an ``Any`` holds.

    Raises:
        EnvoyTextInvalid: its type is unknown, or its bytes are not of that type.
    """
    message: Message = GetMessageClass(_descriptor(packed.TypeName()))()
    try:
        message.ParseFromString(packed.value)
    except DecodeError as error:
        raise EnvoyTextInvalid(f"{packed.TypeName()}: {error}") from None
    return message


def merge_into(target: Message, patch: Message) -> None:
    """
    Write what is set in a patch into a message of the same type.

    Messages are merged field by field, also inside an ``Any`` where both are of one type; lists are appended to;
    durations and wrapped values are replaced.
    """
    for field, value in patch.ListFields():
        if field.type != FieldDescriptor.TYPE_MESSAGE:
            if field.is_repeated:
                getattr(target, field.name).extend(value)
            else:
                setattr(target, field.name, value)
        elif (entry := field.message_type) is not None and entry.GetOptions().map_entry:
            _merge_map(getattr(target, field.name), value, entry)
        elif field.is_repeated:
            getattr(target, field.name).extend(value)
        else:
            _merge_message(getattr(target, field.name), value)


def _merge_map(target: Any, patch: Any, entry: Descriptor) -> None:
    holds_messages = entry.fields_by_name["value"].type == FieldDescriptor.TYPE_MESSAGE
    for key in patch:
        if not holds_messages:
            target[key] = patch[key]
        elif key in target:
            _merge_message(target[key], patch[key])
        else:
            target[key].CopyFrom(patch[key])


def _merge_message(target: Message, patch: Message) -> None:
    if isinstance(target, AnyMessage) and isinstance(patch, AnyMessage):
        if target.type_url == patch.type_url:
            whole = unpacked(target)
            merge_into(whole, unpacked(patch))
            target.Pack(whole, deterministic=True)
        else:
            target.CopyFrom(patch)
    elif _VALUES.fullmatch(patch.DESCRIPTOR.full_name):
        target.CopyFrom(patch)
    else:
        target.SetInParent()
        merge_into(target, patch)


@cache
def _descriptor(name: str) -> Descriptor:
    """The descriptor of a type, whose module is loaded for it."""
    package, _, rest = name.rpartition(".")
    while package and rest and not _load(package):
        package, _, _ = package.rpartition(".")
    try:
        return descriptor_pool.Default().FindMessageTypeByName(name)
    except KeyError:
        raise UnknownType(f"{name[:200]} is no type of Envoy's API") from None


@cache
def _load(package: str) -> bool:
    """Load the modules of a package of the API; False if there is none of that name."""
    if not _PACKAGE.fullmatch(package):
        return False
    try:
        home = import_module(f"{_API}.{package}")
    except ImportError:
        return False
    for module in iter_modules(home.__path__):
        if not module.ispkg:
            import_module(f"{_API}.{package}.{module.name}")
    return True
