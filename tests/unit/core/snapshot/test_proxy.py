import pytest

from kuma.core.policies._kit.match import InboundFacts
from kuma.core.snapshot.proxy import Outbound, proxy_of
from tests.unit.core.snapshot.meshes import dataplane, inbound, outbound

DB = (("kuma.io/service", "db"),)


def test_equal_outbounds_are_one_object():
    """Proxies that consume the same are told apart by nothing, so they may share one computation."""
    one = proxy_of(dataplane("a", [inbound("web")], [outbound("db")]))
    other = proxy_of(dataplane("b", [inbound("api")], [outbound("db")], address="10.0.0.2"))

    assert one.outbounds is other.outbounds


def test_outbounds_listen_on_loopback_unless_written_otherwise():
    """Tags are sorted, so that the order written does not matter."""
    some = [outbound("db", version="v1"), {**outbound("web", 10002), "address": "127.0.0.9"}]

    assert proxy_of(dataplane("a", [], some)).outbounds == (
        Outbound("127.0.0.1", 10001, (("kuma.io/service", "db"), ("version", "v1"))),
        Outbound("127.0.0.9", 10002, (("kuma.io/service", "web"),)),
    )


@pytest.mark.parametrize(
    ("written", "tags"),
    [
        ({"service": "db"}, DB),
        ({"service": "db", "tags": {"version": "v1"}}, (*DB, ("version", "v1"))),
        ({"service": "old", "tags": {"kuma.io/service": "db"}}, DB),
    ],
    ids=str,
)
def test_the_old_spelling_of_an_outbound(written, tags):
    """``service`` names the service where the tags do not."""
    assert proxy_of(dataplane("a", [], [{"port": 10001, **written}])).outbounds[0].tags == tags


def test_an_outbound_to_a_resource_is_none_by_tags():
    """Resources come later; such an outbound is left out, the others stay."""
    by_reference = {"port": 10001, "backendRef": {"kind": "MeshService", "name": "db", "port": 80}}

    assert [one.port for one in proxy_of(dataplane("a", [], [by_reference, outbound("db", 10002)])).outbounds] == [
        10002
    ]


def test_an_outbound_on_an_own_inbound_is_dropped():
    """A proxy cannot listen twice on one address."""
    made = proxy_of(dataplane("a", [inbound("web", 8080)], [outbound("db", 8080)], address="127.0.0.1"))

    assert made.outbounds == ()


def test_an_outbound_on_an_own_inbound_is_dropped_however_its_address_is_spelled():
    """Envoy refuses a second listener on an IPv6 address that is written in another way."""
    there = {**outbound("db", 8080), "address": "fd00::a"}
    made = proxy_of(dataplane("a", [inbound("web", 8080)], [there], address="FD00:0:0:0:0:0:0:A"))

    assert made.outbounds == ()


def test_what_others_see_of_an_inbound():
    """The advertised address, the protocol, and whether it takes traffic."""
    made = proxy_of(dataplane("a", [inbound("web", protocol="GRPC", ready=False)], advertisedAddress="203.0.113.5"))

    [offer] = made.offers
    assert (offer.service, offer.protocol, offer.ready) == ("web", "grpc", False)
    assert (offer.endpoint.address, offer.endpoint.port) == ("203.0.113.5", 8080)


def test_the_port_that_means_no_service_is_not_offered():
    """49151 stands for "nothing here"; policies still see the inbound."""
    made = proxy_of(dataplane("a", [inbound("web", 49151)]))

    assert made.offers == ()
    assert len(made.facts.inbounds) == 1


def test_what_policies_can_ask():
    """Name, labels, the sections of inbounds, and the gateway's tags."""
    made = proxy_of(
        dataplane("a", [{**inbound("web"), "name": "main"}, inbound("admin", 9090)], labels={"app": "web"})
    ).facts
    gateway = proxy_of(dataplane("g", gateway={"type": "DELEGATED", "tags": {"kuma.io/service": "edge"}})).facts

    assert (made.name, made.labels, made.gateway) == ("a", {"app": "web"}, "")
    assert [one.section for one in made.inbounds] == ["main", "9090"]
    assert isinstance(made.inbounds[0], InboundFacts)
    assert (gateway.gateway, gateway.gateway_tags) == ("DELEGATED", {"kuma.io/service": "edge"})
