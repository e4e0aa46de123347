"""
What people write into policies: usual values, and values at the edge of what is accepted, legal or not.

Whether a value is legal where it stands, the validators decide; what they let through, Envoy must take.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

Choice = tuple[Sequence[Any], Sequence[Any]]
"""Usual values, and those at the edge."""

_LARGEST: Final = 2**31 - 1
_LONGEST_HEADER: Final = 16_384

DURATIONS: Final[Choice] = (
    ("1ms", "5s", "1h30m", "250ms", "1m"),
    ("0s", "1ns", "1us", "0.9ms", "49ms", "50ms", "50.001ms", "51ms", "1.5s", "876000h", "876001h", "-1s", "0.001us"),
)
COUNTS: Final[Choice] = ((1, 2, 3, 5, 100), (0, 10, 101, 503, 65_537, 8_000_000, _LARGEST, _LARGEST + 1, -1))
LONG_COUNTS: Final[Choice] = ((1, 5), (0, 2**63 - 1, 2**63))
NUMBERS: Final[Choice] = (
    (1, 50, "12.5", "0.1"),
    (0, 100, 101, "0", "0.0", "00.5", "100", "100.0", "99.99999", "33.3333333333333", "0.0000001", "1e1", "-0.1", "+5"),
)
STATUSES: Final[Choice] = ((429, 503, 404), (100, 199, 200, 418, 511, 599, 600, 0, 425, 103))
TEXTS: Final[Choice] = (("a", "v1", "503"), ("", "ü☃", "a\x00b", "a\nb", "%", "%%", "x" * 300, '"\\', "{}", " "))
PATTERNS: Final[Choice] = (
    ("v.*", "[a-z]+", "a"),
    (
        "",
        "(",
        "☃+",
        "\\d{3}",
        "\\x00",
        "(?i)a|b",
        "a{1000}",
        "a{1001}",
        "(?=a)",
        "\x00",
        "\\C",
        "(?P<a>b)",
        "^$",
        "[[:^alpha:]]",
    ),
)
HEADER_NAMES: Final[Choice] = (
    ("x-a", "x-b", "x-c", "x-d", "user-agent"),
    ("host", "te", "content-length", "!#$%&'*+-.^_`|~", "x" * 256, "x" * 257, ":path", "X-Upper", "x y", "x-kuma-tags"),
)
HEADER_VALUES: Final[Choice] = (
    ("v", "a,b", "%PROTOCOL%"),
    (
        *("", ",", "," * 399, "," * 400, "ü☃", "a\tb", "a\nb", "\x7f", "%", "%%", "100%", "%REQ(:path?x-a):9%"),
        *("%PROTOCOL:5%", "%START_TIME(%s)%", "%UPSTREAM_METADATA(a:b)%", "%FILTER_STATE(a:PLAIN)%", "%RESP(a)%"),
        *("v" * _LONGEST_HEADER, "v" * (_LONGEST_HEADER + 1), "☃" * 5461, "☃" * 5462, "%DOWNSTREAM_PEER_URI_SAN%"),
        *('%COALESCE({"operators": ["PROTOCOL"]})%', "%CEL(request.path)%", "%KUMA_MESH%", "%HOSTNAME%"),
    ),
)
HOST_NAMES: Final[Choice] = (
    ("backend.mesh", "a.example.com"),
    ("a", "0", "1.2.3.4", "a-b.c", "a..b", "-a", "A", "a." * 126 + "a", "a." * 127 + "a", "x" * 64, "☃", "*.a", "a_b"),
)
PATHS: Final[Choice] = (
    ("/", "/a", "/a/b"),
    (
        "/a/",
        "//",
        "a",
        "",
        "/a b",
        "/?q",
        "/#f",
        "/%zz",
        "/ü☃",
        "/\\1",
        "/\\",
        "/a\nb",
        "/a\x00",
        "/" + "p" * 9_000,
        "/{a}",
    ),
)
PARAMETERS: Final[Choice] = (
    ("q", "r", "s"),
    ("", "ü☃", "a b", "a=b", "x" * 1024, "x" * 1025, "☃" * 342, "\x00", "q[]"),
)
WEIGHTS: Final[Choice] = ((1, 2, 9), (0, 100, _LARGEST, _LARGEST))
ELSEWHERE: Final = (
    {"kind": "MeshExternalService"},
    {"kind": "MeshMultiZoneService", "port": 80},
    {"kind": "MeshService", "sectionName": "main"},
)
"""Backends of kinds, or in forms, that lead nowhere yet."""
SPIFFE_IDS: Final[Choice] = (
    ("spiffe://default", "spiffe://default/a", "spiffe://default/b/c"),
    (
        "spiffe://a.b-c_d/E.f-g_h",
        "spiffe://A",
        "spiffe://",
        "spiffe://a/..",
        "spiffe://a/" + "b" * 2_000,
        "a",
        "spiffe://a//",
    ),
)
ZONES: Final[Choice] = (("z1", "z2"), ("", "☃", "a b", "z" * 300))
BANDWIDTHS: Final[Choice] = (
    ("50 Mbps", "1kbps", "1 Gbps"),
    ("0 kbps", "999999999 Gbps", "9999999999kbps", "01Mbps", "1  Mbps", "", "5 bps"),
)
ADDRESSES: Final[Choice] = (
    ("collector:4317", "10.0.0.9:4317", "logs"),
    (
        *("[::1]:1", "[FD00::1]", "::1", "a.:65535", "a:0", "a:65536", "0.0.0.0:1", "1.2.3:1", "[::ffff:1.2.3.4]:9"),
        *("http://a:1", "COLLECTOR:4317", "x" * 63 + ":1", "x" * 64 + ":1", "a_b:1", "a b:1"),
    ),
)
FORMATS: Final[Choice] = (
    ("plain", "%START_TIME% %KUMA_MESH%", "%REQ(:METHOD)% %RESPONSE_CODE%", "%KUMA_SOURCE_SERVICE%->%UPSTREAM_HOST%"),
    (
        *(
            "",
            "%",
            "%%",
            "100%",
            "ü☃",
            "a\nb",
            "\x00",
            "%NO%",
            "%REQ%",
            "%REQ(a?b):3%",
            "%PROTOCOL(a)%",
            "%PROTOCOL:1%",
        ),
        *("%START_TIME(%Y\n)%", "%START_TIME(%s.%3f)%", "%START_TIME():1%", "%PATH(NQ):5%", "%QUERY_PARAMS(ORIG)%"),
        *("%%KUMA_ZONE%%", "%%%KUMA_ZONE%%%", "%REQ(%KUMA_ZONE%)%", "%KUMA_ZONE%%KUMA_WORKLOAD%", "%KUMA_MESH%:5%%"),
        *("%DYNAMIC_METADATA(a:b):5%", "%METADATA(ROUTE:a)%", "%CLUSTER_METADATA(a)%", "%FILTER_STATE(a:FIELD:b)%"),
        *("%CEL(request.headers['a'])%", "%CEL(1+)%", "%CEL(foo(1))%", '%COALESCE({"operators":["PATH"]})%'),
        *("%COALESCE({})%", "%COMMON_DURATION(a:b:us)%", "%COMMON_DURATION(a:b:c)%", "%TRACE_ID%", "%UNIQUE_ID%"),
        *(
            "x" * 32_768,
            "x" * 32_769,
            '\\"',
            '"',
            "\\u0000",
            "%KUMA_SOURCE_ADDRESS%",
            "%GRPC_STATUS%",
            "%ENVIRONMENT(A)%",
        ),
    ),
)
JSON_KEYS: Final[Choice] = (
    ("a", "b", "start"),
    ("", "ü☃", "%PROTOCOL%", '\\"', '"', "\\n", "a.b", "x" * 300, "message"),
)
_TEXT: Final = {"stringValue": "%PROTOCOL%"}
BODIES: Final[Choice] = (
    ("%PROTOCOL% %KUMA_MESH%", {"kvlistValue": {"values": [{"key": "a", "value": _TEXT}]}}),
    (
        *(
            "",
            "%NO%",
            5,
            [],
            {},
            {"stringValue": "%%KUMA_MESH%%"},
            {"intValue": "5"},
            {"boolValue": False},
            {"nope": 1},
        ),
        *(
            {"doubleValue": "NaN"},
            {"bytesValue": "AA=="},
            {"arrayValue": {}},
            {"kvlistValue": {}},
            {"stringValue": None},
        ),
        {"arrayValue": {"values": [_TEXT, {"arrayValue": {"values": [_TEXT]}}, {"kvlistValue": {}}]}},
        {"arrayValue": {"values": [{}]}},
        {"kvlistValue": {"values": [{"key": "a"}, {"value": _TEXT}]}},
        {"kvlistValue": {"values": [{"value": _TEXT}, {"value": _TEXT}, {"key": "%KUMA_ZONE%", "value": _TEXT}]}},
    ),
)
HASHES: Final = (
    ("Header", "header"),
    ("Cookie", "cookie"),
    ("Connection", "connection"),
    ("SourceIP", "connection"),
    ("QueryParameter", "queryParameter"),
    ("FilterState", "filterState"),
)

BY_FIELD: Final[Mapping[str, Choice]] = {
    "File.path": (("/dev/null",), ("/dev/stdout", "//dev/null", "/dev/null/", "/", "a.log", "/dev/../dev/null", "")),
    "Tcp.address": ADDRESSES,
    "Attribute.key": (("a", "b.c"), ("A", "otel.a", "a.", "a_b.c0", "x" * 300, "")),
    "Attribute.value": FORMATS,
    "AffinityTag.key": (("version", "kuma.io/zone", "kuma.io/service"), ("", "ü☃", "x" * 300)),
    "FromZones.zones": ((["z1"], ["z1", "z2"]), ([], [""], ["☃"])),
    "RingHash.minRingSize": ((1, 1024), (0, 8_000_000, 8_000_001, 2048)),
    "RingHash.maxRingSize": ((1024, 4096), (0, 1, 8_000_000, 8_000_001)),
    "Maglev.tableSize": ((65_537, 503), (0, 1, 2, 3, 4, 65_536, 5_000_011, 5_000_012)),
    "LeastRequest.choiceCount": ((2, 4), (0, 1, _LARGEST, _LARGEST + 1)),
    "LeastRequest.activeRequestBias": ((1, "1.5"), (0, "0.0000000001", "1000000000", "1000000001", "-1", "x")),
    "Cookie.path": (("/", "/a"), ("", "a", "/ü☃", "/a\nb", "/a;b")),
    "Abort.httpStatus": STATUSES,
    "OnRateLimit.status": STATUSES,
    "HeaderValue.name": HEADER_NAMES,
    "HeaderValue.value": HEADER_VALUES,
    "ResetHeader.name": HEADER_NAMES,
    "Http.path": PATHS,
    "Http.expectedStatuses": (([200], [200, 204]), ([], [100], [599], [600], [99], [200] * 50)),
    "Http.retryOn": (
        (["5xx"], ["GatewayError", "503"], ["HttpMethodGet"]),
        ([], ["200", "200"], ["HttpMethodGet", "HttpMethodPost"], ["599"], ["nope"], ["Http3PostConnectFailure"]),
    ),
    "Http.hostSelectionMaxAttempts": LONG_COUNTS,
    "Conf.eventLogPath": (("/dev/null",), ("/dev/stdout", "/dev/null/", "", "a")),
    "HeaderModifier.remove": ((["x-e"], ["x-f", "x-g"]), ([], ["Host"], ["x-a"], [":path"], ["A b"], ["x" * 256])),
    "RequestRedirect.port": ((443, 8080), (0, 1, 65_535, 65_536)),
    "RequestRedirect.hostname": HOST_NAMES,
}
"""Of fields by type and name, where a value has a meaning of its own."""

_LUA: Final = """
name: UNIQUE
typedConfig:
  '@type': type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua
  defaultSourceCode: {inlineString: "function envoy_on_request(handle) handle:headers():add('x-lua', '1') end"}
