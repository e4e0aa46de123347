import pytest

from kuma.core.model.resource import Key
from kuma.core.policies._kit.rules import InboundRules, Merged, Towards
from kuma.core.policies.meshcircuitbreaker.apply import every_cluster, inbound, outbound
from kuma.core.policies.meshcircuitbreaker.spec import Conf
from kuma.envoy_api.envoy.config.core.v3.base_pb2 import HIGH

ALL = {
    "connectionLimits": {
        "maxConnections": 1,
        "maxConnectionPools": 2,
        "maxPendingRequests": 3,
        "maxRetries": 4,
        "maxRequests": 5,
    },
    "outlierDetection": {
        "interval": "6s",
        "baseEjectionTime": "7s",
        "maxEjectionPercent": 8,
        "splitExternalAndLocalErrors": True,
        "healthyPanicThreshold": "30.5",
        "detectors": {
            "totalFailures": {"consecutive": 9},
            "gatewayFailures": {"consecutive": 10},
            "localOriginFailures": {"consecutive": 11},
            "successRate": {"minimumHosts": 12, "requestVolume": 13, "standardDeviationFactor": "1.9"},
            "failurePercentage": {"minimumHosts": 14, "requestVolume": 15, "threshold": 16},
        },
    },
}
KEY = Key("MeshCircuitBreaker", "default", "mine")


def _merged(conf):
    return Merged(Conf.model_validate(conf), (KEY,))


def _towards(conf, service="backend"):
    return Towards({service: _merged(conf)}, spoken=True)


def _written(drafts, conf):
    draft = drafts.outbound()
    outbound(draft, _towards(conf))
    return draft.clusters[0].cluster


def test_limits_are_written_to_the_destination(drafts):
    """Each limit reaches Envoy's thresholds for requests of normal priority."""
    [limits] = _written(drafts, ALL).circuit_breakers.thresholds

    assert limits.max_connections.value == 1
    assert limits.max_connection_pools.value == 2
    assert limits.max_pending_requests.value == 3
    assert limits.max_retries.value == 4
    assert limits.max_requests.value == 5


def test_limits_hold_for_the_own_application_too(drafts):
    """Inbound policies limit what reaches the application."""
    draft = drafts.inbound()
    inbound(draft, InboundRules(catch_all=_merged(ALL)))

    assert draft.local.cluster.circuit_breakers.thresholds[0].max_connections.value == 1
    assert draft.local.cluster.HasField("outlier_detection")


def test_every_detector_given_is_enforced(drafts):
    """All knobs of outlier detection reach Envoy, and each detector given is switched fully on."""
    cluster = _written(drafts, ALL)
    found = cluster.outlier_detection

    assert found.interval.seconds == 6
    assert found.base_ejection_time.seconds == 7
    assert found.max_ejection_percent.value == 8
    assert found.split_external_local_origin_errors
    assert cluster.common_lb_config.healthy_panic_threshold.value == 30.5
    assert (found.enforcing_consecutive_5xx.value, found.consecutive_5xx.value) == (100, 9)
    assert (found.enforcing_consecutive_gateway_failure.value, found.consecutive_gateway_failure.value) == (100, 10)
    assert found.enforcing_consecutive_local_origin_failure.value == 100
    assert found.consecutive_local_origin_failure.value == 11
    assert (found.enforcing_success_rate.value, found.enforcing_local_origin_success_rate.value) == (100, 100)
    assert (found.success_rate_minimum_hosts.value, found.success_rate_request_volume.value) == (12, 13)
    assert found.success_rate_stdev_factor.value == 1900
    assert found.enforcing_failure_percentage.value == 100
    assert found.enforcing_failure_percentage_local_origin.value == 100
    assert (found.failure_percentage_minimum_hosts.value, found.failure_percentage_request_volume.value) == (14, 15)
    assert found.failure_percentage_threshold.value == 16


def test_a_detector_that_is_not_given_is_off(drafts):
    """Envoy's own detectors do not run behind the user's back: they are switched off by an explicit zero."""
    found = _written(drafts, {"outlierDetection": {"detectors": {"totalFailures": {}}}}).outlier_detection

    assert found.enforcing_consecutive_5xx.value == 100
    assert not found.HasField("consecutive_5xx")
    for field in (
        "enforcing_consecutive_gateway_failure",
        "enforcing_consecutive_local_origin_failure",
        "enforcing_success_rate",
        "enforcing_local_origin_success_rate",
        "enforcing_failure_percentage",
        "enforcing_failure_percentage_local_origin",
    ):
        assert found.HasField(field), field
        assert getattr(found, field).value == 0


def test_without_detectors_the_counting_ones_are_off(drafts):
    """Detectors may be missing after merging; then nobody is left out for failures in a row."""
    found = _written(drafts, {"outlierDetection": {"interval": "1s"}}).outlier_detection

    assert found.HasField("enforcing_consecutive_5xx")
    assert found.HasField("enforcing_consecutive_gateway_failure")
    assert found.HasField("enforcing_consecutive_local_origin_failure")
    assert not found.HasField("enforcing_success_rate")


def test_disabled_outlier_detection_is_not_written(drafts):
    """`disabled: true` leaves every endpoint in, and keeps the limits."""
    cluster = _written(drafts, {**ALL, "outlierDetection": {**ALL["outlierDetection"], "disabled": True}})

    assert not cluster.HasField("outlier_detection")
    assert not cluster.HasField("common_lb_config")
    assert cluster.circuit_breakers.thresholds[0].max_connections.value == 1


@pytest.mark.parametrize("rules", [Towards({}), _towards(ALL, "other")])
def test_other_services_keep_their_limits(drafts, rules):
    """A conf for one service says nothing of another."""
    draft, untouched = drafts.outbound(), drafts.outbound()
    outbound(draft, rules)
    inbound(inbound_draft := drafts.inbound(), InboundRules())

    assert draft.clusters == untouched.clusters
    assert not inbound_draft.local.cluster.HasField("circuit_breakers")


def test_every_cluster_reports_what_is_left(drafts):
    """Remaining capacity is tracked with and without a policy, beside the limits."""
    plain, limited = drafts.outbound().clusters[0], drafts.outbound()
    limited.clusters[0].cluster.circuit_breakers.thresholds.add(priority=HIGH)
    outbound(limited, _towards(ALL))
    every_cluster(plain)
    every_cluster(limited.clusters[0])

    [only] = plain.cluster.circuit_breakers.thresholds
    high, normal = limited.clusters[0].cluster.circuit_breakers.thresholds
    assert only.track_remaining
    assert (high.track_remaining, normal.track_remaining) == (False, True)
    assert normal.max_connections.value == 1


def test_envoy_accepts_every_knob(drafts, envoy):
    """Envoy takes all limits and detectors, towards services and towards the application."""
    to, own = drafts.outbound(), drafts.inbound("tcp", workload_port=8081)
    outbound(to, _towards(ALL))
    inbound(own, InboundRules(catch_all=_merged(ALL)))
    every_cluster(to.clusters[0])
    every_cluster(own.local)

    assert envoy.accepts(to, own)
