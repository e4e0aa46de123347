"""Envoy's command operators in text that users write: ``[%START_TIME%] %REQ(:PATH)% %PROTOCOL%``.

Envoy refuses a listener with a command that it does not know, and with it every later change of that proxy, so the
commands are checked when a policy is written. What they are is Envoy 1.40's.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from kuma.core.errors import Violation

_LONGEST: Final = 32_768
_COMMAND: Final = re.compile(r"%%|%([A-Z0-9_]+)(\((.*?)\))?(:[0-9]{1,9})?%")

_HEADER: Final = r":?[A-Za-z0-9!#$&'*+.^_|~-]+"
_HEADERS: Final = rf"{_HEADER}(\?{_HEADER})?"
_STATE: Final = r"[^:]+(:(PLAIN|TYPED|FIELD:.+))?"
_SOME: Final = r".+"
_RESERVED: Final = (
    "as|break|const|continue|else|for|function|if|import|in|let|loop|package|namespace|return|var|void|while"
)
_PATH: Final = (
    rf"(?!(?:{_RESERVED})\b)[A-Za-z_][A-Za-z0-9_]*"
    r"""(\.(?!(?:in|true|false|null)\b)[A-Za-z_][A-Za-z0-9_]*|\[[0-9]{1,9}\]|\['[^'\\]*'\]|\["[^"\\]*"\]){0,30}"""
)
"""
What of Envoy's expression language is let through: ``request.headers['x-user']``.

Whether it takes an expression depends on types and on how it was built; no library tells.
"""
_EXPRESSIONS: Final = ("CEL", "TYPED_CEL")
_NEED_ARGUMENTS: Final = {
    **dict.fromkeys(("REQ", "RESP", "TRAILER", "REQUEST_HEADER", "RESPONSE_HEADER", "RESPONSE_TRAILER"), _HEADERS),
    **dict.fromkeys(("DYNAMIC_METADATA", "CLUSTER_METADATA", "UPSTREAM_METADATA"), _SOME),
    "METADATA": r"(DYNAMIC|CLUSTER|ROUTE|UPSTREAM_HOST|LISTENER|LISTENER_FILTER_CHAIN|VIRTUAL_HOST):.+",
    **dict.fromkeys(("FILTER_STATE", "UPSTREAM_FILTER_STATE"), _STATE),
    **dict.fromkeys(_EXPRESSIONS, _PATH),
    **dict.fromkeys(("COALESCE", "ENVIRONMENT", "QUERY_PARAM"), _SOME),
    "COMMON_DURATION": r"\w+:\w+(:(ms|us|ns))?",
}
"""Commands that say nothing by themselves, and what they may be told."""
_MAY_HAVE_ARGUMENTS: Final = {
    **dict.fromkeys(
        """
        DOWNSTREAM_PEER_CERT_V_END DOWNSTREAM_PEER_CERT_V_START EMIT_TIME EMIT_TIME_LOCAL START_TIME
        START_TIME_LOCAL UPSTREAM_PEER_CERT_V_END UPSTREAM_PEER_CERT_V_START
        """.split(),  # noqa: SIM905 - words without quotes read better
        r".*",
    ),
    "PATH": r"(WQ|NQ)(:ORIG)?",
    "QUERY_PARAMS": r"ORIG|DECODED",
}
_JSON: Final = re.compile(r"[ -\[\]-~]+")
"""ASCII without backslashes: other JSON is not read by everybody in the same way."""
_OPTIONS: Final = frozenset({"command", "param", "max_length"})
_MAY_BE_CUT: Final = _NEED_ARGUMENTS.keys() - {"CLUSTER_METADATA", "UPSTREAM_METADATA", "COMMON_DURATION"} | {
    "PATH",
    "QUERY_PARAMS",
}
"""Commands that take a length, as in ``%REQ(:PATH):20%``."""
_PLAIN: Final = frozenset(
    """
    ACCESS_LOG_TYPE BYTES_RECEIVED BYTES_RETRANSMITTED BYTES_SENT CONNECTION_ID CONNECTION_TERMINATION_DETAILS
    CUSTOM_FLAGS DOWNSTREAM_CX_RTT DOWNSTREAM_DECOMPRESSED_HEADER_BYTES_RECEIVED
    DOWNSTREAM_DECOMPRESSED_HEADER_BYTES_SENT DOWNSTREAM_DETECTED_CLOSE_TYPE DOWNSTREAM_DIRECT_LOCAL_ADDRESS
    DOWNSTREAM_DIRECT_LOCAL_ADDRESS_ENDPOINT_ID DOWNSTREAM_DIRECT_LOCAL_ADDRESS_WITHOUT_PORT
    DOWNSTREAM_DIRECT_LOCAL_PORT DOWNSTREAM_DIRECT_REMOTE_ADDRESS DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT
    DOWNSTREAM_DIRECT_REMOTE_PORT DOWNSTREAM_HANDSHAKE_DURATION DOWNSTREAM_HEADER_BYTES_RECEIVED
    DOWNSTREAM_HEADER_BYTES_SENT DOWNSTREAM_LOCAL_ADDRESS DOWNSTREAM_LOCAL_ADDRESS_ENDPOINT_ID
    DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT DOWNSTREAM_LOCAL_CLOSE_REASON DOWNSTREAM_LOCAL_DNS_SAN
    DOWNSTREAM_LOCAL_EMAIL_SAN DOWNSTREAM_LOCAL_IP_SAN DOWNSTREAM_LOCAL_OTHERNAME_SAN DOWNSTREAM_LOCAL_PORT
    DOWNSTREAM_LOCAL_SUBJECT DOWNSTREAM_LOCAL_URI_SAN DOWNSTREAM_PEER_CERT DOWNSTREAM_PEER_CHAIN_FINGERPRINTS_1
    DOWNSTREAM_PEER_CHAIN_FINGERPRINTS_256 DOWNSTREAM_PEER_CHAIN_SERIALS DOWNSTREAM_PEER_DNS_SAN
    DOWNSTREAM_PEER_EMAIL_SAN DOWNSTREAM_PEER_FINGERPRINT_1 DOWNSTREAM_PEER_FINGERPRINT_256
    DOWNSTREAM_PEER_IP_SAN DOWNSTREAM_PEER_ISSUER DOWNSTREAM_PEER_ISSUER_FINGERPRINT_256
    DOWNSTREAM_PEER_ISSUER_SERIAL DOWNSTREAM_PEER_OTHERNAME_SAN DOWNSTREAM_PEER_SERIAL DOWNSTREAM_PEER_SUBJECT
    DOWNSTREAM_PEER_URI_SAN DOWNSTREAM_REMOTE_ADDRESS DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT
    DOWNSTREAM_REMOTE_PORT DOWNSTREAM_TLS_CIPHER DOWNSTREAM_TLS_GROUP DOWNSTREAM_TLS_SESSION_ID
    DOWNSTREAM_TLS_VERSION DOWNSTREAM_TRANSPORT_FAILURE_REASON DOWNSTREAM_WIRE_BYTES_RECEIVED
    DOWNSTREAM_WIRE_BYTES_SENT DURATION FILTER_CHAIN_NAME GRPC_STATUS GRPC_STATUS_NUMBER HOSTNAME LISTENER_NAME
    LOCAL_REPLY_BODY PROTOCOL REQUESTED_SERVER_NAME REQUEST_DURATION REQUEST_HEADERS_BYTES
    REQUEST_TX_DURATION RESPONSE_CODE RESPONSE_CODE_DETAILS RESPONSE_DURATION RESPONSE_FLAGS RESPONSE_FLAGS_LONG
    RESPONSE_HEADERS_BYTES RESPONSE_TRAILERS_BYTES RESPONSE_TX_DURATION ROUNDTRIP_DURATION ROUTE_NAME
    ROUTE_RESOLUTION_COUNT ROUTE_RESOLUTION_TIME_US SPAN_ID STREAM_ID TLS_JA3_FINGERPRINT TLS_JA4_FINGERPRINT
    TRACE_ID UNIQUE_ID UPSTREAM_CLUSTER UPSTREAM_CLUSTER_RAW UPSTREAM_CONNECTION_ID
    UPSTREAM_CONNECTION_IDS_ATTEMPTED UPSTREAM_CONNECTION_POOL_READY_DURATION
    UPSTREAM_DECOMPRESSED_HEADER_BYTES_RECEIVED UPSTREAM_DECOMPRESSED_HEADER_BYTES_SENT
    UPSTREAM_DETECTED_CLOSE_TYPE UPSTREAM_HEADER_BYTES_RECEIVED UPSTREAM_HEADER_BYTES_SENT UPSTREAM_HOST
    UPSTREAM_HOSTS_ATTEMPTED UPSTREAM_HOSTS_ATTEMPTED_WITHOUT_PORT UPSTREAM_HOST_NAME
    UPSTREAM_HOST_NAMES_ATTEMPTED UPSTREAM_HOST_NAMES_ATTEMPTED_WITHOUT_PORT UPSTREAM_HOST_NAME_WITHOUT_PORT
    UPSTREAM_LOCAL_ADDRESS UPSTREAM_LOCAL_ADDRESS_WITHOUT_PORT UPSTREAM_LOCAL_CLOSE_REASON
    UPSTREAM_LOCAL_DNS_SAN UPSTREAM_LOCAL_IP_SAN UPSTREAM_LOCAL_PORT UPSTREAM_LOCAL_URI_SAN UPSTREAM_PEER_CERT
    UPSTREAM_PEER_DNS_SAN UPSTREAM_PEER_IP_SAN UPSTREAM_PEER_ISSUER UPSTREAM_PEER_SUBJECT UPSTREAM_PEER_URI_SAN
    UPSTREAM_PROTOCOL UPSTREAM_REMOTE_ADDRESS UPSTREAM_REMOTE_ADDRESS_ENDPOINT_ID
    UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT UPSTREAM_REMOTE_PORT UPSTREAM_REQUEST_ATTEMPT_COUNT
    UPSTREAM_SERVER_NAME UPSTREAM_TLS_CIPHER UPSTREAM_TLS_GROUP UPSTREAM_TLS_SESSION_ID UPSTREAM_TLS_VERSION
    UPSTREAM_TRANSPORT_FAILURE_REASON UPSTREAM_WIRE_BYTES_RECEIVED UPSTREAM_WIRE_BYTES_SENT VIRTUAL_CLUSTER_NAME
    """.split()  # noqa: SIM905 - words without quotes read better
)


