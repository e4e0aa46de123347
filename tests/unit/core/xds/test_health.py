"""What a proxy found out about itself and its applications becomes the health of its inbounds."""

from __future__ import annotations

from kuma.core.model.codec import decode_json
from kuma.core.resources.dataplane import facts
from kuma.core.resources.dataplane.spec import Dataplane
from kuma.core.xds import names
from kuma.core.xds.health import found_health
from kuma.envoy_api.envoy.config.core.v3.health_check_pb2 import HEALTHY, UNHEALTHY
from kuma.envoy_api.envoy.service.health.v3.hds_pb2 import (
    ClusterEndpointsHealth,
    EndpointHealth,
    EndpointHealthResponse,
    LocalityEndpointsHealth,
)

PROBED, PLAIN = 10001, 10002


def proxy(*, plain: str = "Ready") -> Dataplane:
    """A proxy with an inbound whose application is probed, and one without a probe."""
    document = {
        "networking": {
            "address": "127.0.0.1",
            "inbound": [
                {"port": PROBED, "servicePort": 9001, "tags": {"kuma.io/service": "a"}, "serviceProbe": {"tcp": {}}},
                {"port": PLAIN, "servicePort": 9002, "tags": {"kuma.io/service": "b"}, "state": plain},
            ],
        }
    }
    spec: Dataplane = decode_json("Dataplane", document)
    return spec


def report(**well: bool) -> EndpointHealthResponse:
    """A report on the admin interface and on the probed application."""
    clusters = {"admin": names.ADMIN, "application": names.local_cluster(9001)}
    return EndpointHealthResponse(
        cluster_endpoints_health=[
            ClusterEndpointsHealth(
                cluster_name=clusters[which],
                locality_endpoints_health=[
                    LocalityEndpointsHealth(
                        endpoints_health=[EndpointHealth(health_status=HEALTHY if is_well else UNHEALTHY)]
                    )
                ],
            )
            for which, is_well in well.items()
        ]
    )


def test_dead_application_takes_out_its_own_inbound():
    """An application that does not answer concerns its inbound and no other."""
    assert found_health(proxy(), report(admin=True, application=False)) == {PROBED: False}


def test_unwell_proxy_takes_out_every_inbound():
    """A proxy that drains gets no traffic at all, whatever its applications say."""
    assert found_health(proxy(), report(admin=False, application=True)) == {PROBED: False, PLAIN: False}


def test_inbound_without_a_probe_comes_back_with_its_proxy():
    """What went out of service with the proxy returns with it, although nothing probes it."""
    drained = facts.with_health(proxy(), found_health(proxy(), report(admin=False)))

    assert found_health(drained, report(admin=True, application=True)) == {PROBED: True, PLAIN: True}


def test_well_inbound_without_a_probe_is_left_alone():
    """A report with no news about it changes nothing, so that a fleet that starts writes nothing."""
    assert PLAIN not in found_health(proxy(), report(admin=True, application=True))


def test_silence_about_the_proxy_is_no_news():
    """Without a word on the admin interface an inbound without a probe stays as it is."""
    assert found_health(proxy(plain="NotReady"), report(application=True)) == {PROBED: True}
