import pytest

from kuma.core.resources.dataplane import facts
from kuma.core.resources.dataplane.facts import Endpoint
from kuma.core.resources.dataplane.spec import Dataplane, Inbound, State


def dataplane(**networking):
    """A proxy with this networking section."""
    return Dataplane.model_validate({"networking": {"address": "10.0.0.1", **networking}})


def web(**fields):
    """An inbound of the service web."""
    return {"port": 80, "tags": {"kuma.io/service": "web"}, **fields}


def test_all_tags_of_a_proxy_are_found():
    """Inbounds and gateways both stand for services."""
    one = dataplane(inbound=[web(), web(port=81, tags={"kuma.io/service": "api"}), {"port": 82}])
    edge = dataplane(gateway={"tags": {"kuma.io/service": "edge"}})
    assert facts.inbound_tags(one) == ({"kuma.io/service": "web"}, {"kuma.io/service": "api"}, {})
    assert facts.service_tags(one) == ("api", "web")
    assert facts.inbound_tags(edge) == ()
    assert facts.all_tag_sets(edge) == ({"kuma.io/service": "edge"},)
    assert facts.service_tags(edge) == ("edge",)
    assert facts.all_tag_sets(Dataplane()) == ()


def test_a_gateway_is_one_of_two_kinds():
    """Delegated is what a gateway is when nothing is said."""
    assert facts.is_delegated_gateway(dataplane(gateway={}))
    assert facts.is_builtin_gateway(dataplane(gateway={"type": "BUILTIN"}))
    assert not facts.is_delegated_gateway(dataplane())
    assert not facts.is_builtin_gateway(dataplane())


@pytest.mark.parametrize(
    "fields, protocol",
    [
        ({}, "tcp"),
        ({"tags": {"kuma.io/protocol": "HTTP"}}, "http"),
        ({"tags": {"kuma.io/protocol": "http"}, "protocol": "grpc"}, "grpc"),
    ],
)
def test_the_protocol_is_the_field_then_the_tag_then_tcp(fields, protocol):
    """A proxy speaks the protocol that was named, whatever the case of its letters."""
    assert facts.protocol_of(Inbound.model_validate(fields)) == protocol


def test_a_section_is_named_by_name_or_port():
    """Policies find an inbound or a listener under its name, else under its port."""
    one = dataplane(
        inbound=[web(name="http"), web(port=81)], listeners=[{"port": 1}, {"port": 2, "name": "egress"}]
    ).networking
    assert [facts.section_of(inbound) for inbound in one.inbound] == ["http", "81"]
    assert [facts.listener_section(listener) for listener in one.listeners] == ["1", "egress"]


@pytest.mark.parametrize(
    "fields, listens, reached, workload",
    [
        ({}, ("10.0.0.1", 80), ("10.0.0.1", 80), ("10.0.0.1", 80)),
        ({"servicePort": 8080}, ("10.0.0.1", 80), ("10.0.0.1", 80), ("10.0.0.1", 8080)),
        ({"serviceAddress": "127.0.0.1"}, ("10.0.0.1", 80), ("10.0.0.1", 80), ("127.0.0.1", 80)),
        ({"address": "10.0.0.2"}, ("10.0.0.2", 80), ("10.0.0.2", 80), ("10.0.0.2", 80)),
    ],
)
def test_where_an_inbound_listens_is_reached_and_leads(fields, listens, reached, workload):
    """Nothing written means the proxy's own address, never loopback."""
    one = dataplane(inbound=[web(**fields)])
    (inbound,) = one.networking.inbound
    assert facts.inbound_endpoint(one, inbound) == Endpoint(*listens)
    assert facts.advertised_endpoint(one, inbound) == Endpoint(*reached)
    assert facts.workload_endpoint(one, inbound) == Endpoint(*workload)


def test_an_advertised_address_is_what_others_use():
    """A proxy behind address translation is reached under the address it advertises, and listens on its own."""
    one = dataplane(advertisedAddress="1.2.3.4", inbound=[web(address="10.0.0.2")])
    (inbound,) = one.networking.inbound
    assert facts.advertised_endpoint(one, inbound) == Endpoint("1.2.3.4", 80)
    assert facts.inbound_endpoint(one, inbound) == Endpoint("10.0.0.2", 80)


@pytest.mark.parametrize(
    "fields, ready, unready",
    [
        ({}, True, False),
        ({"health": {"ready": True}}, True, False),
        ({"health": {"ready": False}}, False, True),
        ({"health": {}}, False, True),
        ({"state": "NotReady"}, False, True),
        ({"state": "Ignored"}, False, False),
    ],
)
def test_readiness_of_an_inbound(fields, ready, unready):
    """Traffic goes to what is ready; what is ignored by intention is not reported as trouble."""
    inbound = Inbound.model_validate(fields)
    assert facts.is_ready(inbound) is ready
    assert facts.is_unready(inbound) is unready


def test_the_zone_tag_is_set_on_every_inbound_and_on_the_gateway():
    """Whatever zone a user wrote, the one where the proxy runs counts."""
    one = dataplane(inbound=[web(), {"port": 81}], gateway={"tags": {"kuma.io/zone": "elsewhere"}})
    tagged = facts.with_zone_tag(one, "east")
    assert facts.all_tag_sets(tagged) == (
        {"kuma.io/service": "web", "kuma.io/zone": "east"},
        {"kuma.io/zone": "east"},
        {"kuma.io/zone": "east"},
    )
    assert facts.with_zone_tag(tagged, "east") is tagged
    assert facts.inbound_tags(facts.with_zone_tag(one, "east", untagged=False))[1] == {}
    assert facts.with_zone_tag(Dataplane(), "east") == Dataplane()


def test_a_probed_inbound_starts_out_of_service():
    """No request reaches a new instance before its probe succeeded; where there is no probe, nothing changes."""
    one = dataplane(
        inbound=[web(serviceProbe={"tcp": {}}), web(port=81), web(port=82, state="Ignored", serviceProbe={})]
    )
    first, second, third = facts.initial_probe_state(one).networking.inbound
    assert (first.state, first.health.ready) == (State.NOT_READY, False)
    assert (second.state, second.health) == (State.READY, None)
    assert third.state is State.IGNORED
    plain = dataplane(inbound=[web()])
    assert facts.initial_probe_state(plain) is plain


def test_probe_results_reach_their_inbounds_only():
    """Health is set by port, and a result that changes nothing gives back the same object."""
    one = dataplane(inbound=[web(), web(port=81), web(port=82, state="Ignored")])
    down = facts.with_health(one, {80: False, 82: True, 99: False})
    assert [inbound.state for inbound in down.networking.inbound] == [State.NOT_READY, State.READY, State.IGNORED]
    assert [facts.is_ready(inbound) for inbound in down.networking.inbound] == [False, True, False]
    assert facts.with_health(down, {80: False}) is down
    assert facts.is_ready(facts.with_health(down, {80: True}).networking.inbound[0])
    assert facts.with_health(one, {}) is one
