import itertools

import pytest

from kuma.core.errors import BadRequest
from kuma.core.xds import session as module
from kuma.core.xds.names import CLUSTER, ENDPOINT, LISTENER, SECRET
from kuma.core.xds.resources import Layer, LayerDeltas, XdsResource
from kuma.core.xds.session import Acked, Nacked, Opened, Subscribed
from kuma.core.xds.wire import Wire
from kuma.envoy_api.envoy.config.core.v3.base_pb2 import Node
from tests.unit.core.xds.conversation import (
    NODE,
    Delta,
    Sotw,
    connected,
    desired,
    layer,
    responses,
    sent,
    services,
    settle,
)


@pytest.fixture(params=[Delta, Sotw], ids=["delta", "sotw"])
def proxy(request):
    """A proxy of each dialect."""
    return request.param()


def layer_of(*resources):
    """A layer of these resources."""
    return Layer.of(resources)


def kinds(said):
    """The types of responses, in order."""
    return [one.kind for one in said]


# The first conversation


def test_a_proxy_introduces_itself_once(proxy):
    """The node comes out first, once, and later requests need not repeat it."""
    assert [type(one) for one in proxy.ask(CLUSTER)] == [Opened]
    assert proxy.ask(LISTENER, node=None) == []


def test_a_first_request_without_node_ends_the_stream(proxy):
    """Nobody knows whose stream it is."""
    with pytest.raises(BadRequest, match="names no node id"):
        proxy.ask(CLUSTER, node=Node())


def test_a_node_cannot_become_another(proxy):
    """A changed node id ends the stream, whatever else the request says."""
    proxy.ask(CLUSTER)

    with pytest.raises(BadRequest, match=r"the node id changed on a stream from 'default.web' to 'default.db'"):
        proxy.ask(LISTENER, node=Node(id="default.db"))


def test_garbage_ends_the_stream(proxy):
    """Bytes that are no discovery request are refused with a sentence."""
    with pytest.raises(BadRequest, match=r"not a (Delta)?DiscoveryRequest"):
        proxy.session.receive(b"\xff\xff\xff")


def test_unknown_types_are_left_unanswered(proxy):
    """Envoy may ask for more than we serve; that is no reason to close the stream."""
    opened = proxy.ask("type.googleapis.com/envoy.service.runtime.v3.Runtime", "rtds")

    assert [type(one) for one in opened] == [Opened]
    assert responses(proxy.want(services("a"))) == []
    assert proxy.session.in_sync()


def test_too_many_names_end_the_stream(proxy, monkeypatch):
    """What one proxy may ask for is limited."""
    monkeypatch.setattr(module, "MAX_NAMES", 2)

    with pytest.raises(BadRequest, match="over 2 resource names"):
        proxy.ask(ENDPOINT, "a", "b", "c")


def test_nothing_is_sent_before_it_is_known_what_the_proxy_should_have(proxy):
    """A request that comes before the first snapshot is answered when the snapshot comes."""
    assert responses(proxy.ask(CLUSTER)) == []
    assert not proxy.session.in_sync()

    assert responses(proxy.want(services("a"))) == [sent("CDS", "a")]


def test_envoy_start_clusters_then_endpoints_then_listeners(proxy):
    """The order in which Envoy asks is the order in which it is answered."""
    proxy.want(services("a", "b", revision=7))

    clusters = responses(proxy.ask(CLUSTER))
    assert clusters == [sent("CDS", "a", "b")]
    assert proxy.answer(CLUSTER, clusters[0]) == [Acked(CLUSTER)]
    endpoints = responses(proxy.ask(ENDPOINT, "a", "b"))
    assert endpoints == [sent("EDS", "a", "b")]
    proxy.answer(ENDPOINT, endpoints[0])
    listeners = responses(proxy.ask(LISTENER))
    assert listeners == [sent("LDS", "a", "b")]

    assert not proxy.session.holds(7)
    proxy.answer(LISTENER, listeners[0])
    assert proxy.session.holds(7)


def test_an_empty_set_is_told(proxy):
    """Envoy waits for its first clusters, also when there are none."""
    proxy.want(desired())

    assert settle(proxy, proxy.ask(CLUSTER)) == [sent("CDS")]
    assert settle(proxy, proxy.ask(LISTENER)) == [sent("LDS")]


