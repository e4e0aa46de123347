"""Any history of wishes, refusals and lost connections ends with the proxy holding exactly what it should have."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kuma.core.xds.names import CLUSTER, ENDPOINT, LISTENER, SECRET
from kuma.core.xds.resources import Desired, LayerDeltas, XdsResource, layer_delta
from kuma.core.xds.session import DeltaSession, Send, SotwSession
from kuma.core.xds.wire import Wire
from kuma.envoy_api.envoy.service.discovery.v3.discovery_pb2 import DeltaDiscoveryRequest, DiscoveryRequest
from tests.unit.core.xds.conversation import NODE, SHORT, Said, desired, layer, read_delta, read_sotw

WHOLE = (CLUSTER, LISTENER)
URLS = {short: url for url, short in SHORT.items()}


@dataclass
class Model:
    """
    An Envoy that speaks over wires with any delay.

    It has a cluster's endpoints and a TLS listener's secret subscribed while it has the cluster or listener.
    ``partial``: of a refused response it applies the good part and names the bad, as Envoy does; else nothing.
    """

    delta: bool
    partial: bool
    wire: Wire
    deltas: LayerDeltas
    has: dict[str, dict[str, str]] = field(default_factory=lambda: {url: {} for url in SHORT})
    accepted: dict[str, dict[str, str]] = field(default_factory=lambda: {url: {} for url in SHORT})
    """Versions of resources, to be brought along (delta)."""
    whole: dict[str, str] = field(default_factory=dict)
    """Versions of sets, to be brought along (SotW)."""
    nacks: int = 0
    reported: int = 0

    def __post_init__(self) -> None:
        self.connect()

    def connect(self) -> None:
        """A new stream; what was under way is lost, what is held is brought along."""
        self.session = (DeltaSession if self.delta else SotwSession)(self.wire, self.deltas)
        self.to_server: deque[bytes] = deque()
        self.to_proxy: deque[bytes] = deque()
        self.subscribed: dict[str, set[str]] = {ENDPOINT: set(), SECRET: set()}
        self.nonces: dict[str, str] = {}
        self.cold: set[str] = set()
        """Clusters that wait for endpoints since they were added or changed."""
        for url in WHOLE:
            self._ask(url, set(), first=True)
            if url == CLUSTER:
                self._follow(first=True)
        self._follow(first=True)

    def want(self, state: Desired) -> None:
        self._take(self.session.update(state))

    def deliver(self) -> bool:
        """Let the control plane read one request."""
        if not self.to_server:
            return False
        self._take(self.session.receive(self.to_server.popleft()))
        return True

    def read(self) -> bool:
        """Let the proxy read one response."""
        if not self.to_proxy:
            return False
        message = self.to_proxy.popleft()
        said = read_delta(message) if self.delta else read_sotw(message)
        url = URLS[said.kind]
        assert self.nonces.get(url) != said.nonce
        refused = any("bad" in body for body in said.resources.values())
        if not refused or self.partial:
            kept = self.subscribed.get(url, said.resources.keys())
            self._apply(
                url, {name: body for name, body in said.resources.items() if "bad" not in body and name in kept}, said
            )
        if not refused:
            self.whole[url] = said.version
            if self.delta:
                self.accepted[url].update((name, said.versions[name]) for name in self.has[url].keys() & said.versions)
                for name in said.removed:
                    self.accepted[url].pop(name, None)
        self.nacks += refused
        bad = [name for name, body in said.resources.items() if "bad" in body]
        self._answer(url, said, ", ".join(f"{name}: bad" for name in bad) if self.partial else "bad" if bad else "")
        self._follow(first=False)
        return True

    def _take(self, commands: list[object]) -> None:
        for command in commands:
            if isinstance(command, Send):
                self.to_proxy.append(command.message)
            self.reported += type(command).__name__ == "Nacked"

    def _apply(self, url: str, good: dict[str, str], said: Said) -> None:
        before = dict(self.has[url])
        if not self.delta and url in WHOLE:
            self.has[url] = {**{name: body for name, body in before.items() if name in said.resources}, **good}
        else:
            self.has[url].update(good)
        for name in said.removed:
            self.has[url].pop(name, None)
        if url == CLUSTER:
            self.cold |= {name for name, body in good.items() if before.get(name) != body}
            self.cold &= self.has[url].keys()
        if url == ENDPOINT:
            self.cold -= good.keys()

    def _answer(self, url: str, said: Said, refusal: str) -> None:
        self.nonces[url] = said.nonce
        request = DeltaDiscoveryRequest() if self.delta else self._sotw_request(url)
        request.type_url, request.response_nonce = url, said.nonce
        if refusal:
            request.error_detail.message = refusal
        self.to_server.append(request.SerializeToString())

    def _follow(self, *, first: bool) -> None:
        """Subscribe to what clusters and listeners need."""
        needs = {ENDPOINT: set(self.has[CLUSTER]), SECRET: {"tls"} if "tls" in str(self.has[LISTENER]) else set()}
        for url, names in needs.items():
            if names != self.subscribed[url] or (first and names):
                gone = self.subscribed[url] - names
                for name in gone:
                    self.has[url].pop(name, None)
                    self.accepted[url].pop(name, None)
                self._ask(url, names, first=not self.subscribed[url] and first)

    def _ask(self, url: str, names: set[str], *, first: bool) -> None:
        if self.delta:
            before = self.subscribed.get(url, set())
            request = DeltaDiscoveryRequest(
                node=NODE,
                type_url=url,
                resource_names_subscribe=sorted(names - before),
                resource_names_unsubscribe=sorted(before - names),
                initial_resource_versions=self.accepted[url] if first else {},
            )
        else:
            request = self._sotw_request(url, names)
        if url in self.subscribed:
            self.subscribed[url] = set(names)
        self.to_server.append(request.SerializeToString())

    def _sotw_request(self, url: str, names: set[str] | None = None) -> DiscoveryRequest:
        return DiscoveryRequest(
            node=NODE,
            type_url=url,
            resource_names=sorted(self.subscribed.get(url, ()) if names is None else names),
            version_info=self.whole.get(url, ""),
            response_nonce=self.nonces.get(url, ""),
        )

    def gaps(self) -> set[str]:
        """Services to which a listener leads although the proxy cannot send traffic there."""
        ready = {name for name in self.has[CLUSTER] if name not in self.cold and name in self.has[ENDPOINT]}
        return self.has[LISTENER].keys() - ready


GOOD = st.integers(1, 3)
CONTENT = st.one_of(GOOD, GOOD, GOOD, st.sampled_from(["bad1", "bad2"]))


def worlds(content):
    """Any of three services, each with a cluster, endpoints and a listener of some content; mTLS or not."""
    some = st.dictionaries(st.sampled_from("abc"), st.tuples(content, GOOD, content), max_size=3)
    return st.builds(made, some, some.map(lambda made: {}) | some, st.booleans(), GOOD)


def made(here, there, tls, secret):
    """Two layers of services, and the secret."""
    there = {name.upper(): content for name, content in there.items()}

    def one(some):
        mark = "-tls" if tls else ""
        return layer(
            {name: cluster for name, (cluster, _, _) in some.items()},
            {name: endpoints for name, (_, endpoints, _) in some.items()},
            {name: f"{listener}{mark}" for name, (_, _, listener) in some.items()},
        )

    return desired(one(here), one(there), layer(secrets={"tls": secret} if tls else {}))


STEPS = st.sampled_from(["deliver", "read", "read"])


def drain(model):
    """Until nobody has anything more to say."""
    for _ in range(2000):
        if not model.deliver() and not model.read():
            return
    pytest.fail("the conversation does not end")


def contents(state, url, names=None):
    """Resources of a type as text, by name."""
    return {one.name: one.body.decode() for one in state.of_type(url) if names is None or one.name in names}


def assert_holds(model, state):
    """The proxy has all of a state that it asked for, and nothing else."""
    for url in WHOLE:
        assert model.has[url] == contents(state, url), SHORT[url]
    for url, names in model.subscribed.items():
        assert model.has[url] == contents(state, url, names), SHORT[url]
    assert model.session.in_sync()


@pytest.mark.parametrize("delta", [True, False], ids=["delta", "sotw"])
@given(data=st.data())
def test_every_history_ends_with_what_is_wanted(delta, data):
    """Whatever is wanted, refused and interleaved: in the end the proxy has all that is wanted, and nothing else."""
    partial = data.draw(st.booleans(), label="applies the good part of what it refuses")
    model = Model(delta, partial, Wire("cp-1"), LayerDeltas())
    steps = STEPS if partial else STEPS | st.just("reconnect")
    for _ in range(data.draw(st.integers(1, 8))):
        state = data.draw(worlds(CONTENT))
        model.want(state)
        for step in data.draw(st.lists(steps, max_size=12)):
            if step == "reconnect":
                model.connect()
                model.want(state)
            else:
                getattr(model, step)()
    if data.draw(st.booleans()):
        drain(model)
    last = data.draw(worlds(GOOD))
    model.want(last)
    drain(model)

    assert_holds(model, last)
    if partial:
        assert model.reported == model.nacks


@pytest.mark.parametrize("delta", [True, False], ids=["delta", "sotw"])
@given(data=st.data())
def test_traffic_never_meets_a_gap(delta, data):
    """At no moment does a listener lead to a cluster that is missing or has no endpoints."""
    model = Model(delta, partial=True, wire=Wire("cp-1"), deltas=LayerDeltas())
    model.want(data.draw(worlds(GOOD)))
    drain(model)
    assert not model.gaps()
    for _ in range(data.draw(st.integers(1, 6))):
        before = set(model.has[LISTENER])
        state = data.draw(worlds(GOOD))
        if delta and data.draw(st.booleans(), label="the stream is lost"):
            model.connect()
        model.want(state)
        changed = {one.name for one in state.of_type(CLUSTER)} & model.has[CLUSTER].keys()
        for _ in range(data.draw(st.integers(0, 40))):
            if not (model.read() if data.draw(st.booleans()) else model.deliver()):
                continue
            # A cluster that is only changed keeps its old form in use while the new one warms.
            assert model.gaps() <= before & changed
        drain(model)
        assert not model.gaps()


@pytest.mark.parametrize("delta", [True, False], ids=["delta", "sotw"])
@given(data=st.data())
def test_no_listener_leads_to_a_cluster_that_was_refused(delta, data):
    """Whatever an Envoy refuses, the listeners that it runs lead to clusters it has; good listeners all get there."""
    model = Model(delta, partial=True, wire=Wire("cp-1"), deltas=LayerDeltas())
    model.want(data.draw(worlds(GOOD)))
    drain(model)
    for _ in range(data.draw(st.integers(1, 6))):
        state = data.draw(worlds(CONTENT))
        model.want(state)
        for _ in range(data.draw(st.integers(0, 40))):
            if data.draw(st.booleans()):
                model.read()
            else:
                model.deliver()
            assert model.has[LISTENER].keys() <= model.has[CLUSTER].keys()
        drain(model)
        wanted = {name: body for name, body in contents(state, LISTENER).items() if name in model.has[CLUSTER]}
        assert {name: model.has[LISTENER].get(name) for name, body in wanted.items() if "bad" not in body} == {
            name: body for name, body in wanted.items() if "bad" not in body
        }


@given(data=st.data())
def test_coming_back_costs_nothing(data):
    """A proxy that was in sync and lost its stream is sent nothing when it comes back (delta)."""
    model = Model(delta=True, partial=True, wire=Wire("cp-1"), deltas=LayerDeltas())
    state = data.draw(worlds(GOOD))
    model.want(state)
    drain(model)
    model.connect()
    model.want(state)
    while model.deliver():
        pass

    # An empty set has no versions to bring along, so it looks like that of a fresh Envoy and is told again.
    said = [read_delta(message) for message in model.to_proxy]
    assert not any(one.resources or one.removed for one in said)
    drain(model)
    assert_holds(model, state)


BY_NAME = st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 3))


@given(BY_NAME, BY_NAME)
def test_the_difference_between_layers_leads_from_one_to_the_other(a, b):
    """delta(a → b) + a = b, and nothing is in it that need not be."""
    old = {name: XdsResource(CLUSTER, name, bytes([content])) for name, content in a.items()}
    new = {name: XdsResource(CLUSTER, name, bytes([content])) for name, content in b.items()}

    delta = layer_delta(old, new)
    applied = {name: one for name, one in old.items() if name not in delta.removed}
    applied |= {one.name: one for one in delta.changed}

    assert applied == new
    assert all(old.get(one.name) != one for one in delta.changed)
    assert set(delta.removed) == a.keys() - b.keys()
