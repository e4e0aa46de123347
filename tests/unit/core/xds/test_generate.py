import json
from dataclasses import replace

import pytest

from kuma.core.errors import MeshError
from kuma.core.policies._kit.rules import Merged
from kuma.core.policies.meshproxypatch.spec import Conf
from kuma.core.xds.generate import Generator, Memory
from kuma.core.xds.kafka import KafkaBroker
from kuma.core.xds.names import CLUSTER, KAFKA_BROKER, LISTENER
from kuma.core.xds.view import AdminView, InboundView, OutboundRules, OutboundsView, OutboundView, ProxyView, TlsMode
from kuma.envoy_api.envoy.config.cluster.v3.cluster_pb2 import Cluster
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


OUT = "outbound:127.0.0.1:10001"
OUTBOUNDS = OutboundsView(((OUTBOUND, OutboundRules(())),))
ADDED = "name: side\ntype: STATIC\nconnectTimeout: 9s"
TO_SIDE = {
    "op": "replace",
    "path": "/filterChains/0/filters/0/typedConfig/routeConfig/virtualHosts/0/routes/0/route",
    "value": {"cluster": "side"},
}


def cluster(operation, **fields):
    """A step on clusters."""
    return {"cluster": {"operation": operation, **fields}}


def patches(*steps):
    """One policy with these steps."""
    conf = Conf.model_validate_json(json.dumps({"appendModifications": steps}))
    return (("MeshProxyPatch", Merged(conf, ())),)


def patched(*steps):
    """Both layers of a proxy with an inbound and an outbound: its own, and that of its class."""
    making = Generator()
    some = patches(*steps)
    return making.own(replace(own(INBOUND), patches=some)), making.outbounds(replace(OUTBOUNDS, patches=some))


def timeouts(layer):
    """The connection timeout of each cluster, in seconds."""
    return {name: Cluster.FromString(one.body).connect_timeout.seconds for name, one in layer.by_name(CLUSTER).items()}


def test_what_is_added_whole_is_the_proxys_own():
    """It is there once, though both layers are patched, for the outbounds, too."""
    mine, shared = patched(
        cluster("Add", value=ADDED),
        {"listener": {"operation": "Patch", "match": {"name": OUT}, "jsonPatches": [TO_SIDE]}},
    )

    assert timeouts(mine)["side"] == 9
    assert set(timeouts(shared)) == {"db"}
    assert b"side" in shared.by_name(LISTENER)[OUT].body


def test_what_is_added_can_be_patched_and_removed_by_later_steps():
    """By name or by its origin; steps before it was there do not see it."""
    mine, shared = patched(
        cluster("Patch", match={"name": "side"}, value="connectTimeout: 1s"),
        cluster("Add", value=ADDED),
        cluster("Add", value=ADDED.replace("side", "other")),
        cluster("Patch", match={"origin": "mesh-proxy-patch"}, value="altStatName: x"),
        cluster("Patch", match={"name": "side"}, value="connectTimeout: 2s"),
        cluster("Remove", match={"name": "other"}),
    )

    assert timeouts(mine) == {"localhost:80": 5, "side": 2}
    assert Cluster.FromString(mine.by_name(CLUSTER)["side"].body).alt_stat_name == "x"
    assert timeouts(shared) == {"db": 5}


@pytest.mark.parametrize("name", ["db", "localhost:80"])
def test_what_is_added_takes_the_place_of_what_has_its_name(name):
    """In whichever layer that was: later steps see the proxy's own, and nothing else of that name."""
    mine, shared = patched(
        cluster("Add", value=ADDED.replace("side", name)),
        cluster("Patch", match={"origin": "outbound"}, value="connectTimeout: 3s"),
        cluster("Patch", match={"origin": "inbound"}, value="connectTimeout: 3s"),
        cluster("Patch", match={"name": name}, value="altStatName: x"),
    )

    assert timeouts(mine)[name] == 9
    assert Cluster.FromString(mine.by_name(CLUSTER)[name].body).alt_stat_name == "x"
    assert timeouts(mine).keys().isdisjoint(timeouts(shared))