def test_only_what_was_asked_for_is_sent(proxy):
    """Endpoints of a service the proxy has no cluster for stay here."""
    proxy.want(services("a", "b"))

    assert responses(proxy.ask(ENDPOINT, "b")) == [sent("EDS", "b")]


def test_the_caller_learns_what_is_asked_for(proxy):
    """A subscription comes out with its names, once."""
    commands = proxy.ask(SECRET, "identity")

    assert [(one.type_url, one.names) for one in commands if isinstance(one, Subscribed)] == [
        (SECRET, frozenset({"identity"}))
    ]


def test_equal_states_are_silent(proxy):
    """A new state with equal content, whatever made it, sends nothing."""
    connected(proxy, services("a"))

    assert proxy.want(services("a", revision=2)) == []
    assert proxy.session.holds(2)


# Changes


def test_a_new_service_comes_as_cluster_endpoints_listener(proxy):
    """Listeners wait until the new cluster has its endpoints."""
    connected(proxy, services("a"))

    commands = proxy.want(services("a", "b"))
    assert kinds(responses(commands)) == ["CDS"]
    after_clusters = proxy.answer(CLUSTER, responses(commands)[0])
    assert responses(after_clusters) == []
    endpoints = responses(proxy.ask(ENDPOINT, "a", "b") if proxy.dialect == "sotw" else proxy.ask(ENDPOINT, "b"))
    assert endpoints == [sent("EDS", "b")]
    listeners = responses(proxy.answer(ENDPOINT, endpoints[0]))
    assert kinds(listeners) == ["LDS"]
    assert "b" in listeners[0].resources


def test_a_service_that_goes_leaves_its_listener_first(proxy):
    """The cluster is taken away only after the listener that used it; its endpoints are never taken."""
    connected(proxy, services("a", "b"))

    said = settle(proxy, proxy.want(services("a")))

    assert kinds(said) == ["LDS", "CDS"]
    if proxy.dialect == "delta":
        assert said == [sent("LDS", removed=["b"]), sent("CDS", removed=["b"])]
    else:
        assert said == [sent("LDS", "a"), sent("CDS", "a")]
    assert proxy.session.in_sync()


def test_a_cluster_stays_while_the_listeners_that_drop_it_are_refused(proxy):
    """The proxy still runs the old listener, which leads to the cluster."""
    connected(proxy, services("a", "b"))
    [listeners] = responses(proxy.want(services("a")))

    assert responses(proxy.answer(LISTENER, listeners, "no")) == []


def test_a_service_that_comes_back_before_it_went(proxy):
    """A cluster that waits to be removed and is wanted again is not removed."""
    connected(proxy, services("a", "b"))
    [listeners] = responses(proxy.want(services("a")))

    said = settle(proxy, [*proxy.want(services("a", "b")), listeners])

    assert not any("b" in one.removed for one in said if one.kind == "CDS")
    assert proxy.session.in_sync()
    assert said[-1].kind == "LDS"
    assert "b" in said[-1].resources


def test_endpoints_wait_for_nobody(proxy):
    """An endpoint change goes out while a cluster and a listener wait for their answers."""
    connected(proxy, services("a"))
    proxy.want(desired(layer({"a": 2}, {"a": 1}, {"a": 2})))

    said = responses(proxy.want(desired(layer({"a": 2}, {"a": 2}, {"a": 2}))))

    # The forced endpoints of the changed cluster are under way; the newer ones follow when they are answered.
    assert said == []
    proxy = connected(type(proxy)(), services("a"))
    proxy.want(desired(layer({"a": 1}, {"a": 1}, {"a": 2})))
    assert responses(proxy.want(desired(layer({"a": 1}, {"a": 2}, {"a": 2})))) == [sent("EDS", "a", content=2)]


def test_a_changed_cluster_gets_its_endpoints_again(proxy):
    """Envoy warms a changed cluster until it is given endpoints, also when these did not change."""
    connected(proxy, services("a"))

    said = responses(proxy.want(desired(layer({"a": 2}, {"a": 1}, {"a": 1}))))

    assert said == [sent("CDS", "a", content=2), sent("EDS", "a")]