def format_violations(text: str, path: str) -> Iterator[Violation]:
    """What Envoy would refuse; the first fault only."""
    if len(text) > _LONGEST:
        yield Violation(path, f"must not be longer than {_LONGEST} characters")
        return
    at = text.find("%")
    while at >= 0:
        found = _COMMAND.match(text, at)
        if found is None:
            yield Violation(path, f"has a % at character {at + 1} that starts no command; a percent sign is written %%")
            return
        name, arguments, length = found[1], found[3], found[4]
        if name is not None and (problem := _problem(name, arguments, cut=length is not None)):
            yield Violation(path, problem)
            return
        at = text.find("%", found.end())


def _problem(name: str, arguments: str | None, *, cut: bool) -> str:
    """What is wrong with a command; empty when nothing is."""
    if name not in _PLAIN and name not in _MAY_HAVE_ARGUMENTS and name not in _NEED_ARGUMENTS:
        return f"%{name}% is no command that Envoy knows"
    if cut and name not in _MAY_BE_CUT:
        return f"%{name}% takes no length"
    if name in _PLAIN:
        return "" if arguments is None else f"%{name}% takes no argument"
    if not arguments:
        return f"%{name}% needs an argument: %{name}(…)%" if name in _NEED_ARGUMENTS else ""
    if not re.fullmatch(_NEED_ARGUMENTS.get(name) or _MAY_HAVE_ARGUMENTS[name], arguments):
        if name in _EXPRESSIONS:
            return f"%{name}({arguments})% must name a value, such as request.headers['x-user']; nothing is computed"
        return f"%{name}({arguments})% has an argument Envoy does not take"
    return _coalesce_problem(arguments) if name == "COALESCE" else ""


def _coalesce_problem(arguments: str) -> str:
    """The commands of which the first that says something counts: ``{"operators": ["PROTOCOL", …]}``."""
    try:
        operators = json.loads(arguments)["operators"] if _JSON.fullmatch(arguments) else None
    except (ValueError, KeyError, TypeError, RecursionError):
        operators = None
    if not isinstance(operators, list) or not operators:
        return '%COALESCE% needs plain JSON such as {"operators": ["PROTOCOL", {"command": "REQ", "param": ":path"}]}'
    return next(filter(None, map(_operator_problem, operators)), "")


def _operator_problem(operator: Any) -> str:
    given: dict[str, Any] = {"command": operator} if isinstance(operator, str) else operator
    match given:
        case {"command": str(name)} if name != "COALESCE" and _are_options(given):
            problem = _problem(name, given.get("param") or None, cut="max_length" in given)
            return problem and f"in %COALESCE%: {problem}"
    return f"in %COALESCE%: {json.dumps(operator)[:100]} is no command"


def _are_options(given: Mapping[str, Any]) -> bool:
    param, length = given.get("param", ""), given.get("max_length", 1)
    return given.keys() <= _OPTIONS and isinstance(param, str) and type(length) is int and 0 < length <= _LONGEST
