"""
What Envoy gets from MeshHealthCheck (spec/policies.md §7): at most one probe on each cluster of an outbound.

The probe is one of the protocol that the destination speaks. A destination whose own kind is disabled is probed by
bare connections, if those are asked for.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from kuma.core.policies._kit.headers import HeaderChanges, header_options
from kuma.core.policies._kit.rules import Towards
from kuma.core.policies.meshhealthcheck.spec import Conf, Grpc, Http, Tcp
from kuma.core.units import parse_decimal
from kuma.core.xds import names
from kuma.core.xds.draft import ClusterDraft, OutboundDraft
from kuma.envoy_api.envoy.config.cluster.v3.cluster_pb2 import Cluster
from kuma.envoy_api.envoy.config.core.v3.health_check_pb2 import HealthCheck
from kuma.envoy_api.envoy.extensions.health_check.event_sinks.file.v3.file_pb2 import HealthCheckEventFileSink
from kuma.envoy_api.envoy.type.v3.http_pb2 import HTTP1, HTTP2

INTERVAL: Final = timedelta(minutes=1)
TIMEOUT: Final = timedelta(seconds=15)
UNHEALTHY_THRESHOLD: Final = 5
HEALTHY_THRESHOLD: Final = 1
_HTTP_PATH: Final = "/"
_FILE_SINK: Final = "envoy.health_check.event_sinks.file"


def outbound(draft: OutboundDraft, rules: Towards[Conf]) -> None:
    """Probe the endpoints of every destination."""
    for cluster in draft.clusters:
        conf = rules.towards(cluster.service or draft.view.service)
        if conf is not None:
            _write(cluster, conf, draft.view.caller.tags)


def _write(draft: ClusterDraft, conf: Conf, caller: str) -> None:
    _write_panic(draft.cluster, conf)
    probe = _probe(draft.protocol, conf, caller)
    if probe is not None:
        _write_common(probe, conf)
        draft.cluster.health_checks.append(probe)


def _write_panic(cluster: Cluster, conf: Conf) -> None:
    balancing = cluster.common_lb_config
    if conf.healthy_panic_threshold is not None:
        balancing.healthy_panic_threshold.value = float(parse_decimal(str(conf.healthy_panic_threshold)))
    # Envoy has this switch for its usual way to choose a locality only, not for weighted localities.
    if conf.fail_traffic_on_panic is not None and not balancing.HasField("locality_weighted_lb_config"):
        balancing.zone_aware_lb_config.fail_traffic_on_panic = conf.fail_traffic_on_panic


def _probe(protocol: str, conf: Conf, caller: str) -> HealthCheck | None:
    """The kind of probe for a destination; None where there is none. ``caller`` are the tags of who probes."""
    own = {"http": conf.http, "http2": conf.http, "grpc": conf.grpc, "tcp": conf.tcp}.get(protocol)
    if own is not None and own.disabled:
        own = None if protocol == "tcp" or conf.tcp is None or conf.tcp.disabled else conf.tcp
    match own:
        case Http():
            return _http_probe(own, protocol, caller)
        case Grpc():
            return _grpc_probe(own)
        case Tcp():
            return _tcp_probe(own)
    return None


def _http_probe(conf: Http, protocol: str, caller: str) -> HealthCheck:
    probe = HealthCheck()
    if caller:
        header = probe.http_health_check.request_headers_to_add.add().header
        header.key, header.value = names.SOURCE_TAGS_HEADER, caller
    probe.http_health_check.path = conf.path or _HTTP_PATH
    probe.http_health_check.codec_client_type = HTTP2 if protocol == "http2" else HTTP1
    changes = conf.request_headers_to_add or HeaderChanges()
    # Kuma's order: what is added comes before what is set, so a value that is set stays the only one.
    for part in (HeaderChanges(add=changes.add), HeaderChanges(set=changes.set)):
        probe.http_health_check.request_headers_to_add.extend(header_options(part))
    for status in conf.expected_statuses or ():
        probe.http_health_check.expected_statuses.add(start=status, end=status + 1)
    return probe


def _grpc_probe(conf: Grpc) -> HealthCheck:
    probe = HealthCheck()
    probe.grpc_health_check.service_name = conf.service_name or ""
    probe.grpc_health_check.authority = conf.authority or ""
    return probe


def _tcp_probe(conf: Tcp) -> HealthCheck:
    """Envoy wants the texts in hexadecimal, and no empty ones."""
    probe = HealthCheck()
    probe.tcp_health_check.SetInParent()
    if conf.send:
        probe.tcp_health_check.send.text = conf.send.encode().hex()
    for text in filter(None, conf.receive or ()):
        probe.tcp_health_check.receive.add(text=text.encode().hex())
    return probe


def _write_common(probe: HealthCheck, conf: Conf) -> None:
    probe.interval.FromTimedelta(_or(conf.interval, INTERVAL))
    probe.timeout.FromTimedelta(_or(conf.timeout, TIMEOUT))
    probe.unhealthy_threshold.value = _number(conf.unhealthy_threshold, UNHEALTHY_THRESHOLD)
    probe.healthy_threshold.value = _number(conf.healthy_threshold, HEALTHY_THRESHOLD)
    if conf.initial_jitter is not None:
        probe.initial_jitter.FromTimedelta(conf.initial_jitter)
    if conf.interval_jitter is not None:
        probe.interval_jitter.FromTimedelta(conf.interval_jitter)
    if conf.interval_jitter_percent is not None:
        probe.interval_jitter_percent = conf.interval_jitter_percent
    if conf.no_traffic_interval is not None:
        probe.no_traffic_interval.FromTimedelta(conf.no_traffic_interval)
    if conf.reuse_connection is not None:
        probe.reuse_connection.value = conf.reuse_connection
    if conf.event_log_path is not None:
        sink = probe.event_logger.add(name=_FILE_SINK)
        sink.typed_config.Pack(HealthCheckEventFileSink(event_log_path=conf.event_log_path), deterministic=True)
    probe.always_log_health_check_failures = conf.always_log_health_check_failures or False


def _or(value: timedelta | None, default: timedelta) -> timedelta:
    return default if value is None else value


def _number(value: int | None, default: int) -> int:
    return default if value is None else value