def test_listeners_wait_for_a_changed_cluster(proxy):
    """A new listener may need what changed in the cluster."""
    connected(proxy, services("a"))
    clusters, endpoints = responses(proxy.want(desired(layer({"a": 2}, {"a": 1}, {"a": 2}))))

    assert responses(proxy.answer(CLUSTER, clusters)) == []
    assert responses(proxy.answer(ENDPOINT, endpoints)) == [sent("LDS", "a", content=2)]


def test_listeners_do_not_wait_for_endpoints_that_are_no_longer_wanted(proxy):
    """A service that came and went at once holds nothing up."""
    connected(proxy, services("a"))
    [clusters] = responses(proxy.want(services("a", "b")))
    proxy.want(desired(layer({"a": 1}, {"a": 1}, {"a": 2})))

    assert kinds(responses(proxy.answer(CLUSTER, clusters))) == ["LDS"]


def cluster(name, content=1, awaits=None):
    """A cluster that takes its endpoints from elsewhere, or from nowhere."""
    return XdsResource(CLUSTER, name, f"{name}={content}".encode(), awaits=awaits)


def test_listeners_do_not_wait_for_a_cluster_that_asks_for_no_endpoints(proxy):
    """A user may have patched it so, while the mesh has endpoints of that name; Envoy will never ask for them."""
    proxy.want(desired(layer(None, {"a": 1}, {"a": 1}), layer_of(cluster("a", awaits=""))))
    [clusters] = responses(proxy.ask(CLUSTER))
    proxy.answer(CLUSTER, clusters)

    assert responses(proxy.ask(LISTENER)) == [sent("LDS", "a")]


def test_a_cluster_that_stops_asking_for_endpoints_is_no_longer_waited_for(proxy):
    """Whether or not its former self was given some."""
    proxy.want(desired(layer({"a": 1}, {"a": 1}, {"a": 1})))
    [clusters] = responses(proxy.ask(CLUSTER))
    proxy.want(desired(layer_of(cluster("a", 2, awaits="")), layer(None, {"a": 1}, {"a": 1})))
    [again] = responses(proxy.answer(CLUSTER, clusters))
    proxy.answer(CLUSTER, again)

    assert responses(proxy.ask(LISTENER)) == [sent("LDS", "a")]


def test_a_cluster_that_shares_endpoints_is_given_them_again(proxy):
    """Envoy warms it with endpoints that it has asked for under another name, and does not ask twice."""
    connected(proxy, services("a"))

    said = settle(proxy, proxy.want(desired(layer({"a": 1}, {"a": 1}, {"a": 1}), layer_of(cluster("b", awaits="a")))))

    assert said[-1] == sent("EDS", "a")
    assert proxy.session.in_sync()


def test_a_resource_that_moves_to_another_layer_is_changed_and_not_removed(proxy):
    """A user's cluster takes the place of the mesh's, and gives it back."""
    mesh = desired(layer(), layer({"a": 1}, {"a": 1}, {"a": 1}))
    mine = desired(layer_of(cluster("a", 2, awaits="")), layer(None, {"a": 1}, {"a": 1}))
    connected(proxy, mesh)

    assert settle(proxy, proxy.want(mine)) == [sent("CDS", "a", content=2)]
    assert sent("CDS", "a") in settle(proxy, proxy.want(mesh))
    assert proxy.session.in_sync()


def test_one_response_of_a_type_at_a_time_and_the_newest_state_wins(proxy):
    """States that were overtaken while an answer was awaited are never sent."""
    connected(proxy, services("a"))
    [first] = responses(proxy.want(desired(layer({"a": 1}, {"a": 2}, {"a": 1}))))
    for content in range(3, 9):
        assert responses(proxy.want(desired(layer({"a": 1}, {"a": content}, {"a": 1})))) == []

    assert responses(proxy.answer(ENDPOINT, first)) == [sent("EDS", "a", content=8)]


