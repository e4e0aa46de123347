from dataclasses import replace

from kuma.core.xds.generate import Generator, Memory
from kuma.core.xds.kafka import KafkaBroker
from kuma.core.xds.names import CLUSTER, KAFKA_BROKER, LISTENER
from kuma.core.xds.view import AdminView, InboundView, OutboundRules, OutboundsView, OutboundView, ProxyView, TlsMode
from kuma.envoy_api.envoy.config.listener.v3.listener_pb2 import Listener

INBOUND = InboundView(
    mesh="default",
    address="10.0.0.1",
    port=8080,
    workload_address="127.0.0.1",
    workload_port=80,
    section="main",
    protocol="http",
    tags=(("kuma.io/service", "web"),),
    tls=TlsMode.STRICT,
    reuse_port=False,
    ipv6=True,
)
OUTBOUND = OutboundView("default", "127.0.0.1", 10001, (("kuma.io/service", "db"),), "http", tls=True, ipv6=True)


def own(*inbounds, admin=None):
    """A view without policies."""
    return ProxyView(admin, inbounds, tuple(() for _ in inbounds))


def test_equal_views_give_equal_bytes():
    """Also by two control planes that know nothing of each other."""
    one, other = (Generator().own(own(INBOUND)) for _ in range(2))

    for url in (CLUSTER, LISTENER):
        assert {name: x.body for name, x in one.by_name(url).items()} == {
            name: x.body for name, x in other.by_name(url).items()
        }


def test_an_outbound_is_made_once_however_many_proxies_have_it():
    """Two classes that share an outbound share its resources."""
    making = Generator()
    second = replace(OUTBOUND, port=10002, tags=(("kuma.io/service", "cache"),))
    rules = OutboundRules(())

    one = making.outbounds(OutboundsView(((OUTBOUND, rules),)))
    both = making.outbounds(OutboundsView(((OUTBOUND, rules), (second, rules))))

    assert both.by_name(CLUSTER)["db"] is one.by_name(CLUSTER)["db"]
    assert set(both.by_name(CLUSTER)) == {"db", "cache"}


def test_a_proxy_on_loopback_has_no_admin_listener():
    """There the control plane uses the socket; clusters for admin and readiness stay."""
    admin = AdminView(9901, "127.0.0.1", "/run/admin.sock", 9902, b"ca", address="127.0.0.1")

    made = Generator().own(own(INBOUND, admin=admin))

    assert "kuma:envoy:admin" not in made.by_name(LISTENER)
    assert {"kuma:envoy:admin", "kuma:readiness"} <= made.by_name(CLUSTER).keys()


def test_kafka_can_be_sent_and_shown():
    """The filter's message is not in our Envoy, and can be described all the same."""
    kafka = replace(INBOUND, protocol="kafka", kafka_filter=True)
    made = Listener.FromString(Generator().own(own(kafka)).by_name(LISTENER)["inbound:10.0.0.1:8080"].body)

    [filter_] = [one for one in made.filter_chains[0].filters if one.name == KAFKA_BROKER]
    config = KafkaBroker()
    assert filter_.typed_config.Unpack(config)
    assert config.stat_prefix == "localhost_80"


def test_a_memory_forgets_what_was_not_asked_for_longest():
    """And makes it again when it is asked for."""
    memory, made = Memory(2), []

    def make(key):
        return memory.recall(key, lambda: made.append(key) or key)

    for key in ("a", "b", "a", "c", "a", "b"):
        assert make(key) == key

    assert made == ["a", "b", "c", "b"]