"""
_CONNECTION_LIMIT: Final = """
name: UNIQUE
typedConfig:
  '@type': type.googleapis.com/envoy.extensions.filters.network.connection_limit.v3.ConnectionLimit
  statPrefix: UNIQUE
  maxConnections: 1000
"""
_ROUTER: Final = """
name: envoy.filters.http.router
typedConfig:
  '@type': type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
  suppressEnvoyHeaders: true
"""
_TCP_PROXY: Final = """
name: envoy.filters.network.tcp_proxy
typedConfig:
  '@type': type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
  maxDownstreamConnectionDuration: 3600s
"""
_MANAGER: Final = """
name: envoy.filters.network.http_connection_manager
typedConfig:
  '@type': type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
  streamErrorOnInvalidHttpMessage: true
"""
_CLUSTER: Final = """
name: UNIQUE
type: STATIC
connectTimeout: 1s
loadAssignment:
  clusterName: UNIQUE
  endpoints: [{lbEndpoints: [{endpoint: {address: {socketAddress: {address: 10.9.9.9, portValue: 80}}}}]}]
"""
_HOST: Final = """
name: UNIQUE
domains: [UNIQUE.example.com]
routes: [{match: {prefix: /}, directResponse: {status: 204}}]
"""
_BY_ORIGIN: Final = ("inbound", "outbound")
_TCP: Final = "envoy.filters.network.tcp_proxy"
_HTTP: Final = "envoy.filters.network.http_connection_manager"

PATCHES: Final[Sequence[tuple[str, Mapping[str, Any]]]] = (
    ("cluster", {"operation": "Add", "value": _CLUSTER}),
    ("cluster", {"operation": "Patch", "value": "connectTimeout: 7s\nperConnectionBufferLimitBytes: 65536"}),
    *(
        ("cluster", {"operation": "Patch", "match": {"origin": origin}, "jsonPatches": [
            {"op": "add", "path": "/respectDnsTtl", "value": True},
            {"op": "replace", "path": "/connectTimeout", "value": "3s"},
            {"op": "remove", "path": "/nothing"},
        ]})
        for origin in _BY_ORIGIN
    ),
    ("cluster", {"operation": "Remove", "match": {"name": "backend"}}),
    ("listener", {"operation": "Patch", "value": "perConnectionBufferLimitBytes: 32768"}),
    ("listener", {"operation": "Patch", "match": {"tags": {"kuma.io/service": "*"}}, "jsonPatches": [
        {"op": "add", "path": "/metadata/filterMetadata/patched/on", "value": "yes"},
    ]}),
    ("listener", {"operation": "Remove", "match": {"name": "nothing", "origin": "inbound"}}),
    ("networkFilter", {"operation": "AddFirst", "value": _CONNECTION_LIMIT}),
    ("networkFilter", {"operation": "AddLast", "match": {"origin": "outbound"}, "value": _CONNECTION_LIMIT}),
    *(
        ("networkFilter", {"operation": operation, "match": {"name": name}, "value": _CONNECTION_LIMIT})
        for operation in ("AddBefore",)
        for name in (_TCP, _HTTP)
    ),
    ("networkFilter", {"operation": "AddAfter", "match": {"name": "nothing"}, "value": _CONNECTION_LIMIT}),
    ("networkFilter", {"operation": "Patch", "match": {"name": _TCP}, "value": _TCP_PROXY}),
    ("networkFilter", {
        "operation": "Patch",
        "match": {"name": _HTTP, "listenerTags": {"kuma.io/service": "web"}},
        "value": _MANAGER,
    }),
    ("networkFilter", {"operation": "Patch", "match": {"name": _TCP}, "jsonPatches": [
        {"op": "add", "path": "/idleTimeout", "value": "9s"},
    ]}),
    ("networkFilter", {"operation": "Remove", "match": {"name": "envoy.filters.network.rbac"}}),
    ("httpFilter", {"operation": "AddFirst", "value": _LUA}),
    ("httpFilter", {"operation": "AddLast", "match": {"origin": "inbound"}, "value": _LUA}),
    ("httpFilter", {"operation": "AddBefore", "match": {"name": "envoy.filters.http.router"}, "value": _LUA}),
    ("httpFilter", {"operation": "Patch", "match": {"name": "envoy.filters.http.router"}, "value": _ROUTER}),
    ("httpFilter", {"operation": "Remove", "match": {"name": "envoy.filters.http.fault"}}),
    ("virtualHost", {"operation": "Add", "match": {"origin": "outbound"}, "value": _HOST}),
    ("virtualHost", {"operation": "Patch", "match": {}, "value": "requestHeadersToRemove: [x-p]"}),
    ("virtualHost", {"operation": "Patch", "match": {"name": "backend"}, "jsonPatches": [
        {"op": "add", "path": "/requestHeadersToRemove/-", "value": "x-q"},
    ]}),
    ("virtualHost", {"operation": "Remove", "match": {"name": "nothing"}}),
)  # fmt: skip
"""Changes of Envoy's own configuration that it surely takes; ``UNIQUE`` becomes a name of its own."""