def test_a_state_that_was_taken_back_is_not_sent(proxy):
    """There and back while an answer is awaited: only the way back is sent."""
    connected(proxy, services("a"))
    [there] = responses(proxy.want(desired(layer({"a": 1}, {"a": 2}, {"a": 1}))))
    proxy.want(services("a"))

    assert responses(proxy.answer(ENDPOINT, there)) == [sent("EDS", "a")]


def test_stale_nonces_say_nothing(proxy):
    """An answer to an earlier response does not count for the one under way."""
    connected(proxy, services("a"))
    [first] = responses(proxy.want(desired(layer({"a": 1}, {"a": 2}, {"a": 1}))))
    [second] = responses((proxy.want(desired(layer({"a": 1}, {"a": 3}, {"a": 1}))), *proxy.answer(ENDPOINT, first))[1:])

    assert proxy.answer(ENDPOINT, first, "a late word") == []
    assert proxy.answer(ENDPOINT, second) == [Acked(ENDPOINT)]


def test_two_successive_responses_never_bear_one_nonce(proxy):
    """Else a late word on the first would pass for an answer to the second, however often they are the same."""
    connected(proxy, services("a"))
    nonces = []
    for content in range(2, 8):
        said = settle(proxy, proxy.want(desired(layer({"a": content}, {"a": 1}, {"a": 1}))))
        nonces += [one.nonce for one in said if one.kind == "EDS"]

    assert len(nonces) == 6
    assert all(before != after for before, after in itertools.pairwise(nonces))


# Refusals


def test_a_refusal_is_reported_once_and_not_sent_again(proxy):
    """Nothing of the type is sent until it changes; what else changes goes on."""
    connected(proxy, services("a"))
    bad = desired(layer({"a": 1}, {"a": 1}, {"a": "bad"}))
    [listeners] = responses(proxy.want(bad))

    nacked = proxy.answer(LISTENER, listeners, "address in use")

    assert [type(one) for one in nacked] == [Nacked]
    assert nacked[0].message == "address in use"
    assert proxy.want(desired(layer({"a": 1}, {"a": 1}, {"a": "bad"}), revision=2)) == []
    assert not proxy.session.in_sync()
    assert not proxy.session.holds(1)
    assert proxy.session.refused(1) == (LISTENER,)
    assert responses(proxy.want(desired(layer({"a": 1}, {"a": 2}, {"a": "bad"})))) == [sent("EDS", "a", content=2)]


def test_an_earlier_refusal_does_not_count_against_a_later_change(proxy):
    """Whether a change arrived is asked of that change: what was refused before it is another matter."""
    connected(proxy, services("a"))
    [listeners] = responses(proxy.want(desired(layer({"a": 1}, {"a": 1}, {"a": "bad"}), revision=5)))
    proxy.answer(LISTENER, listeners, "no")

    [endpoints] = responses(proxy.want(desired(layer({"a": 1}, {"a": 2}, {"a": "bad"}), revision=6)))
    assert not proxy.session.holds(6)
    proxy.answer(ENDPOINT, endpoints)

    assert proxy.session.holds(6)
    assert proxy.session.refused(6) == ()
    assert not proxy.session.holds(5)
    assert proxy.session.refused(5) == (LISTENER,)


def test_a_mended_resource_is_sent(proxy):
    """A change ends the silence after a refusal."""
    connected(proxy, services("a"))
    [listeners] = responses(proxy.want(desired(layer({"a": 1}, {"a": 1}, {"a": "bad"}))))
    proxy.answer(LISTENER, listeners, "no")

    assert responses(proxy.want(desired(layer({"a": 1}, {"a": 1}, {"a": "good"})))) == [
        sent("LDS", "a", content="good")
    ]


def test_all_of_a_refused_response_is_sent_again_with_the_next_change(proxy):
    """Envoy may have applied the good part of what it refused, so going back must undo that too."""
    connected(proxy, services("a", "b"))
    mixed = desired(layer(dict.fromkeys("ab", 1), dict.fromkeys("ab", 1), {"a": 2, "b": "bad"}))
    [listeners] = responses(proxy.want(mixed))
    proxy.answer(LISTENER, listeners, "b is bad")

    assert settle(proxy, proxy.want(services("a", "b"))) == [sent("LDS", "a", "b")]
    assert proxy.session.in_sync()


