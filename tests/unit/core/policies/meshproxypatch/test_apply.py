import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kuma.core.model.resource import Key
from kuma.core.policies._kit.merge import merge
from kuma.core.policies.meshproxypatch.apply import ORIGIN, patch
from kuma.core.policies.meshproxypatch.messages import PatchFailed
from kuma.core.policies.meshproxypatch.spec import Conf
from kuma.core.xds import names
from kuma.core.xds.complete import Originated, Resources
from kuma.core.xds.pack import packed_inbound, packed_outbound
from kuma.core.xds.written import to_json, unpacked
from kuma.envoy_api.envoy.config.cluster.v3.cluster_pb2 import Cluster
from kuma.envoy_api.envoy.config.listener.v3.listener_pb2 import Listener
from kuma.envoy_api.envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import (
    HttpConnectionManager,
    HttpFilter,
)
from tests.unit.core.policies.traffic import application, get

LUA = """
name: envoy.filters.http.lua
typedConfig:
  '@type': type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua
  defaultSourceCode:
    inlineString: |
      function envoy_on_response(handle) handle:headers():add("x-patched", "yes") end
"""
DIRECT = """
name: envoy.filters.network.direct_response
typedConfig:
  '@type': type.googleapis.com/envoy.extensions.filters.network.direct_response.v3.Config
"""
TLS = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext"
TCP_PROXY = "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"


def _conf(*modifications):
    return Conf.model_validate_json(json.dumps({"appendModifications": list(modifications)}))


def _patched(resources, *modifications):
    return patch(_conf(*modifications), resources)


def _clusters(*named, origin="outbound"):
    return Resources(clusters=tuple(Originated(origin, Cluster(name=name)) for name in named))


def _resources(drafts, protocol="http", workload_port=8080):
    """What an inbound and an outbound of a proxy become."""
    made = Resources()
    for origin, packed in (
        ("inbound", packed_inbound(drafts.inbound(protocol, workload_port=workload_port))),
        ("outbound", packed_outbound(drafts.outbound(protocol))),
    ):
        clusters = tuple(Originated(origin, Cluster.FromString(r.body)) for r in packed if r.type_url == names.CLUSTER)
        listeners = tuple(
            Originated(origin, Listener.FromString(r.body)) for r in packed if r.type_url == names.LISTENER
        )
        made = Resources(made.clusters + clusters, made.listeners + listeners)
    return made


def _filters(listener):
    return [one.name for one in listener.message.filter_chains[0].filters]


def _manager(listener):
    manager = HttpConnectionManager()
    assert listener.message.filter_chains[0].filters[-1].typed_config.Unpack(manager)
    return manager


def _http_filters(listener):
    return [one.name for one in _manager(listener).http_filters]


def _names(resources):
    return [(one.origin, one.message.name) for one in resources]


def test_a_cluster_can_be_added_and_takes_the_place_of_one_with_its_name():
    """What is added is known by its own origin."""
    made = _patched(_clusters("a", "b"), {"cluster": {"operation": "Add", "value": "name: b\ntype: STRICT_DNS"}})

    assert _names(made.clusters) == [("outbound", "a"), (ORIGIN, "b")]
    assert made.clusters[1].message.type == Cluster.STRICT_DNS


@pytest.mark.parametrize(
    ("match", "left"),
    [
        (None, []),
        ({"name": "a"}, ["b"]),
        ({"origin": "outbound"}, []),
        ({"origin": "inbound"}, ["a", "b"]),
        ({"name": "a", "origin": "inbound"}, ["a", "b"]),
    ],
)
def test_clusters_are_removed_that_meet_all_of_a_match(match, left):
    """Without a match, all of them."""
    made = _patched(_clusters("a", "b"), {"cluster": {"operation": "Remove", "match": match}})

    assert [one.message.name for one in made.clusters] == left


