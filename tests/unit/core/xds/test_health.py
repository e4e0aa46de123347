from datetime import timedelta

from kuma.core.model.codec import decode_json
from kuma.core.xds.health import ProbeDefaults, found_health, specifier
from kuma.core.xds.view import AdminView
from kuma.envoy_api.envoy.config.core.v3.health_check_pb2 import HEALTHY, TIMEOUT, UNHEALTHY
from kuma.envoy_api.envoy.service.health.v3.hds_pb2 import EndpointHealthResponse

ADMIN = "kuma:envoy:admin"
VIEW = AdminView(9901, "127.0.0.1", "", 9902, b"")


def dataplane(*inbounds):
    """A Dataplane of inbounds as a user writes them."""
    return decode_json("Dataplane", {"networking": {"address": "10.0.0.1", "inbound": list(inbounds)}})


PROBED = {"port": 8080, "servicePort": 80, "tags": {"kuma.io/service": "web"}, "serviceProbe": {"tcp": {}}}
PLAIN = {"port": 9090, "tags": {"kuma.io/service": "plain"}}


def report(**health):
    """What Envoy tells of clusters."""
    made = EndpointHealthResponse()
    for name, status in health.items():
        cluster = made.cluster_endpoints_health.add(cluster_name={"admin": ADMIN, "app": "localhost:80"}[name])
        cluster.locality_endpoints_health.add().endpoints_health.add(health_status=status)
    return made


def test_what_is_probed_and_how():
    """The proxy itself by HTTP, an inbound with a probe by TCP on the application's port, with its own timing."""
    probe = {"tcp": {}, "interval": "3s", "timeout": "4s", "healthyThreshold": 5, "unhealthyThreshold": 6}
    made = specifier(dataplane({**PROBED, "serviceProbe": probe}, PLAIN), VIEW, ProbeDefaults())

    admin, app = made.cluster_health_checks
    assert (admin.cluster_name, admin.health_checks[0].http_health_check.path) == (ADMIN, "/ready")
    assert app.cluster_name == "localhost:80"
    check = app.health_checks[0]
    assert check.HasField("tcp_health_check")
    assert (check.interval.seconds, check.timeout.seconds) == (3, 4)
    assert (check.healthy_threshold.value, check.unhealthy_threshold.value) == (5, 6)
    assert app.locality_endpoints[0].endpoints[0].address.socket_address.port_value == 80
    assert made.interval.ToTimedelta() == timedelta(seconds=5)


def test_the_admin_socket_is_probed_where_there_is_one():
    """A proxy without an admin interface probes only its application."""
    socket = AdminView(9901, "127.0.0.1", "/run/admin.sock", 9902, b"")

    made = specifier(dataplane(), socket, ProbeDefaults()).cluster_health_checks[0]
    assert made.locality_endpoints[0].endpoints[0].address.pipe.path == "/run/admin.sock"
    assert not specifier(dataplane(PLAIN), None, ProbeDefaults()).cluster_health_checks


def test_a_probe_speaks_for_its_inbound():
    """Whatever is not healthy is not well; inbounds nobody speaks of stay as they are."""
    for status, expected in ((HEALTHY, True), (UNHEALTHY, False), (TIMEOUT, False)):
        assert found_health(dataplane(PROBED, PLAIN), report(admin=HEALTHY, app=status)) == {8080: expected}
    assert found_health(dataplane(PROBED, PLAIN), report()) == {}


def test_a_proxy_that_is_unwell_takes_no_traffic():
    """On no inbound; and inbounds without a probe come back with it."""
    assert found_health(dataplane(PROBED, PLAIN), report(admin=UNHEALTHY, app=HEALTHY)) == {8080: False, 9090: False}
    out = {**PLAIN, "state": "NotReady"}
    assert found_health(dataplane(PROBED, out), report(admin=HEALTHY, app=HEALTHY)) == {8080: True, 9090: True}