def test_two_refusals_in_a_row_are_both_undone(proxy):
    """What the proxy applied of the first refused response is not forgotten over the second."""
    connected(proxy, services("a", "b"))
    same = dict.fromkeys("ab", 1)
    [first] = responses(proxy.want(desired(layer(same, same, {"a": "bad", "b": 2}))))
    proxy.answer(LISTENER, first, "a is bad, b is applied")
    [second] = responses(proxy.want(desired(layer(same, same, {"a": "worse"}))))
    proxy.answer(LISTENER, second, "a is bad")

    [mended] = settle(proxy, proxy.want(services("a", "b")))

    assert mended == sent("LDS", "a", "b")


def test_a_refused_addition_that_is_taken_back_is_removed(proxy):
    """Half of a refused response may be in use: what is not wanted any more is told as removed."""
    connected(proxy, services("a"))
    [listeners] = responses(proxy.want(desired(layer({"a": 1}, {"a": 1}, {"a": 1, "x": "bad"}))))
    proxy.answer(LISTENER, listeners, "no")

    said = settle(proxy, proxy.want(services("a")))

    assert said == [sent("LDS", removed=["x"]) if proxy.dialect == "delta" else sent("LDS", "a")]
    assert proxy.session.in_sync()


def test_listeners_wait_for_clusters_that_were_refused(proxy):
    """A listener to a cluster the proxy does not have would drop traffic."""
    connected(proxy, services("a"))
    [clusters] = responses(proxy.want(services("a", "bad")))

    assert responses(proxy.answer(CLUSTER, clusters, "no")) == []


def changing(listeners, clusters=(), revision=2):
    """Service ``a`` as it was before, but for these listeners and clusters."""
    return desired(layer({"a": 1, **dict(clusters)}, {"a": 1}, dict(listeners)), revision=revision)


def test_listeners_that_need_no_refused_cluster_do_not_wait(proxy):
    """One bad cluster must not keep a permission from being withdrawn; the listener that needs it follows it."""
    connected(proxy, services("a", "b"))
    state = {"a": 2, "b": 1, "new": 1}
    [clusters] = responses(proxy.want(desired(layer({"a": 1, "b": 1, "new": "bad"}, {"a": 1, "b": 1}, state))))

    [listeners] = responses(proxy.answer(CLUSTER, clusters, "Error adding/updating cluster(s) new: bad"))
    assert listeners.resources["a"] == "a=2"
    assert "new" not in listeners.resources
    assert responses(proxy.answer(LISTENER, listeners)) == []
    assert not proxy.session.in_sync()

    said = settle(proxy, proxy.want(desired(layer({"a": 1, "b": 1, "new": 1}, {"a": 1, "b": 1}, state))))
    assert said[0].kind == "CDS"
    assert said[-1].kind == "LDS"
    assert said[-1].resources["new"] == "new=1"
    assert proxy.session.in_sync()


def test_a_refused_change_of_a_cluster_holds_no_listener_back(proxy):
    """The proxy still has the cluster as it was."""
    connected(proxy, services("a"))
    clusters, endpoints = responses(proxy.want(changing({"a": 2}, {"a": "bad"})))
    proxy.answer(ENDPOINT, endpoints)

    assert responses(proxy.answer(CLUSTER, clusters, "no")) == [sent("LDS", "a", content=2)]


def test_a_listener_that_is_held_back_stays_as_it_was(proxy):
    """Also where the whole set is sent, with another change."""
    connected(proxy, services("a", "b"))
    both = {"a": 1, "b": 1}
    moved = XdsResource(LISTENER, "b", b"b=2", leads_to=frozenset({"new"}))
    [clusters] = responses(
        proxy.want(desired(layer({**both, "new": "bad"}, both, {"a": 2}), layer_of(moved), revision=2))
    )

    [listeners] = responses(proxy.answer(CLUSTER, clusters, "new: bad"))
    proxy.answer(LISTENER, listeners)

    assert listeners.resources == ({"a": "a=2"} if proxy.dialect == "delta" else {"a": "a=2", "b": "b=1"})
    assert proxy.session.refused(2) == (CLUSTER, LISTENER)
    assert not proxy.session.holds(2)

    assert settle(proxy, proxy.want(services("a", "b", revision=3)))
    assert proxy.session.holds(3)
    assert proxy.session.in_sync()


