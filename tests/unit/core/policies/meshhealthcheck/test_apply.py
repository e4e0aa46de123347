import json
from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from kuma.core.model.resource import Key, Meta, Resource
from kuma.core.policies._kit.build import outbound_parts
from kuma.core.policies._kit.merge import merge
from kuma.core.policies._kit.rules import Merged, Towards
from kuma.core.policies.meshhealthcheck import POLICY
from kuma.core.policies.meshhealthcheck.apply import outbound
from kuma.core.policies.meshhealthcheck.spec import Conf
from kuma.envoy_api.envoy.config.core.v3.base_pb2 import HeaderValueOption
from kuma.envoy_api.envoy.extensions.health_check.event_sinks.file.v3.file_pb2 import HealthCheckEventFileSink
from kuma.envoy_api.envoy.type.v3.http_pb2 import HTTP1, HTTP2
from tests.policies.writer import Writer
from tests.unit.core.policies.test_policies import deciding

TCP = {"send": "ping", "receive": ["po", "ng"]}
HTTP = {
    "path": "/health?full",
    "expectedStatuses": [200, 404],
    "requestHeadersToAdd": {"set": [{"name": "a", "value": "1,2"}], "add": [{"name": "b", "value": "3"}]},
}
GRPC = {"serviceName": "web.Health", "authority": "web.example.com"}
ALL = {
    "interval": "10s",
    "timeout": "2s",
    "unhealthyThreshold": 3,
    "healthyThreshold": 2,
    "initialJitter": "1s",
    "intervalJitter": "4s",
    "intervalJitterPercent": 7,
    "healthyPanicThreshold": "61.5",
    "failTrafficOnPanic": True,
    "alwaysLogHealthCheckFailures": True,
    "noTrafficInterval": "20s",
    "reuseConnection": False,
    "tcp": TCP,
    "http": HTTP,
    "grpc": GRPC,
}


def _towards(conf, service="backend"):
    parsed = Conf.model_validate_json(json.dumps(conf))
    return Towards({service: Merged(parsed, (Key("MeshHealthCheck", "default", "mine"),))}, spoken=True)


def _cluster(drafts, protocol, conf):
    draft = drafts.outbound(protocol)
    outbound(draft, _towards(conf))
    return draft.clusters[0].cluster


def _probe(drafts, protocol, conf):
    [probe] = _cluster(drafts, protocol, conf).health_checks
    return probe


@pytest.mark.parametrize(("protocol", "codec"), [("http", HTTP1), ("http2", HTTP2)])
def test_a_service_of_http_is_asked_over_http(drafts, protocol, codec):
    """Path, statuses and headers are as asked for, in the version of HTTP that the service speaks."""
    found = _probe(drafts, protocol, ALL).http_health_check

    assert (found.path, found.codec_client_type) == ("/health?full", codec)
    assert [(status.start, status.end) for status in found.expected_statuses] == [(200, 201), (404, 405)]
    assert [(one.header.key, one.header.value, one.append_action) for one in found.request_headers_to_add] == [
        ("b", "3", HeaderValueOption.APPEND_IF_EXISTS_OR_ADD),
        ("a", "1", HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD),
        ("a", "2", HeaderValueOption.APPEND_IF_EXISTS_OR_ADD),
    ]


def test_a_service_of_grpc_is_asked_for_its_health(drafts):
    """The name of the service and the authority reach Envoy."""
    found = _probe(drafts, "grpc", ALL).grpc_health_check

    assert (found.service_name, found.authority) == ("web.Health", "web.example.com")


def test_a_service_of_tcp_is_sent_and_must_answer_texts(drafts):
    """Texts are written in hexadecimal, as Envoy wants them; empty ones are none."""
    found = _probe(drafts, "tcp", ALL).tcp_health_check
    bare = _probe(drafts, "tcp", {"tcp": {"send": "", "receive": ["", "a"]}}).tcp_health_check

    assert (found.send.text, [one.text for one in found.receive]) == (b"ping".hex(), [b"po".hex(), b"ng".hex()])
    assert (bare.HasField("send"), [one.text for one in bare.receive]) == (False, ["61"])


@pytest.mark.parametrize(
    ("protocol", "conf", "expected"),
    [
        ("http", {"tcp": {}}, None),
        ("http", {"http": {"disabled": True}}, None),
        ("http", {"http": {"disabled": True}, "tcp": {}}, "tcp_health_check"),
        ("http2", {"http": {"disabled": True}, "tcp": {"disabled": True}}, None),
        ("grpc", {"http": {}}, None),
        ("grpc", {"grpc": {"disabled": True}, "tcp": {"disabled": False}}, "tcp_health_check"),
        ("tcp", {"tcp": {"disabled": True}}, None),
        ("tcp", {"http": {}, "grpc": {}}, None),
        ("kafka", ALL, None),
    ],
)
def test_the_kind_of_probe_is_that_of_the_protocol(drafts, protocol, conf, expected):
    """Connections stand in only for a kind that is given and disabled."""
    found = [probe.WhichOneof("health_checker") for probe in _cluster(drafts, protocol, conf).health_checks]

    assert found == ([expected] if expected else [])


