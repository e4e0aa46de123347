"""What Envoy gets from MeshAccessLog (spec/policies.md §14).

Kuma's placeholders are filled in here, because only the control plane knows what they stand for; everything else in a
format is Envoy's. Lines for a server go through a FIFO of kuma-dp, which sends them on. A logger has a condition where
its conf does not hold for all: an outbound request is logged by one conf, that of its route or else of its service; an
inbound one by every rule that holds for its client, as in Kuma.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from google.protobuf.message import Message
from google.protobuf.struct_pb2 import Struct
from opentelemetry.proto.common.v1.common_pb2 import AnyValue

from kuma.core.policies._kit.clients import as_written
from kuma.core.policies._kit.rules import InboundRule, InboundRules, Towards
from kuma.core.policies.meshaccesslog.spec import Backend, Conf, File, Format, OpenTelemetry, Tcp
from kuma.core.policies.meshaccesslog.validate import PLACEHOLDER, host_and_port, pairs_of, parsed_body, texts_of
from kuma.core.units import is_ip
from kuma.core.xds import names
from kuma.core.xds.clients import expression, quoted
from kuma.core.xds.draft import ChainDraft, ClusterDraft, InboundDraft, OutboundDraft
from kuma.core.xds.http import inspect_tls, socket_address, upstream_options
from kuma.core.xds.log_facts import LogFacts
from kuma.core.xds.pack import as_any
from kuma.envoy_api.envoy.config.accesslog.v3.accesslog_pb2 import AccessLog
from kuma.envoy_api.envoy.config.cluster.v3.cluster_pb2 import Cluster
from kuma.envoy_api.envoy.config.core.v3.base_pb2 import DataSource
from kuma.envoy_api.envoy.config.core.v3.substitution_format_string_pb2 import SubstitutionFormatString
from kuma.envoy_api.envoy.config.endpoint.v3.endpoint_components_pb2 import Endpoint, LbEndpoint, LocalityLbEndpoints
from kuma.envoy_api.envoy.extensions.access_loggers.file.v3.file_pb2 import FileAccessLog
from kuma.envoy_api.envoy.extensions.access_loggers.filters.cel.v3.cel_pb2 import ExpressionFilter
from kuma.envoy_api.envoy.extensions.access_loggers.open_telemetry.v3.logs_service_pb2 import (
    OpenTelemetryAccessLogConfig,
)

HTTP_FORMAT: Final = (
    '[%START_TIME%] %KUMA_MESH% "%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%" %RESPONSE_CODE% '
    "%RESPONSE_FLAGS% %BYTES_RECEIVED% %BYTES_SENT% %DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% "
    '"%REQ(X-FORWARDED-FOR)%" "%REQ(USER-AGENT)%" "%REQ(X-B3-TRACEID?X-DATADOG-TRACEID)%" "%REQ(X-REQUEST-ID)%" '
    '"%REQ(:AUTHORITY)%" "%KUMA_SOURCE_SERVICE%" "%KUMA_DESTINATION_SERVICE%" "%KUMA_SOURCE_ADDRESS_WITHOUT_PORT%" '
    '"%UPSTREAM_HOST%"'
)
TCP_FORMAT: Final = (
    "[%START_TIME%] %RESPONSE_FLAGS% %KUMA_MESH% %KUMA_SOURCE_ADDRESS_WITHOUT_PORT%(%KUMA_SOURCE_SERVICE%)->"
    "%UPSTREAM_HOST%(%KUMA_DESTINATION_SERVICE%) took %DURATION%ms, sent %BYTES_SENT% bytes, received: "
    "%BYTES_RECEIVED% bytes"
)
FILE_LOGGER: Final = "envoy.access_loggers.file"
OTEL_LOGGER: Final = "envoy.access_loggers.open_telemetry"
CEL_FILTER: Final = "envoy.access_loggers.extension_filters.cel"
_LOG_NAME: Final = "MeshAccessLog"
_UNKNOWN: Final = "unknown"
_OTEL_PORT: Final = 4317
_CONNECT_TIMEOUT: Final = timedelta(seconds=5)


@dataclass(frozen=True, slots=True)
class _Place:
    """Where loggers are made for: what placeholders stand for there, and the clusters of the collectors used."""

    direction: str
    logs: LogFacts
    placeholders: Mapping[str, str]
    clusters: list[ClusterDraft] = field(compare=False)

    def fill(self, text: str) -> str:
        return PLACEHOLDER.sub(lambda found: self.placeholders[found[1]], text)


def outbound(draft: OutboundDraft, rules: Towards[Conf]) -> None:
    """Log the traffic to other services."""
    service = draft.view.service
    place = _place("OUTBOUND", draft.view.mesh, draft.view.logs, draft.view.logs.service, service, draft.extra_clusters)
    own = {route.name: rules.routes[route.name].conf for route in draft.chain.routes() if route.name in rules.routes}
    conf = rules.towards(service)
    if conf is not None:
        elsewhere = " && ".join(f"!({_on_route(name)})" for name in own)
        _add(draft.chain, _loggers(draft.chain, conf, place), elsewhere)
    for name, special in own.items():
        _add(draft.chain, _loggers(draft.chain, special, place), _on_route(name))


def inbound(draft: InboundDraft, rules: InboundRules[Conf]) -> None:
    """Log the traffic to the proxy's own application."""
    place = _place("INBOUND", draft.view.mesh, draft.view.logs, _UNKNOWN, draft.view.service, draft.extra_clusters)
    written = as_written(rules.rules)
    for chain in draft.chains:
        for entries in written:
            condition = _holds(entries, chain)
            if condition is not None:
                _add(chain, _loggers(chain, entries[0].conf, place), condition)
    by_name = any(entry.match is not None and entry.match.sni is not None for entry in rules.rules)
    if by_name and any(chain.tls is not None for chain in draft.chains):
        inspect_tls(draft.listener)


