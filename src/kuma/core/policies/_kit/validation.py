"""What the specs and validators of all policies share: bounded field types, checks, messages and warnings.

Paths and sentences are Kuma's (spec/resources.md §2-3), because scripts and the GUI read them. A check yields every
violation with its full path and never raises; a warning is a sentence that starts with the path it speaks of, or is
one of Kuma's own deprecation sentences. Field types refuse what would not fit into the Envoy field it ends in.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from datetime import timedelta
from operator import not_
from typing import Annotated, Final, TypeVar

from pydantic import AfterValidator, Field, PlainValidator
from pydantic_core import PydanticCustomError

from kuma.core.errors import Violation
from kuma.core.model.kinds import KNOWN_ELSEWHERE
from kuma.core.policies._kit.spec import Match, SpiffeIdMatch, TargetRef
from kuma.core.units import format_duration, parse_decimal

MUST_BE_DEFINED: Final = "must be defined"
MUST_BE_SET: Final = "must be set"
MUST_NOT_BE_DEFINED: Final = "must not be defined"
MUST_NOT_BE_EMPTY: Final = "must not be empty"
GREATER_THAN_ZERO: Final = "must be greater than 0"
GREATER_THAN_ZERO_WHEN_DEFINED: Final = "must be greater than zero when defined"
DEFINED_AND_GREATER_THAN_ZERO: Final = "must be defined and greater than zero"
NOT_NEGATIVE_WHEN_DEFINED: Final = "must not be negative when defined"
IN_PERCENT_RANGE: Final = "must be in inclusive range [0, 100]"
IN_DECIMAL_PERCENT_RANGE: Final = "must be in inclusive range [0.0, 100.0]"
NEEDS_AN_ITEM: Final = "needs at least one item"
RULES_EXCLUDE_TO_AND_FROM: Final = "fields 'to' and 'from' must be empty when 'rules' is defined"
RULES_EXCLUDE_FROM: Final = "field 'from' must be empty when 'rules' is defined"
NO_LIST_DEFINED: Final = "at least one of 'from', 'to' or 'rules' has to be defined"
FROM_IS_DEPRECATED: Final = "'from' field is deprecated, use 'rules' instead"
NOT_WITH_GATEWAYS: Final = (
    "must not be defined when the scope includes a Gateway, select only proxyType Sidecar or select only gateways and "
    "use spec.to"
)
GATEWAYS_COME_LATER: Final = "speaks of builtin gateways, which are not supported yet, it has no effect"
EMPTY_MATCH: Final = "must specify at least one of 'spiffeID' or 'sni'"
NOT_BY_SOURCE: Final = (
    "can't be specified when matches contain spiffeID because this field cannot be conditioned on source identity"
)

TOP_LEVEL_KINDS: Final = ("Mesh", "MeshSubset", "MeshGateway", "MeshService", "MeshServiceSubset", "Dataplane")
"""Kinds that may select proxies in most policies."""

T = TypeVar("T")


def _at_most(limit: int) -> AfterValidator:
    def check(value: int) -> int:
        if not 0 <= value <= limit:
            raise PydanticCustomError("count", "must be a whole number from 0 to {limit}", {"limit": limit})
        return value

    return AfterValidator(check)


HeaderName = Annotated[str, Field(min_length=1, max_length=256, pattern=r"^[a-z0-9!#$%&'*+\-.^_\x60|~]+$")]
"""A header name, lower case only."""


def _number(value: object) -> int | str:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise PydanticCustomError("int_or_string", "in body must be of type integer or string")
    return value


Count = Annotated[int, _at_most(2**31 - 1)]
"""A number of things: CRD format ``int32``, never negative."""
LongCount = Annotated[int, _at_most(2**63 - 1)]
"""A number of things: CRD format ``int64``, never negative."""
Number = Annotated[int | str, PlainValidator(_number)]
"""A number that may have decimals: a JSON integer, or text such as ``"1.5"``; never a JSON float."""
Entries = Annotated[tuple[T, ...], Field(exclude_if=not_)]
"""A top-level list of a policy, left out of the wire form when empty. The field's default is ``()``."""


def includes_gateways(ref: TargetRef) -> bool:
    """Whether a top-level targetRef may select gateways."""
    if ref.kind in {"", "Mesh", "MeshSubset"}:
        return not ref.proxy_types or "Gateway" in ref.proxy_types
    return ref.kind in {"MeshGateway", "MeshHTTPRoute"}