def test_a_later_change_does_not_wait_for_listeners_held_back_before(proxy):
    """They lack what an earlier change brought."""
    connected(proxy, services("a"))
    [clusters] = responses(proxy.want(changing({"a": 1, "new": 1}, {"new": "bad"}, revision=5)))
    proxy.answer(CLUSTER, clusters, "new: bad")
    assert proxy.session.refused(5) == (CLUSTER, LISTENER)

    [listeners] = responses(proxy.want(changing({"a": 2, "new": 1}, {"new": "bad"}, revision=6)))
    assert not proxy.session.holds(6)
    proxy.answer(LISTENER, listeners)

    assert proxy.session.holds(6)
    assert proxy.session.refused(6) == ()
    settle(proxy, proxy.want(changing({"a": 2, "new": 2}, {"new": "bad"}, revision=7)))
    assert proxy.session.refused(7) == (LISTENER,)


def test_a_change_is_not_there_while_its_answer_is_awaited(proxy):
    """A type that was refused before is sent anew with the next change: only the answer to that counts."""
    connected(proxy, services("a"))
    [first] = responses(proxy.want(changing({"a": "bad"}, revision=5)))
    proxy.answer(LISTENER, first, "no")
    [second] = responses(proxy.want(changing({"a": "worse"}, revision=6)))

    assert not proxy.session.holds(6)
    assert proxy.session.refused(5) == ()
    proxy.answer(LISTENER, second, "no")
    assert not proxy.session.holds(6)
    assert proxy.session.refused(6) == (LISTENER,)


def test_a_fresh_proxy_that_refused_a_cluster_still_gets_listeners(proxy):
    """It has none to keep, so those it can serve are better than none."""
    proxy.want(services("a", "bad"))
    [clusters] = responses(proxy.ask(CLUSTER))
    proxy.answer(CLUSTER, clusters, "no")

    assert responses(proxy.ask(LISTENER)) == [sent("LDS", "a", "bad")]


def test_refused_endpoints_hold_no_listener_up(proxy):
    """One bad assignment must not freeze all listeners."""
    connected(proxy, services("a"))
    clusters, endpoints = responses(proxy.want(desired(layer({"a": 2}, {"a": "bad"}, {"a": 2}))))
    proxy.answer(CLUSTER, clusters)

    assert kinds(responses(proxy.answer(ENDPOINT, endpoints, "no"))) == ["LDS"]


def test_removing_a_cluster_does_not_make_a_refused_one_accepted(proxy):
    """A cluster that waited to be removed goes after the refusal is mended, and the refusal is not forgotten."""
    connected(proxy, services("a", "b"))
    [listeners] = responses(proxy.want(services("a")))
    clusters, endpoints = responses(proxy.want(desired(layer({"a": "bad"}, {"a": 1}, {"a": 1}))))
    proxy.answer(CLUSTER, clusters, "no")
    settle(proxy, [listeners, endpoints])

    assert not proxy.session.in_sync()
    said = settle(proxy, proxy.want(services("a", revision=3)))
    assert [one for one in said if one.kind == "CDS"]
    assert proxy.session.holds(3)


def test_what_a_proxy_heard_is_known_also_when_it_said_no(proxy):
    """A refusal is an answer: ``heard`` tells it from silence, ``settled`` from consent."""
    connected(proxy, services("a"))
    [listeners] = responses(proxy.want(desired(layer({"a": 1}, {"a": 1}, {"a": "bad"}))))
    assert not proxy.session.heard(LISTENER)

    proxy.answer(LISTENER, listeners, "no")

    assert proxy.session.heard(LISTENER)
    assert not proxy.session.settled(LISTENER)


# Subscriptions


def test_endpoints_are_not_taken_from_a_cluster_that_is_still_used(proxy):
    """They go with the cluster, when the proxy lets go of them."""
    connected(proxy, services("a", "b"))

    said = settle(proxy, proxy.want(services("a")))

    assert "EDS" not in kinds(said)