def test_a_patch_is_merged_into_what_is_there():
    """Objects are merged, lists appended to, single values replaced, also durations and wrapped values."""
    cluster = Cluster(name="a", alt_stat_name="old")
    cluster.connect_timeout.seconds, cluster.connect_timeout.nanos = 5, 500
    cluster.per_connection_buffer_limit_bytes.value = 7
    cluster.common_lb_config.healthy_panic_threshold.value = 3
    cluster.health_checks.add().healthy_threshold.value = 1
    value = """
    altStatName: new
    connectTimeout: 10s
    perConnectionBufferLimitBytes: 0
    commonLbConfig: {ignoreNewHostsUntilFirstHc: true}
    healthChecks: [{unhealthyThreshold: 2}]
    """
    given_ = Resources(clusters=(Originated("outbound", cluster),))
    [made] = _patched(given_, {"cluster": {"operation": "Patch", "value": value}}).clusters

    assert to_json(made.message) == {
        "name": "a",
        "altStatName": "new",
        "connectTimeout": "10s",
        "perConnectionBufferLimitBytes": 0,
        "commonLbConfig": {"healthyPanicThreshold": {"value": 3.0}, "ignoreNewHostsUntilFirstHc": True},
        "healthChecks": [{"healthyThreshold": 1}, {"unhealthyThreshold": 2}],
    }
    assert cluster.alt_stat_name == "old"


def test_what_is_packed_inside_is_merged_where_the_types_agree():
    """A patch of the TLS context keeps what the mesh wrote there."""
    cluster = Cluster(name="a")
    written = {
        "cluster": {
            "operation": "Patch",
            "value": f"transportSocket: {{name: tls, typedConfig: {{'@type': {TLS}, sni: mine}}}}",
        }
    }
    [once] = _patched(Resources(clusters=(Originated("outbound", cluster),)), written).clusters
    more = {
        "cluster": {
            "operation": "Patch",
            "value": f"transportSocket: {{typedConfig: {{'@type': {TLS}, allowRenegotiation: true}}}}",
        }
    }
    [twice] = _patched(Resources(clusters=(once,)), more).clusters

    assert to_json(twice.message)["transportSocket"] == {
        "name": "tls",
        "typedConfig": {"@type": TLS, "sni": "mine", "allowRenegotiation": True},
    }


def test_json_patches_speak_of_the_json_form():
    """Steps in order, camelCase, parents made where defaults left them out; removing the absent is fine."""
    patches = [
        {"op": "add", "path": "/commonLbConfig/healthyPanicThreshold/value", "value": 10},
        {"op": "add", "path": "/healthChecks/-", "value": {"timeout": "1s"}},
        {"op": "replace", "path": "/name", "value": "a"},
        {"op": "remove", "path": "/loadAssignment"},
        {"op": "copy", "from": "/name", "path": "/altStatName"},
    ]
    [made] = _patched(_clusters("a"), {"cluster": {"operation": "Patch", "jsonPatches": patches}}).clusters

    assert to_json(made.message) == {
        "name": "a",
        "altStatName": "a",
        "commonLbConfig": {"healthyPanicThreshold": {"value": 10.0}},
        "healthChecks": [{"timeout": "1s"}],
    }


@pytest.mark.parametrize(
    ("modification", "words"),
    [
        (
            {"cluster": {"operation": "Patch", "jsonPatches": [{"op": "replace", "path": "/nope", "value": 1}]}},
            "appendModifications[1].cluster (Patch): a: jsonPatches[0] (replace /nope)",
        ),
        (
            {"cluster": {"operation": "Patch", "jsonPatches": [{"op": "add", "path": "/nope", "value": 1}]}},
            'has no field named "nope"',
        ),
        (
            {"cluster": {"operation": "Patch", "jsonPatches": [{"op": "replace", "path": "/name", "value": "b"}]}},
            "(Patch): a: a patch cannot change the name",
        ),
        (
            {"cluster": {"operation": "Patch", "jsonPatches": [{"op": "remove", "path": "/name"}]}},
            "(Patch): a: a patch cannot change the name",
        ),
    ],
)
def test_a_step_that_cannot_be_done_says_which_and_why(modification, words):
    """The proxy keeps what it has, and the operator learns the reason."""
    first = {"cluster": {"operation": "Patch", "value": "{}"}}
    with pytest.raises(PatchFailed) as failed:
        _patched(_clusters("a"), first, modification)

    assert words in str(failed.value)