_FORBIDDEN: Final[Mapping[str, tuple[str, ...]]] = {
    "Mesh": ("mesh", "tags", "labels", "namespace", "sectionName"),
    "Dataplane": ("tags", "mesh", "proxyTypes"),
    "MeshSubset": ("name", "mesh", "labels", "namespace", "sectionName"),
    "MeshService": ("mesh", "tags", "proxyTypes"),
    "MeshHTTPRoute": ("mesh", "tags", "proxyTypes", "sectionName"),
    "MeshExternalService": ("mesh", "tags", "proxyTypes", "sectionName"),
    "MeshServiceSubset": ("mesh", "proxyTypes", "labels", "namespace", "sectionName"),
    "MeshGateway": ("mesh", "proxyTypes", "labels", "namespace", "sectionName"),
}
_NAME: Final = re.compile(r"[0-9a-z.\-_]*")
_BAD_NAME: Final = "invalid characters: must consist of lower case alphanumeric characters, '-', '.' and '_'."


def target_ref_violations(
    ref: TargetRef,
    path: str,
    *,
    kinds: Collection[str],
    inbound_policy: bool = False,
    tags_on_gateway: bool = False,
) -> Iterator[Violation]:
    """What is wrong with a targetRef at a place where ``kinds`` are allowed."""
    if not ref.kind:
        yield Violation(f"{path}.kind", MUST_BE_DEFINED)
    elif ref.kind not in kinds:
        yield Violation(f"{path}.kind", f"value '{ref.kind}' is not supported")
    elif ref.kind in _FORBIDDEN:  # MeshMultiZoneService is not checked, as in Kuma
        if ref.proxy_types == ():
            yield Violation(f"{path}.proxyTypes", "must be undefined or have at least one element")
        forbidden = _FORBIDDEN[ref.kind]
        if ref.kind == "MeshGateway" and not tags_on_gateway:
            forbidden = (*forbidden, "tags")
        for field in forbidden:
            if _given(ref, field):
                yield Violation(f"{path}.{field}", f"must not be set with kind {ref.kind}")
        yield from _identification_violations(ref, path, inbound_policy=inbound_policy)


def _given(ref: TargetRef, field: str) -> bool:
    attribute = {"sectionName": "section_name", "proxyTypes": "proxy_types"}.get(field, field)
    return bool(getattr(ref, attribute))


def _identification_violations(ref: TargetRef, path: str, *, inbound_policy: bool) -> Iterator[Violation]:
    match ref.kind:
        case "Mesh":
            if ref.name:
                yield Violation(f"{path}.name", "using name with kind Mesh is not yet supported")
        case "Dataplane":
            if ref.labels and (ref.name or ref.namespace):
                yield Violation(f"{path}.labels", "either labels or name and namespace must be specified")
            if ref.section_name and not inbound_policy:
                yield Violation(f"{path}.sectionName", "can only be used with inbound policies")
        case "MeshSubset":
            yield from tags_violations(ref.tags or {}, f"{path}.tags")
        case "MeshService" | "MeshHTTPRoute" | "MeshExternalService":
            yield from _name_violations(ref, path)
            if not ref.name and not ref.labels:
                yield Violation(path, f"name or labels must be set when kind is {ref.kind}")
            if ref.labels and (ref.name or ref.namespace):
                names = "name" if ref.kind == "MeshExternalService" else "name and namespace"
                yield Violation(f"{path}.labels", f"either labels or {names} must be specified")
        case "MeshServiceSubset" | "MeshGateway":
            if not ref.name:
                yield Violation(f"{path}.name", f"must be set when kind is {ref.kind}")
            yield from _name_violations(ref, path)
            yield from tags_violations(ref.tags or {}, f"{path}.tags", selector=True)


def _name_violations(ref: TargetRef, path: str) -> Iterator[Violation]:
    if not _NAME.fullmatch(ref.name or ""):
        yield Violation(f"{path}.name", _BAD_NAME)