def test_every_knob_reaches_the_probe(drafts):
    """Times, thresholds and switches."""
    cluster = _cluster(drafts, "http", ALL)
    [probe] = cluster.health_checks
    seconds = [
        getattr(probe, name).seconds
        for name in ("interval", "timeout", "initial_jitter", "interval_jitter", "no_traffic_interval")
    ]

    assert seconds == [10, 2, 1, 4, 20]
    assert (probe.unhealthy_threshold.value, probe.healthy_threshold.value) == (3, 2)
    assert probe.interval_jitter_percent == 7
    assert probe.always_log_health_check_failures
    assert probe.HasField("reuse_connection")
    assert not probe.reuse_connection.value
    assert cluster.common_lb_config.healthy_panic_threshold.value == 61.5
    assert cluster.common_lb_config.zone_aware_lb_config.fail_traffic_on_panic


def test_what_is_not_given_has_kumas_defaults(drafts):
    """Once a minute, 15 seconds to answer, five failures to leave, one success to return, the path `/`."""
    probe = _probe(drafts, "http", {"http": {}})

    assert (probe.interval.seconds, probe.timeout.seconds) == (60, 15)
    assert (probe.unhealthy_threshold.value, probe.healthy_threshold.value) == (5, 1)
    assert probe.http_health_check.path == "/"
    assert not probe.HasField("reuse_connection")
    assert not probe.event_logger


def test_events_are_written_to_a_file(drafts):
    """Envoy's sink gets the path of the file."""
    [sink] = _probe(drafts, "http", {"http": {}, "eventLogPath": "/var/log/probes.log"}).event_logger
    config = HealthCheckEventFileSink()

    assert sink.typed_config.Unpack(config)
    assert config.event_log_path == "/var/log/probes.log"


def test_weighted_localities_keep_their_place(drafts):
    """Envoy cannot fail traffic on panic and weigh localities at once; the weights were first."""
    draft = drafts.outbound()
    draft.clusters[0].cluster.common_lb_config.locality_weighted_lb_config.SetInParent()
    outbound(draft, _towards(ALL))

    assert draft.clusters[0].cluster.common_lb_config.HasField("locality_weighted_lb_config")


def test_each_destination_of_an_outbound_is_probed_by_its_own_conf(drafts):
    """A route may lead to other services; a service without a conf is not probed."""
    draft, other = drafts.outbound(), drafts.outbound("tcp", "other")
    draft.clusters += [*other.clusters, replace(drafts.outbound().clusters[0], service="third")]
    rules = Towards({**_towards(ALL).confs, **_towards({"tcp": {}}, "other").confs}, spoken=True)
    outbound(draft, rules)
    kinds = [[probe.WhichOneof("health_checker") for probe in one.cluster.health_checks] for one in draft.clusters]

    assert kinds == [["http_health_check"], ["tcp_health_check"], []]


@given(data=st.data(), protocol=st.sampled_from(["tcp", "kafka", "http", "http2", "grpc"]))
def test_a_valid_policy_can_always_be_applied(drafts, data, protocol):
    """What was accepted never fails later, when a proxy's configuration is made from it."""
    written = Writer(deciding(data), careful=True).policy(POLICY)
    for item in written.get("to", ()):
        if "default" in item:
            item["default"] |= {"eventLogPath": "/var/log/probes.log"}
            item["default"].get("http", {})["expectedStatuses"] = [503]
    spec = POLICY.spec.model_validate_json(json.dumps(written))
    assume(not list(POLICY.validate(spec)))
    draft = drafts.outbound(protocol)
    merged = merge(Conf, outbound_parts([Resource(Meta(Key(POLICY.kind, "default", "mine")), spec)], "backend"))
    outbound(draft, Towards({} if merged is None else {"backend": merged}, spoken=True))

    assert draft.clusters[0].cluster.SerializeToString(deterministic=True)


def test_envoy_accepts_every_knob(drafts, envoy, tmp_path):
    """Envoy takes each kind of probe with all that can be asked of it."""
    made = [drafts.outbound(protocol, f"to-{protocol}") for protocol in ("http", "http2", "grpc", "tcp")]
    for draft in made:
        outbound(draft, _towards({**ALL, "eventLogPath": str(tmp_path / "probes.log")}, draft.view.service))

    assert all(draft.clusters[0].cluster.health_checks for draft in made)
    assert envoy.accepts(*made)
