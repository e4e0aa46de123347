"""How one setting is declared: its type, default, name in the file and name in the environment, all in one place.

A section is a frozen pydantic model. The name in the file is the attribute in camelCase unless ``wire`` says otherwise;
the name in the environment is the prefix of the enclosing sections plus the attribute in capitals unless ``env`` says
otherwise (an ``env`` that starts with ``KUMA_`` is the whole name and ignores the enclosing prefixes). Kuma's names are
irregular in places; those places carry their ``env`` or ``wire`` where the setting is declared and nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

Port = Annotated[int, Field(ge=0, le=65535)]
Count = Annotated[int, Field(ge=0)]
Percent = Annotated[int, Field(ge=0, le=100)]
TextMap = Annotated[Mapping[str, str], AfterValidator(MappingProxyType)]


class Section(BaseModel):
    """A group of settings; unknown names are an error, nothing can be changed after loading."""

    model_config = ConfigDict(
        frozen=True,
        strict=True,
        extra="forbid",
        alias_generator=to_camel,
        populate_by_name=True,
        defer_build=True,  # one schema for the whole tree, built at its first use, not at import
        protected_namespaces=(),
    )


def setting(
    default: object,
    *,
    env: str | None = None,
    wire: str | None = None,
    secret: bool = False,
    file_only: bool = False,
    inert: str | None = None,
    deprecated: str | None = None,
) -> Any:
    """
    Declare one setting.

    Args:
        default: what it is when nobody sets it.
        env: its name in the environment, where the rule of this module does not give it.
        wire: its name in the file and in ``GET /config``, where camelCase does not give it.
        secret: printed as ``*****``, and left out of ``repr``.
        file_only: no environment variable sets it.
        inert: why setting it changes nothing in this product; setting it gives one warning.
        deprecated: what to use instead; setting it gives one notice.
    """
    facts = _facts(env=env, secret=secret, file_only=file_only, inert=inert, deprecated=deprecated)
    if isinstance(default, Mapping):
        values = dict(default)
        return Field(default_factory=lambda: MappingProxyType(values), alias=wire, json_schema_extra=facts)
    return Field(default=default, alias=wire, repr=not secret, json_schema_extra=facts)


def section(
    build: Callable[[], Section], *, env: str | None = None, wire: str | None = None, inert: str | None = None
) -> Any:
    """Declare a section inside a section; ``env`` is its prefix (with the trailing underscore), ``inert`` as above."""
    return Field(default_factory=build, alias=wire, json_schema_extra=_facts(env=env, inert=inert))


def _facts(**facts: str | bool | None) -> dict[str, Any]:
    return {name: value for name, value in facts.items() if value}