_TAG_KEY: Final = re.compile(r"[a-zA-Z0-9.\-_:/]*")
_TAG_VALUE: Final = re.compile(r"[a-zA-Z0-9.\-_:]*")
_SELECTOR_VALUE: Final = re.compile(r"[a-zA-Z0-9.\-_:/]*|\*")
_BAD_TAG_NAME: Final = "tag name must consist of alphanumeric characters, dots, dashes, slashes and underscores"
_BAD_TAG_VALUE: Final = "tag value must consist of alphanumeric characters, dots, dashes and underscores"
_BAD_SELECTOR: Final = (
    'tag value must consist of alphanumeric characters, dots, dashes, slashes and underscores or be "*"'
)


def tags_violations(tags: Mapping[str, str], path: str, *, selector: bool = False) -> Iterator[Violation]:
    """What is wrong with tags; a ``selector`` may also have slashes in its values, or be ``*``."""
    pattern, sentence = (_SELECTOR_VALUE, _BAD_SELECTOR) if selector else (_TAG_VALUE, _BAD_TAG_VALUE)
    for key, value in sorted(tags.items()):
        here = f'{path}["{key}"]'
        if not key:
            yield Violation(path, "tag name must be non-empty")
        if not _TAG_KEY.fullmatch(key):
            yield Violation(here, _BAD_TAG_NAME)
        if not value:
            yield Violation(here, "tag value must be non-empty")
        if not pattern.fullmatch(value):
            yield Violation(here, sentence)


_SPIFFE: Final = "spiffe://"
_TRUST_DOMAIN: Final = re.compile(r"[a-z0-9.\-_]+")
_SEGMENT: Final = re.compile(r"[a-zA-Z0-9.\-_]+")
_SUBDOMAIN_PATTERN: Final = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*"
_SUBDOMAIN: Final = re.compile(_SUBDOMAIN_PATTERN)
_BAD_SUBDOMAIN: Final = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start "
    "and end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
    f"'{_SUBDOMAIN_PATTERN}')"
)


def match_violations(match: Match, path: str) -> Iterator[Violation]:
    """What is wrong with a match on the peer's identity or on the server name it asked for."""
    if match.spiffe_id is not None and (problem := _spiffe_problem(match.spiffe_id.value)):
        yield Violation(f"{path}.spiffeID", f"must be a valid Spiffe ID: {problem}")
    if match.sni is not None:
        if not match.sni.type:
            yield Violation(f"{path}.sni.type", MUST_BE_SET)
        if not match.sni.value:
            yield Violation(f"{path}.sni.value", MUST_BE_SET)
        elif len(match.sni.value) > 253:
            yield Violation(f"{path}.sni.value", "must be no more than 253 characters")
        elif not _SUBDOMAIN.fullmatch(match.sni.value):
            yield Violation(f"{path}.sni.value", _BAD_SUBDOMAIN)


def _spiffe_problem(text: str) -> str:
    """Why a text is no SPIFFE id; empty when it is one."""
    if not text:
        return "cannot be empty"
    if not text.startswith(_SPIFFE):
        return "scheme is missing or invalid"
    trust_domain, slash, rest = text.removeprefix(_SPIFFE).partition("/")
    segments = rest.split("/") if slash else []
    if not trust_domain:
        return "trust domain is missing"
    if not _TRUST_DOMAIN.fullmatch(trust_domain):
        return "trust domain characters are limited to lowercase letters, numbers, dots, dashes, and underscores"
    if "" in segments[:-1]:
        return "path cannot contain empty segments"
    if segments and not segments[-1]:
        return "path cannot have a trailing slash"
    if not {".", ".."}.isdisjoint(segments):
        return "path cannot contain dot segments"
    if not all(_SEGMENT.fullmatch(segment) for segment in segments):
        return "path segment characters are limited to letters, numbers, dots, dashes, and underscores"
    return ""


def uri_san_pattern(match: SpiffeIdMatch) -> str:
    """
    A regular expression over all URI SANs of a peer's certificate, as Envoy joins them: with commas.

    Certificates of a mesh with ``Mesh.mtls`` carry several URIs, so comparing the whole text would let an exact id
    match nobody: an Allow would not allow, and a Deny would not deny. No URI of ours contains a comma, and an id is
    looked for at the start of a URI only, because tag names, which proxies choose, may contain slashes and colons.
    """
    rest = "(,.*)?" if match.type == "Exact" else ".*"
    return f"(.*,)?{re.escape(match.value)}{rest}"