def test_listeners_are_matched_by_name_origin_and_tags(drafts):
    """All fields given must hold; `*` stands for any value of a tag."""
    resources = _resources(drafts)
    for one, service in zip(resources.listeners, ("web", "backend"), strict=True):
        one.message.metadata.filter_metadata["io.kuma.tags"].fields["kuma.io/service"].string_value = service

    def left(**match):
        made = _patched(resources, {"listener": {"operation": "Remove", "match": match}})
        return [one.origin for one in made.listeners]

    assert left(tags={"kuma.io/service": "web"}) == ["outbound"]
    assert left(tags={"kuma.io/service": "*"}) == []
    assert left(tags={"kuma.io/service": "web"}, origin="outbound") == ["inbound", "outbound"]
    assert left(tags={"version": "1"}) == ["inbound", "outbound"]
    assert left(name=resources.listeners[1].message.name) == ["inbound"]


@pytest.mark.parametrize(
    ("operation", "match", "expected"),
    [
        ("AddFirst", None, ["new", "a", "b", "router"]),
        ("AddLast", None, ["a", "b", "new", "router"]),
        ("AddBefore", {"name": "b"}, ["a", "new", "b", "router"]),
        ("AddAfter", {"name": "a"}, ["a", "new", "b", "router"]),
        ("AddAfter", {"name": "nope"}, ["a", "b", "router"]),
        ("AddFirst", {"origin": "outbound"}, ["a", "b", "router"]),
        ("AddFirst", {"listenerName": "nope"}, ["a", "b", "router"]),
        ("AddFirst", {"listenerTags": {"a": "b"}}, ["a", "b", "router"]),
        ("Remove", {"name": "a"}, ["b", "router"]),
        ("Remove", None, []),
    ],
)
def test_http_filters_are_added_where_the_user_wants_them(drafts, operation, match, expected):
    """Nothing is ever put behind the router: Envoy would refuse it."""
    draft = drafts.inbound("http")
    for name in ("a", "b"):
        draft.chains[0].http_filters.append(HttpFilter(name=name))
    listener = Listener.FromString(packed_inbound(draft)[0].body)
    value = None if operation == "Remove" else "name: new"
    modification = {"httpFilter": {"operation": operation, "match": match, "value": value}}
    made = _patched(Resources(listeners=(Originated("inbound", listener),)), modification)

    assert [name.removeprefix("envoy.filters.http.") for name in _http_filters(made.listeners[0])] == expected


def test_patches_of_filters_speak_of_what_is_inside_them(drafts):
    """Both forms: a value with a typed config of the same type, and JSON patches from its root."""
    match = {"name": names.TCP_PROXY, "origin": "inbound"}
    value = f"name: {names.TCP_PROXY}\ntypedConfig: {{'@type': {TCP_PROXY}, idleTimeout: 10s}}"
    made = _patched(
        _resources(drafts, "tcp"),
        {"networkFilter": {"operation": "Patch", "match": match, "value": value}},
        {
            "networkFilter": {
                "operation": "Patch",
                "match": match,
                "jsonPatches": [{"op": "replace", "path": "/statPrefix", "value": "x"}],
            }
        },
    )

    own, other = (unpacked(one.message.filter_chains[0].filters[0].typed_config) for one in made.listeners)
    assert (own.idle_timeout.seconds, own.stat_prefix, own.cluster) == (10, "x", "localhost:8080")
    assert not other.HasField("idle_timeout")


def test_a_filter_keeps_its_type(drafts):
    """A typed config of another type is a mistake, and says so."""
    value = f"name: x\ntypedConfig: {{'@type': {TLS}}}"
    modification = {"networkFilter": {"operation": "Patch", "match": {"name": names.TCP_PROXY}, "value": value}}
    with pytest.raises(PatchFailed, match=r"UpstreamTlsContext', the filter is 'envoy.+TcpProxy'"):
        _patched(_resources(drafts, "tcp"), modification)


def test_network_filters_stay_in_front_of_the_one_that_ends_the_chain(drafts):
    """Added to every chain of the listeners that match."""
    made = _patched(
        _resources(drafts, "tcp"),
        {"networkFilter": {"operation": "AddLast", "match": {"origin": "outbound"}, "value": DIRECT}},
    )

    assert [_filters(one) for one in made.listeners] == [
        [names.TCP_PROXY],
        ["envoy.filters.network.direct_response", names.TCP_PROXY],
    ]