def test_secrets_are_not_taken_from_a_listener_that_still_uses_them(proxy):
    """Mutual TLS is switched off: the proxy drops the secrets itself, after the listeners changed."""
    connected(proxy, desired(layer({"a": 1}, {"a": 1}, {"a": "tls"}, {"identity": 1})))

    said = settle(proxy, proxy.want(services("a")))

    assert kinds(said) == ["LDS"]


def test_a_secret_may_come_later(proxy):
    """A certificate that is not issued yet is sent when it is, without being asked for again."""
    connected(proxy, services("a"))
    assert responses(proxy.ask(SECRET, "identity")) == []
    assert not proxy.session.in_sync()

    said = settle(proxy, proxy.want(desired(layer({"a": 1}, {"a": 1}, {"a": 1}, {"identity": 1}))))

    assert said == [sent("SDS", "identity")]
    assert proxy.session.in_sync()


def test_a_certificate_the_proxy_holds_is_never_sent():
    """It cannot be made again: its key is stored nowhere."""
    proxy = Delta()
    held = XdsResource(SECRET, "identity", b"", "v1", held=True)
    proxy.want(desired(layer({"a": 1}, {"a": 1}, {"a": 1}), layer_of(held)))

    assert responses(proxy.ask(SECRET, "identity", held={"identity": "v1"})) == []
    assert proxy.session.settled(SECRET)
    assert proxy.session.has(held)


def test_what_is_unsubscribed_is_not_sent(proxy):
    """Changes of endpoints that the proxy let go of stay here; asked for again, they come."""
    connected(proxy, services("a", "b"))
    if proxy.dialect == "delta":
        proxy.drop(ENDPOINT, "b")
    else:
        proxy.ask(ENDPOINT, "a")
    same = dict.fromkeys("ab", 1)
    assert responses(proxy.want(desired(layer(same, {"a": 1, "b": 2}, same)))) == []

    again = proxy.ask(ENDPOINT, "b") if proxy.dialect == "delta" else proxy.ask(ENDPOINT, "a", "b")

    assert responses(again) == [sent("EDS", "b", content=2)]


def test_what_is_asked_for_again_is_sent_again():
    """Envoy asks again when it lost a resource (delta)."""
    proxy = connected(Delta(), services("a"))

    assert responses(proxy.ask(ENDPOINT, "a")) == [sent("EDS", "a")]


def test_names_that_do_not_exist_are_answered():
    """Envoy would wait for them else (delta); when they come to be, they are sent."""
    proxy = connected(Delta(), services("a"))

    [gone] = responses(proxy.ask(ENDPOINT, "x"))
    assert gone == sent("EDS", removed=["x"])
    proxy.answer(ENDPOINT, gone)

    assert responses(proxy.want(desired(layer({"a": 1}, {"a": 1, "x": 1}, {"a": 1})))) == [sent("EDS", "x")]


def test_a_proxy_may_name_the_wildcard_and_let_go_of_it():
    """``*`` asks for all, in the first request or later, and can be taken back (delta)."""
    proxy = Delta()
    proxy.want(services("a"))
    settle(proxy, proxy.ask(CLUSTER, "*"))
    proxy.drop(CLUSTER, "*")
    assert responses(proxy.want(services("a", "b"))) == []

    assert responses(proxy.ask(CLUSTER, "*")) == [sent("CDS", "a", "b")]


def test_clusters_may_be_asked_for_by_name():
    """A subscription by name gets what it names and no more (delta)."""
    proxy = Delta()
    proxy.want(services("a", "b"))

    assert responses(proxy.ask(CLUSTER, "b")) == [sent("CDS", "b")]


# Coming back


def versions(state, url):
    """What a proxy that accepted a state brings along."""
    return {one.name: one.version for one in state.of_type(url)}


def test_a_proxy_that_comes_back_with_the_right_versions_is_sent_nothing():
    """Also by another control plane: versions are hashes of content (delta)."""
    state = desired(layer({"a": 1}, {"a": 1}, {"a": 1}, {"identity": 1}))
    proxy = Delta(Wire("cp-1"))
    proxy.want(state)

    said = [
        *proxy.ask(CLUSTER, held=versions(state, CLUSTER)),
        *proxy.ask(ENDPOINT, "a", held=versions(state, ENDPOINT)),
        *proxy.ask(LISTENER, held=versions(state, LISTENER)),
        *proxy.ask(SECRET, "identity", held=versions(state, SECRET)),
    ]

    assert responses(said) == []
    assert proxy.session.in_sync()
    assert not proxy.session.fresh