def test_steps_are_made_in_the_order_written_in_both_layers():
    """One for all changes what was there before an addition, a later one what was added, too."""
    mine, shared = patched(
        cluster("Patch", value="connectTimeout: 1s"),
        cluster("Add", value=ADDED),
        cluster("Patch", value="altStatName: x"),
        cluster("Patch", match={"name": "db"}, value="connectTimeout: 2s"),
    )

    assert timeouts(mine) == {"localhost:80": 1, "side": 9}
    assert timeouts(shared) == {"db": 2}
    for layer in (mine, shared):
        assert {Cluster.FromString(one.body).alt_stat_name for one in layer.by_name(CLUSTER).values()} == {"x"}


def test_an_added_listener_is_patched_like_others():
    """By its tags, and inside."""
    text = "name: side\nfilterChains: [{filters: [{name: one}]}]\nmetadata: {filterMetadata: {io.kuma.tags: {a: b}}}"
    mine, shared = patched(
        {"listener": {"operation": "Add", "value": text}},
        {"networkFilter": {"operation": "AddLast", "match": {"listenerTags": {"a": "b"}}, "value": "name: two"}},
    )

    side = Listener.FromString(mine.by_name(LISTENER)["side"].body)
    assert [one.name for one in side.filter_chains[0].filters] == ["one", "two"]
    assert set(shared.by_name(LISTENER)) == {OUT}


def test_origins_tell_the_parts_of_a_proxy_apart():
    """What is the application's, and what serves the control plane."""
    admin = AdminView(9901, "127.0.0.1", "/run/admin.sock", 9902, b"ca", address="10.0.0.1")
    steps = (
        cluster("Remove", match={"origin": "admin"}),
        {"listener": {"operation": "Remove", "match": {"origin": "inbound"}}},
    )
    mine = Generator().own(replace(own(INBOUND, admin=admin), patches=patches(*steps)))

    assert set(mine.by_name(CLUSTER)) == {"localhost:80"}
    assert set(mine.by_name(LISTENER)) == {"kuma:envoy:admin"}


def test_what_no_step_touches_stays_the_same_object():
    """So that others share it, and it is compared by its pointer."""
    making = Generator()
    plain = making.outbounds(OUTBOUNDS)
    changed = making.outbounds(replace(OUTBOUNDS, patches=patches(cluster("Patch", value="altStatName: x"))))

    assert changed.by_name(LISTENER)[OUT] is plain.by_name(LISTENER)[OUT]
    assert changed.by_name(CLUSTER)["db"] != plain.by_name(CLUSTER)["db"]


def test_a_step_that_cannot_be_done_gives_no_layer():
    """The text names the step, what it was for, and the reason."""
    wrong = {"op": "replace", "path": "/outlierDetection/interval", "value": "1s"}
    with pytest.raises(MeshError, match=r"appendModifications\[0\]\.cluster \(Patch\): db: jsonPatches\[0\]"):
        patched(cluster("Patch", match={"name": "db"}, jsonPatches=[wrong]))


@pytest.mark.parametrize(
    ("value", "awaited"),
    [("altStatName: x", "db"), ("type: STATIC", ""), ("edsClusterConfig: {serviceName: other}", "other")],
)
def test_it_is_known_which_endpoints_a_patched_cluster_asks_for(value, awaited):
    """Its own, as the mesh makes it; none, or those of another, as a user may want it."""
    _, shared = patched(cluster("Patch", match={"name": "db"}, value=value))

    assert shared.by_name(CLUSTER)["db"].awaits == awaited


def test_a_memory_forgets_what_was_not_asked_for_longest():
    """And makes it again when it is asked for."""
    memory, made = Memory(2), []

    def make(key):
        return memory.recall(key, lambda: made.append(key) or key)

    for key in ("a", "b", "a", "c", "a", "b"):
        assert make(key) == key

    assert made == ["a", "b", "c", "b"]
