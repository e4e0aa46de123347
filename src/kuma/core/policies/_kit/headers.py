"""Headers as policies speak of them: conditions on headers, and changes to them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Final, Literal

from pydantic import Field

from kuma.core.errors import Violation
from kuma.core.model.spec import Spec
from kuma.core.policies._kit.format import format_violations
from kuma.core.policies._kit.regex import regex_violations
from kuma.core.policies._kit.validation import MUST_NOT_BE_DEFINED, HeaderName, header_value_violations
from kuma.envoy_api.envoy.config.core.v3.base_pb2 import HeaderValueOption
from kuma.envoy_api.envoy.config.route.v3.route_components_pb2 import HeaderMatcher

MAX_VALUES: Final = 400
"""Most values in one list of header changes; Envoy takes 1000 on a route, which up to two lists share."""
_NAME: Final = re.compile(r"[A-Za-z0-9!#$%&'*+\-.^_`|~]{1,256}")
HOST: Final = "host"
NOT_HOST: Final = "Envoy does not let the host header be changed; rewrite the hostname instead"


class HeaderMatch(Spec):
    """A condition on one header."""

    type: Literal["Exact", "Present", "RegularExpression", "Absent", "Prefix"] = "Exact"
    name: HeaderName
    value: str | None = None


class HeaderKeyValue(Spec):
    """A header and its values, with commas between them."""

    name: HeaderName
    value: str


class HeaderChanges(Spec):
    """Headers to give: ``set`` replaces what is there, ``add`` appends to it."""

    set: Annotated[tuple[HeaderKeyValue, ...], Field(max_length=16)] | None = None
    add: Annotated[tuple[HeaderKeyValue, ...], Field(max_length=16)] | None = None


def header_match_violations(match: HeaderMatch, path: str) -> Iterator[Violation]:
    """A condition that has a value exactly where one is needed."""
    if match.type == "RegularExpression":
        yield from regex_violations(match.value, f"{path}.value")
    elif match.type in {"Present", "Absent"} and match.value:
        yield Violation(f"{path}.value", MUST_NOT_BE_DEFINED)


def header_matcher(match: HeaderMatch) -> HeaderMatcher:
    """The condition in Envoy's form."""
    made = HeaderMatcher(name=match.name)
    value = match.value or ""
    match match.type:
        case "Exact":
            made.string_match.exact = value
        case "Prefix" if value:
            made.string_match.prefix = value
        case "RegularExpression":
            made.string_match.safe_regex.regex = value
        case _:
            # Envoy knows no empty prefix; every value that is there has it.
            made.present_match = match.type != "Absent"
    return made


def header_changes_violations(changes: HeaderChanges, path: str) -> Iterator[Violation]:
    """Changes that Envoy makes: it refuses those of the host header and of formats it does not know."""
    for name, headers in (("set", changes.set or ()), ("add", changes.add or ())):
        for index, header in enumerate(headers):
            here = f"{path}.{name}[{index}]"
            if header.name == HOST:
                yield Violation(f"{here}.name", NOT_HOST)
            yield from header_value_violations(header.value, f"{here}.value")
            for value in _values(header.value):
                yield from format_violations(value, f"{here}.value")
        if sum(len(_values(header.value)) for header in headers) > MAX_VALUES:
            yield Violation(f"{path}.{name}", f"must not have more than {MAX_VALUES} values")


def count_of_values(changes: HeaderChanges | None) -> int:
    """How many headers Envoy is told to give."""
    given = () if changes is None else (*(changes.set or ()), *(changes.add or ()))
    return sum(len(_values(header.value)) for header in given)


def removed_name_violations(name: str, path: str) -> Iterator[Violation]:
    """The name of a header that Envoy can take away."""
    if not _NAME.fullmatch(name):
        yield Violation(path, "must be a header name of 1 to 256 characters")
    elif name.lower() == HOST:
        yield Violation(path, NOT_HOST)


def header_options(changes: HeaderChanges) -> Iterator[HeaderValueOption]:
    """The changes in Envoy's form: the first value that is set replaces, the others join it."""
    for header in changes.set or ():
        action = HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD
        for value in _values(header.value):
            yield _option(header.name, value, action)
            action = HeaderValueOption.APPEND_IF_EXISTS_OR_ADD
    for header in changes.add or ():
        for value in _values(header.value):
            yield _option(header.name, value, HeaderValueOption.APPEND_IF_EXISTS_OR_ADD)


def _option(name: str, value: str, action: HeaderValueOption.HeaderAppendAction) -> HeaderValueOption:
    made = HeaderValueOption(append_action=action)
    made.header.key, made.header.value = name, value
    return made


def _values(text: str) -> list[str]:
    return text.split(",")