def test_virtual_hosts_are_added_changed_and_removed(drafts):
    """By origin, route configuration and name."""
    resources = _resources(drafts)
    for one in resources.listeners:
        manager = _manager(one)
        manager.route_config.name = f"{one.origin}:backend"
        one.message.filter_chains[0].filters[0].typed_config.Pack(manager)
    here = {"routeConfigurationName": "outbound:backend"}
    value = "name: more\ndomains: [more.mesh]"
    retry = "retryPolicy: {retryOn: 5xx}"
    made = _patched(
        resources,
        {"virtualHost": {"operation": "Add", "match": here, "value": value}},
        {"virtualHost": {"operation": "Patch", "match": {**here, "name": "more"}, "value": retry}},
        {"virtualHost": {"operation": "Remove", "match": {"origin": "inbound"}}},
    )

    inbound, outbound = (_manager(one).route_config.virtual_hosts for one in made.listeners)
    assert [host.name for host in inbound] == []
    assert [(host.name, host.retry_policy.retry_on) for host in outbound] == [("backend", ""), ("more", "5xx")]


def test_nothing_that_comes_in_is_changed(drafts):
    """Resources are shared between proxies."""
    resources = _resources(drafts)
    before = [one.message.SerializeToString(deterministic=True) for one in resources.listeners]
    _patched(
        resources,
        {"httpFilter": {"operation": "AddFirst", "value": LUA}},
        {"virtualHost": {"operation": "Remove", "match": {}}},
        {"listener": {"operation": "Patch", "value": "statPrefix: x"}},
    )

    assert [one.message.SerializeToString(deterministic=True) for one in resources.listeners] == before


def test_modifications_of_several_policies_follow_one_another():
    """The policy of the highest rank comes last."""
    low = _conf({"cluster": {"operation": "Patch", "value": "altStatName: low"}})
    high = _conf({"cluster": {"operation": "Patch", "value": "altStatName: high"}})
    merged = merge(Conf, [(low, Key("MeshProxyPatch", "default", "z")), (high, Key("MeshProxyPatch", "default", "a"))])

    [made] = patch(merged.conf, _clusters("a")).clusters
    assert made.message.alt_stat_name == "high"


@given(data=st.data())
def test_a_patch_is_done_or_refused_and_nothing_else(data):
    """Arbitrary steps on JSON never fail in a way nobody foresaw."""
    pointers = st.sampled_from(
        ["", "/", "/name", "/healthChecks", "/healthChecks/0", "/healthChecks/-", "/a/b/0", "/name/x"]
    )
    values = (
        st.none() | st.integers() | st.text(max_size=3) | st.just({"timeout": "1s"}) | st.lists(st.just({}), max_size=2)
    )
    one = st.fixed_dictionaries(
        {"op": st.sampled_from(["add", "remove", "replace", "move", "copy"]), "path": pointers},
        optional={"value": values, "from": pointers},
    )
    patches = data.draw(st.lists(one, max_size=4))
    try:
        made = _patched(_clusters("a"), {"cluster": {"operation": "Patch", "jsonPatches": patches, "value": "{}"}})
        outcome = f"{len(made.clusters)} cluster"
    except PatchFailed as failed:
        outcome = str(failed)

    assert outcome.startswith(("1 cluster", "appendModifications[0].cluster (Patch): a: "))


def test_a_filter_added_by_a_patch_does_its_work(drafts, envoy):
    """A Lua filter writes a header into every response of the application."""
    with application() as port:
        draft = drafts.inbound("http", workload_port=port)
        [listener] = _patched(
            Resources(listeners=(Originated("inbound", Listener.FromString(packed_inbound(draft)[0].body)),)),
            {"httpFilter": {"operation": "AddBefore", "match": {"name": names.ROUTER}, "value": LUA}},
        ).listeners
        patched = drafts.inbound("http", workload_port=port)
        patched.view = draft.view
        patched.listener, patched.chains = listener.message, []
        with envoy.running(patched):
            assert get(draft.view.port).all("x-patched") == ["yes"]