def _holds(entries: Sequence[InboundRule[Conf]], chain: ChainDraft) -> str | None:
    """When any of the matches holds on a chain: empty for always, None for never."""
    matches = [expression(entry.match) if entry.match is not None else "" for entry in entries]
    if "" in matches:
        return ""
    if chain.tls is None:
        return None  # a peer without a certificate has no identity
    return matches[0] if len(matches) == 1 else " || ".join(f"({match})" for match in matches)


def _place(
    direction: str, mesh: str, logs: LogFacts, source: str, destination: str, clusters: list[ClusterDraft]
) -> _Place:
    placeholders = {
        "KUMA_SOURCE_ADDRESS": names.host_port(logs.address, 0),
        "KUMA_SOURCE_ADDRESS_WITHOUT_PORT": logs.address,
        "KUMA_SOURCE_SERVICE": source,
        "KUMA_DESTINATION_SERVICE": destination,
        "KUMA_MESH": mesh,
        "KUMA_TRAFFIC_DIRECTION": direction,
        "KUMA_ZONE": logs.zone,
        "KUMA_WORKLOAD": logs.workload,
    }
    # A percent sign would start a command of Envoy.
    return _Place(direction, logs, {key: text.replace("%", "%%") for key, text in placeholders.items()}, clusters)


def _on_route(name: str) -> str:
    return f"has(xds.route_name) && xds.route_name == {quoted(name)}"


def _add(chain: ChainDraft, loggers: Iterable[AccessLog], condition: str) -> None:
    """Let a chain log whatever meets a condition; an empty one is always met."""
    for logger in loggers:
        if condition:
            extension = logger.filter.extension_filter
            extension.name = CEL_FILTER
            extension.typed_config.CopyFrom(as_any(ExpressionFilter(expression=condition)))
        if chain.http is not None:
            chain.http.access_log.append(logger)
        elif chain.tcp is not None:
            chain.tcp.access_log.append(logger)


def _loggers(chain: ChainDraft, conf: Conf, place: _Place) -> Sequence[AccessLog]:
    default = HTTP_FORMAT if chain.http is not None else TCP_FORMAT
    made = (_logger(backend, default, place) for backend in conf.backends or ())
    return [logger for logger in made if logger is not None]