_LONGEST: Final = timedelta(days=36_500)
"""Envoy refuses durations near 292 years, the most that Go can write, and with them the whole configuration."""


def positive_duration(value: timedelta | None, path: str) -> Iterator[Violation]:
    """A duration that, when given, must be longer than nothing."""
    if value is not None and value <= timedelta(0):
        yield Violation(path, GREATER_THAN_ZERO_WHEN_DEFINED)
    yield from too_long_duration(value, path)


def not_negative_duration(value: timedelta | None, path: str) -> Iterator[Violation]:
    """A duration that may be zero."""
    if value is not None and value < timedelta(0):
        yield Violation(path, NOT_NEGATIVE_WHEN_DEFINED)
    yield from too_long_duration(value, path)


def too_long_duration(value: timedelta | None, path: str) -> Iterator[Violation]:
    """A duration that Envoy cannot hold."""
    if value is not None and value > _LONGEST:
        yield Violation(path, f"must not be longer than {format_duration(_LONGEST)} when defined")


def positive_count(value: int | None, path: str) -> Iterator[Violation]:
    """A count that, when given, must not be zero."""
    if value is not None and value <= 0:
        yield Violation(path, GREATER_THAN_ZERO)


def percentage(value: int | None, path: str) -> Iterator[Violation]:
    """A whole percentage."""
    if value is not None and not 0 <= value <= 100:
        yield Violation(path, IN_PERCENT_RANGE)


def decimal_percentage(value: int | str | None, path: str) -> Iterator[Violation]:
    """A percentage with decimals."""
    if value is None:
        return
    try:
        number = parse_decimal(str(value))
    except ValueError:
        yield Violation(path, "string must be a valid number")
        return
    if not 0 <= number <= 100:
        yield Violation(path, IN_DECIMAL_PERCENT_RANGE)


def positive_decimal(value: int | str | None, path: str) -> Iterator[Violation]:
    """A decimal number above zero."""
    if value is None:
        return
    try:
        number = parse_decimal(str(value))
    except ValueError:
        yield Violation(path, "string must be a valid number")
        return
    if number <= 0:
        yield Violation(path, GREATER_THAN_ZERO)


_HEADER_VALUE: Final = re.compile(r"[^\x00-\x08\x0a-\x1f\x7f]*")
_LONGEST_HEADER: Final = 16_384


def header_value_violations(value: str, path: str) -> Iterator[Violation]:
    """A text that may stand in a header."""
    if not _HEADER_VALUE.fullmatch(value):
        yield Violation(path, "must not contain line breaks or control characters")
    if len(value.encode(errors="replace")) > _LONGEST_HEADER:
        yield Violation(path, f"must not be longer than {_LONGEST_HEADER} characters")


def top_level_warnings(ref: TargetRef | None) -> Iterator[str]:
    """What to tell the writer of a top-level targetRef."""
    if ref is None:
        return
    if ref.kind in {"MeshSubset", "MeshService", "MeshServiceSubset"}:
        yield f"{ref.kind} value for 'targetRef.kind' is deprecated, use Dataplane with labels instead"
    if ref.kind == "MeshHTTPRoute":
        yield ("MeshHTTPRoute value for 'targetRef.kind' is deprecated, use MeshHTTPRoute in spec.to[].targetRef")
    yield from reference_warnings(ref, "spec.targetRef", what="policy")


def reference_warnings(ref: TargetRef, path: str, *, what: str = "entry") -> Iterator[str]:
    """
    A sentence when a reference cannot hold yet, because its kind is not served, or not in this form.

    MeshService is the exception: by its name alone it stands for a ``kuma.io/service``, and works.
    """
    if ref.kind not in KNOWN_ELSEWHERE:
        return
    if ref.kind != "MeshService":
        yield f"{path}: {ref.kind} is not supported yet, this {what} has no effect"
    elif ref.labels:
        yield f"{path}: MeshService with labels is not supported yet, this {what} has no effect"
    elif ref.section_name and what == "entry":
        yield f"{path}: MeshService with sectionName is not supported yet, this {what} has no effect"
    else:
        ignored = [name for name, value in (("namespace", ref.namespace), ("sectionName", ref.section_name)) if value]
        for name in ignored:
            yield f"{path}.{name}: is not supported yet, it is ignored and name is taken for a kuma.io/service"