def test_a_proxy_that_comes_back_is_sent_what_changed():
    """A cluster that changed while it was away comes with its endpoints, then the listener (delta)."""
    before, now = services("a", "b"), desired(layer({"a": 2, "b": 1}, {"a": 1, "b": 1}, {"a": 2, "b": 1}))
    proxy = Delta()
    proxy.want(now)

    [clusters] = responses(proxy.ask(CLUSTER, held=versions(before, CLUSTER)))
    assert clusters == sent("CDS", "a", content=2)
    [endpoints] = responses(proxy.ask(ENDPOINT, "a", "b", held=versions(before, ENDPOINT)))
    assert endpoints == sent("EDS", "a")
    assert responses(proxy.ask(LISTENER, held=versions(before, LISTENER))) == []
    assert responses(proxy.answer(CLUSTER, clusters)) == []
    assert responses(proxy.answer(ENDPOINT, endpoints)) == [sent("LDS", "a", content=2)]


def test_what_went_while_the_proxy_was_away_is_removed_in_order():
    """First the listener, then the cluster (delta)."""
    before, now = services("a", "b"), services("a")
    proxy = Delta()
    proxy.want(now)
    proxy.ask(CLUSTER, held=versions(before, CLUSTER))
    proxy.ask(ENDPOINT, "a", "b", held=versions(before, ENDPOINT))

    said = settle(proxy, proxy.ask(LISTENER, held=versions(before, LISTENER)))

    assert said == [sent("LDS", removed=["b"]), sent("CDS", removed=["b"])]


def test_a_sotw_proxy_that_comes_back_with_the_right_set_is_sent_nothing():
    """The version of a whole set stands for all in it; endpoints are sent again."""
    state = services("a", "b")
    proxy = Sotw()
    proxy.want(state)
    [clusters] = responses(proxy.ask(CLUSTER))
    again = Sotw()
    again.want(services("b", "a"))

    assert responses(again.ask(CLUSTER, version=clusters.version)) == []
    assert responses(again.ask(ENDPOINT, "a", "b", version="any")) == [sent("EDS", "a", "b")]
    assert not again.session.fresh


def test_a_sotw_proxy_that_comes_back_to_nothing_is_told_so():
    """It holds listeners that are not wanted any more; an empty set takes them away."""
    proxy = Sotw()
    proxy.want(desired())

    assert responses(proxy.ask(LISTENER, version="of an earlier set")) == [sent("LDS")]


def test_a_fresh_envoy_is_known(proxy):
    """It brought nothing along, so it listens nowhere yet."""
    proxy.want(services("a"))
    proxy.ask(CLUSTER)

    assert proxy.session.fresh


# Sharing


def test_proxies_that_move_alike_are_sent_the_same_bytes():
    """One change is encoded for the first and for the second, and is the same for all who follow."""
    wire, deltas = Wire("cp-1"), LayerDeltas()
    proxies = [connected(Delta(wire, deltas), services("a")) for _ in range(4)]
    changed = desired(layer({"a": 1}, {"a": 2}, {"a": 1}))

    sends = [send for proxy in proxies for send in proxy.session.update(changed)]

    assert len(sends) == 4
    assert len({id(send.message) for send in sends}) == 2


def test_two_proxies_never_share_a_private_key():
    """Two proxies of one service get certificates of one version in one second, each with its own key."""
    wire = Wire("cp-1")
    said = []
    for key in (b"identity=one", b"identity=other"):
        proxy = connected(Delta(wire), services("a"))
        proxy.ask(SECRET, "identity", node=NODE)
        mine = layer_of(XdsResource(SECRET, "identity", key, "same version"))
        said += responses(proxy.want(desired(layer({"a": 1}, {"a": 1}, {"a": 1}), mine)))

    assert [one.resources["identity"] for one in said] == ["identity=one", "identity=other"]
