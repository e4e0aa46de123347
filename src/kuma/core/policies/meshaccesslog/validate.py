"""What a schema cannot say about a MeshAccessLog."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any, Final

from google.protobuf.json_format import ParseDict, ParseError
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

from kuma.core.errors import MeshError, Violation
from kuma.core.policies._kit.format import format_violations
from kuma.core.policies._kit.validation import (
    FROM_IS_DEPRECATED,
    MUST_BE_DEFINED,
    MUST_NOT_BE_EMPTY,
    NO_LIST_DEFINED,
    RULES_EXCLUDE_TO_AND_FROM,
    TOP_LEVEL_KINDS,
    match_violations,
    reference_warnings,
    target_ref_violations,
    top_level_warnings,
)
from kuma.core.policies.meshaccesslog.spec import (
    Backend,
    Conf,
    File,
    Format,
    Item,
    MeshAccessLog,
    OpenTelemetry,
    Rule,
    Tcp,
)
from kuma.core.units import is_hostname, is_ip

PLACEHOLDER: Final = re.compile(
    r"%(KUMA_SOURCE_ADDRESS_WITHOUT_PORT|KUMA_SOURCE_ADDRESS|KUMA_SOURCE_SERVICE|KUMA_DESTINATION_SERVICE|KUMA_MESH"
    r"|KUMA_TRAFFIC_DIRECTION|KUMA_ZONE|KUMA_WORKLOAD)%"
)
"""What the control plane fills in, before Envoy sees it."""
_DEEPEST_BODY: Final = 50
_TO_KINDS: Final = ("Mesh", "MeshService", "MeshExternalService", "MeshMultiZoneService", "MeshHTTPRoute")
_FILE_PATH: Final = re.compile(r"/[^\x00]*[^/\x00]")
_ADDRESS: Final = re.compile(r"(?:\[(?P<v6>[0-9a-fA-F:.]+)\]|(?P<host>[^:\[\]]+))(?::(?P<port>[0-9]{1,5}))?")
_BACKENDS: Final = {"Tcp": "tcp", "File": "file", "OpenTelemetry": "openTelemetry"}


class BodyInvalid(MeshError):
    """The body of a log record is neither text nor an OTLP ``AnyValue``; the text says why."""


def parsed_body(body: Any) -> AnyValue:
    """
    The body of a log record as a message.

    Raises:
        BodyInvalid: it is none.
    """
    if isinstance(body, str):
        return AnyValue(string_value=body)
    if not isinstance(body, dict):
        raise BodyInvalid("an object or text is needed")
    try:
        parsed = ParseDict(body, AnyValue(), max_recursion_depth=_DEEPEST_BODY)
    except (ParseError, ValueError, TypeError, OverflowError, AttributeError) as error:
        raise BodyInvalid(str(error)) from None
    if parsed.WhichOneof("value") is not None and not _is_of_texts(parsed):
        raise BodyInvalid("Envoy takes texts, lists and key-value lists only; write other values as text")
    return parsed


def _is_of_texts(value: AnyValue) -> bool:
    match value.WhichOneof("value"):
        case "string_value":
            return True
        case "array_value":
            return all(map(_is_of_texts, value.array_value.values))
        case "kvlist_value":
            # Envoy's OpenTelemetry is older than keys by number.
            return all(_is_of_texts(pair.value) and not pair.key_strindex for pair in value.kvlist_value.values)
    return False


def texts_of(value: AnyValue) -> Iterator[AnyValue]:
    """Every text in a body, in which Envoy looks for commands."""
    match value.WhichOneof("value"):
        case "string_value":
            yield value
        case "array_value":
            for item in value.array_value.values:
                yield from texts_of(item)
        case "kvlist_value":
            for pair in value.kvlist_value.values:
                yield from texts_of(pair.value)


def pairs_of(value: AnyValue) -> Iterator[KeyValue]:
    """Every key with a value in a body; the control plane fills in its placeholders in keys, too."""
    for item in value.array_value.values:
        yield from pairs_of(item)
    for pair in value.kvlist_value.values:
        yield pair
        yield from pairs_of(pair.value)


def host_and_port(text: str) -> tuple[str, int | None] | None:
    """``host:port`` or ``host``, IPv6 in brackets; None when it is neither."""
    found = _ADDRESS.fullmatch(text)
    if found is None:
        return None
    host, port = found["v6"] or found["host"], int(found["port"]) if found["port"] else None
    sound = is_ip(host) if found["v6"] else is_ip(host) or is_hostname(host)
    return (host, port) if sound and (port is None or 0 < port <= 65535) else None


def validate(spec: MeshAccessLog) -> Iterator[Violation]:
    """Every broken rule."""
    if spec.rules and (spec.to or spec.from_):
        yield Violation("spec", RULES_EXCLUDE_TO_AND_FROM)
    if not (spec.rules or spec.to or spec.from_):
        yield Violation("spec", NO_LIST_DEFINED)
    if spec.target_ref is not None:
        yield from target_ref_violations(
            spec.target_ref,
            "spec.targetRef",
            kinds=TOP_LEVEL_KINDS,
            inbound_policy=bool(spec.rules or spec.from_),
            tags_on_gateway=True,
        )
    for index, item in enumerate(spec.from_):
        path = f"spec.from[{index}]"
        yield from target_ref_violations(item.target_ref, f"{path}.targetRef", kinds=("Mesh",))
        yield from _conf_violations(item.default, f"{path}.default")
    for index, item in enumerate(spec.to):
        path = f"spec.to[{index}]"
        kinds = ("Mesh",) if spec.target.kind == "MeshGateway" else _TO_KINDS
        yield from target_ref_violations(item.target_ref, f"{path}.targetRef", kinds=kinds)
        yield from _conf_violations(item.default, f"{path}.default")
    for index, rule in enumerate(spec.rules):
        path = f"spec.rules[{index}]"
        for number, match in enumerate(rule.matches):
            yield from match_violations(match, f"{path}.matches[{number}]")
        yield from _conf_violations(rule.default, f"{path}.default")


def warnings(spec: MeshAccessLog) -> Iterator[str]:
    """Deprecated forms, and what is accepted without effect."""
    yield from top_level_warnings(spec.target_ref)
    if spec.from_:
        yield FROM_IS_DEPRECATED
    for index, item in enumerate(spec.to):
        yield from reference_warnings(item.target_ref, f"spec.to[{index}].targetRef")
    lists: dict[str, Sequence[Item | Rule]] = {"to": spec.to, "from": spec.from_, "rules": spec.rules}
    confs = [
        (f"spec.{name}[{index}].default", entry.default)
        for name, entries in lists.items()
        for index, entry in enumerate(entries)
    ]
    backends = [
        (f"{path}.backends[{index}]", backend)
        for path, conf in confs
        for index, backend in enumerate(conf.backends or ())
    ]
    if any(backend.open_telemetry is not None and backend.open_telemetry.endpoint for _, backend in backends):
        yield (
            "openTelemetry.endpoint is deprecated, use openTelemetry.backendRef with a MeshOpenTelemetryBackend "
            "resource instead"
        )
    for path, backend in backends:
        yield from _backend_warnings(backend, path)


def _backend_warnings(backend: Backend, path: str) -> Iterator[str]:
    if backend.type == "OpenTelemetry" and backend.open_telemetry is not None and backend.open_telemetry.backend_ref:
        yield (
            f"{path}.openTelemetry.backendRef: MeshOpenTelemetryBackend is not supported yet, this backend has no "
            "effect; use openTelemetry.endpoint"
        )
    if backend.type == "Tcp" and backend.tcp is not None:
        address = host_and_port(backend.tcp.address)
        if address is not None and address[1] is None:
            yield f"{path}.tcp.address: has no port, so no line can be delivered"


def _conf_violations(conf: Conf, path: str) -> Iterator[Violation]:
    if conf.backends is None:
        yield Violation(f"{path}.backends", MUST_BE_DEFINED)
    for index, backend in enumerate(conf.backends or ()):
        yield from _backend_violations(backend, f"{path}.backends[{index}]")


def _backend_violations(backend: Backend, path: str) -> Iterator[Violation]:
    here = f"{path}.{_BACKENDS[backend.type]}"
    match backend:
        case Backend(type="File", file=File() as file):
            if not _FILE_PATH.fullmatch(file.path):
                yield Violation(f"{here}.path", "file backend requires a valid path")
            yield from _format_violations(file.format, f"{here}.format")
        case Backend(type="Tcp", tcp=Tcp() as tcp):
            if host_and_port(tcp.address) is None:
                yield Violation(f"{here}.address", "tcp backend requires valid address")
            yield from _format_violations(tcp.format, f"{here}.format")
        case Backend(type="OpenTelemetry", open_telemetry=OpenTelemetry() as open_telemetry):
            yield from _open_telemetry_violations(open_telemetry, here)
        case _:
            yield Violation(here, MUST_BE_DEFINED)


def _format_violations(format: Format | None, path: str) -> Iterator[Violation]:
    if format is None:
        return
    if format.type == "Plain":
        if format.plain is None:
            yield Violation(f"{path}.plain", MUST_BE_DEFINED)
        elif not format.plain:
            yield Violation(f"{path}.plain", MUST_NOT_BE_EMPTY)
        else:
            yield from _text_violations(format.plain, f"{path}.plain")
        return
    if format.json_ is None:
        yield Violation(f"{path}.json", MUST_BE_DEFINED)
    elif not format.json_:
        yield Violation(f"{path}.json", MUST_NOT_BE_EMPTY)
    for index, field in enumerate(format.json_ or ()):
        here = f"{path}.json[{index}]"
        if not field.key:
            yield Violation(f"{here}.key", "key cannot be empty")
        if not field.value:
            yield Violation(f"{here}.value", "value cannot be empty")
        if not _is_json(f'{{"{field.key}": "{field.value}"}}'):
            yield Violation(here, "is not a valid JSON object")
        yield from _text_violations(field.value, f"{here}.value")


def _text_violations(text: str, path: str) -> Iterator[Violation]:
    # What is filled in stands between commands, never in one: no command has a line break.
    yield from format_violations(PLACEHOLDER.sub(lambda found: "\n" * len(found[0]), text), path)


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _open_telemetry_violations(backend: OpenTelemetry, path: str) -> Iterator[Violation]:
    if not backend.endpoint and backend.backend_ref is None:
        yield Violation(path, "openTelemetry must have exactly one defined: endpoint, backendRef")
    if backend.endpoint and backend.backend_ref is not None:
        yield Violation(path, "openTelemetry must have only one type defined: endpoint, backendRef")
    if backend.endpoint and host_and_port(backend.endpoint) is None:
        yield Violation(f"{path}.endpoint", "must be in host:port format, not a URL")
    if backend.backend_ref is not None and not backend.backend_ref.labels:
        yield Violation(f"{path}.backendRef", "backendRef must have exactly one defined: labels")
    for index, attribute in enumerate(backend.attributes or ()):
        here = f"{path}.attributes[{index}]"
        if attribute.key.startswith("otel."):
            yield Violation(f"{here}.key", "must not start with otel., which OpenTelemetry keeps for itself")
        yield from _text_violations(attribute.value, f"{here}.value")
    yield from _body_violations(backend.body, f"{path}.body")


def _body_violations(body: Any, path: str) -> Iterator[Violation]:
    if body is None:
        return
    try:
        parsed = parsed_body(body)
    except BodyInvalid as error:
        yield Violation(path, f"must be text or an OTLP AnyValue: {error}")
        return
    for text in texts_of(parsed):
        yield from _text_violations(text.string_value, path)