def _logger(backend: Backend, default: str, place: _Place) -> AccessLog | None:
    """None for a collector that is a resource of a kind which is not served."""
    match backend:
        case Backend(type="File", file=File() as file):
            return _file(file.path, _format(file.format, default, place))
        case Backend(type="Tcp", tcp=Tcp() as tcp):
            return _file(place.logs.stream_path, _addressed(tcp, default, place))
        case Backend(type="OpenTelemetry", open_telemetry=OpenTelemetry(endpoint=endpoint) as collector) if endpoint:
            return _open_telemetry(collector, default, place)
    return None


def _file(path: str, format: SubstitutionFormatString) -> AccessLog:
    return _named(FILE_LOGGER, FileAccessLog(path=path, log_format=format))


def _named(name: str, config: Message) -> AccessLog:
    return AccessLog(name=name, typed_config=as_any(config))


def _format(format: Format | None, default: str, place: _Place) -> SubstitutionFormatString:
    made = SubstitutionFormatString(omit_empty_values=format is not None and format.omit_empty_values)
    if format is not None and format.type == "Json":
        made.json_format.CopyFrom(_json(format, place))
    else:
        made.text_format_source.CopyFrom(DataSource(inline_string=_line(format, default, place)))
    return made


def _addressed(tcp: Tcp, default: str, place: _Place) -> SubstitutionFormatString:
    """The line as kuma-dp wants it: with the address that it is for."""
    made = SubstitutionFormatString(omit_empty_values=tcp.format is not None and tcp.format.omit_empty_values)
    made.json_format.fields["address"].string_value = tcp.address
    if tcp.format is not None and tcp.format.type == "Json":
        made.json_format.fields["message"].struct_value.CopyFrom(_json(tcp.format, place))
    else:
        made.json_format.fields["message"].string_value = _line(tcp.format, default, place)
    return made


def _line(format: Format | None, default: str, place: _Place) -> str:
    text = default if format is None or not format.plain else format.plain
    return f"{place.fill(text)}\n"


def _json(format: Format, place: _Place) -> Struct:
    fields = Struct()
    for item in format.json_ or ():
        fields.fields[item.key].string_value = place.fill(item.value)
    return fields


def _open_telemetry(collector: OpenTelemetry, default: str, place: _Place) -> AccessLog:
    config = OpenTelemetryAccessLogConfig(log_name=_LOG_NAME)
    config.grpc_service.envoy_grpc.cluster_name = _collector(collector.endpoint, place)
    config.body.CopyFrom(_with_texts(parsed_body(default if collector.body is None else collector.body), place.fill))
    config.attributes.SetInParent()
    for attribute in collector.attributes or ():
        config.attributes.values.add(key=attribute.key).value.string_value = place.fill(attribute.value)
    for key, text in (("mesh", place.logs.mesh), ("zone", place.logs.zone), ("workload", place.logs.workload)):
        if text:
            config.resource_attributes.values.add(key=f"kuma.{key}").value.string_value = text
    return _named(OTEL_LOGGER, config)


def _with_texts(body: AnyValue, change: Callable[[str], str]) -> AnyValue:
    for text in texts_of(body):
        text.string_value = change(text.string_value)
    for pair in pairs_of(body):
        pair.key = change(pair.key)
    return body


def _collector(endpoint: str, place: _Place) -> str:
    """The name of the cluster of a collector, which is asked for as a cluster of its own."""
    host, port = host_and_port(endpoint) or (endpoint, None)
    name = names.log_collector(place.direction, host, port or _OTEL_PORT)
    where = Endpoint(address=socket_address(host, port or _OTEL_PORT))
    cluster = Cluster(name=name, alt_stat_name=names.sanitized(name))
    cluster.type = Cluster.STATIC if is_ip(host) else Cluster.STRICT_DNS
    if not is_ip(host) and not place.logs.ipv6:
        cluster.dns_lookup_family = Cluster.V4_ONLY
    cluster.connect_timeout.FromTimedelta(_CONNECT_TIMEOUT)
    cluster.load_assignment.cluster_name = name
    cluster.load_assignment.endpoints.append(LocalityLbEndpoints(lb_endpoints=[LbEndpoint(endpoint=where)]))
    if all(known.cluster.name != name for known in place.clusters):
        place.clusters.append(ClusterDraft(cluster, protocol="http2", http=upstream_options("http2")))
    return name
