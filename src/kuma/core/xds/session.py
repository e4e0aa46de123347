"""One proxy's discovery conversation as a state machine: bytes and desired states in, commands out.

No IO happens here; the data plane server feeds in what arrives and carries out what comes back. Two dialects share the
rules: ``DeltaSession`` (incremental) and ``SotwSession`` (state of the world).

Promises:

* at most one response per type waits for its answer; newer state replaces state that was not sent yet;
* a rejected response (NACK) is reported once, the proxy keeps what it had, and nothing of that type is sent again
  until it changes or the proxy asks for more;
* traffic never meets a gap (make before break): clusters are sent first, their endpoints next, listeners only after
  new clusters have endpoints, and clusters that are no longer wanted go only after the listeners that used them;
* a cluster that the proxy refused holds back the listeners that need it, and no other;
* endpoints of existing clusters never wait for anything but their own previous response;
* endpoints, routes and secrets are never taken from a proxy that still uses them: it lets go of them itself, after the
  cluster or listener they belonged to;
* a proxy that reconnects and still holds the right versions is sent nothing (delta).

Protocol: https://www.envoyproxy.io/docs/envoy/latest/api-docs/xds_protocol
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from sys import intern
from typing import ClassVar, Final

from google.protobuf.message import DecodeError

from kuma.core.errors import BadRequest
from kuma.core.xds.names import CLUSTER, ENDPOINT, LISTENER, ROUTE, SECRET
from kuma.core.xds.resources import Desired, LayerDelta, LayerDeltas, XdsResource
from kuma.core.xds.wire import Encoded, Wire, set_version
from kuma.envoy_api.envoy.config.core.v3.base_pb2 import Node
from kuma.envoy_api.envoy.service.discovery.v3.discovery_pb2 import DeltaDiscoveryRequest, DiscoveryRequest

TYPES: Final = (CLUSTER, ENDPOINT, LISTENER, ROUTE, SECRET)
"""The types served, in the order in which they are sent."""
_WILDCARD_TYPES: Final = frozenset({CLUSTER, LISTENER})
_WILDCARD: Final = "*"
MAX_NAMES: Final = 100_000
"""Most resource names that one proxy may subscribe to, per type."""


@dataclass(frozen=True, slots=True)
class Opened:
    """The proxy introduced itself; comes once, first."""

    node: Node


@dataclass(frozen=True, slots=True)
class Subscribed:
    """The proxy asks for resources it has not asked for before; ``held`` are versions it already has."""

    type_url: str
    names: frozenset[str]
    held: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Send:
    """Send this message to the proxy."""

    type_url: str
    message: bytes


@dataclass(frozen=True, slots=True)
class Acked:
    """The proxy accepted a response of this type."""

    type_url: str


@dataclass(frozen=True, slots=True)
class Nacked:
    """The proxy refused a response and keeps what it had; ``message`` is Envoy's text."""

    type_url: str
    version: str
    message: str


Command = Opened | Subscribed | Send | Acked | Nacked


@dataclass(slots=True)
class _Flight:
    nonce: str
    desired: Desired
    touched: tuple[str, ...]
    version: str


@dataclass(slots=True)
class _Withheld:
    """A listener that waits for a cluster which the proxy refused."""

    wanted: XdsResource
    kept: XdsResource | None
    """What the proxy has instead."""
    revision: int
    """When ``wanted`` became so."""


@dataclass(slots=True)
class _Type:
    """What is known about one type. ``delivered`` is what the proxy has, as far as it told."""

    url: str
    asked: bool = False
    answered: bool = False
    wildcard: bool = False
    names: set[str] = field(default_factory=set)
    held: dict[str, str] = field(default_factory=dict)
    """Versions the proxy brought along from an earlier stream, until they were compared."""
    returning: bool = False
    """The proxy had resources of this type before this stream."""
    delivered: Desired | None = None
    flight: _Flight | None = None
    last_nonce: str = ""
    rejected: Desired | None = None
    refused: frozenset[str] = frozenset()
    """The names in responses rejected since the last accepted one: the proxy may have applied a part of them."""
    owed: set[str] = field(default_factory=set)
    """Names to send whether or not they changed."""
    leaving: dict[str, XdsResource] = field(default_factory=dict)
    """Clusters no longer wanted, kept until no listener uses them."""
    blamed: frozenset[str] = frozenset()
    """The clusters that the last refusal is about."""
    applied: dict[str, XdsResource] = field(default_factory=dict)
    """Clusters that the proxy has beside those delivered, by name: good parts of refused responses, and old ones."""
    withheld: dict[str, _Withheld] = field(default_factory=dict)
    """Listeners, by name."""
    instead: dict[str, XdsResource | None] = field(default_factory=dict)
    """What the proxy has in place of listeners that were withheld when it accepted ``delivered``."""


class Session:
    """The rules both dialects share. Feed ``receive`` and ``update``; carry out the commands in order."""

    sends_whole_sets: ClassVar[bool] = False
    """Whether a response says of every cluster and listener, also by leaving it out."""

    def __init__(self, wire: Wire, deltas: LayerDeltas) -> None:
        self._wire = wire
        self._deltas = deltas
        self._node_id: str | None = None
        self._desired: Desired | None = None
        self._types = {url: _Type(url) for url in TYPES}
        self._warming: set[str] = set()

    def receive(self, message: bytes) -> list[Command]:
        """
        Take one request of the proxy.

        Raises:
            BadRequest: not a discovery request, another node than before, or too many names. The stream must end.
        """
        raise NotImplementedError

    def update(self, desired: Desired) -> list[Command]:
        """Take what the proxy should have from now on."""
        self._desired = desired
        # No listener is going to use a cluster that is not wanted, so none need wait for its endpoints.
        self._warming = {name for name in self._warming if desired.get(CLUSTER, name) is not None}
        return list(self._pump())

    @property
    def fresh(self) -> bool:
        """Whether the proxy's Envoy has just started: it asked for something and brought nothing along."""
        return not any(state.returning for state in self._types.values())

    def in_sync(self) -> bool:
        """Whether everything desired was sent and accepted, for the types the proxy asked for."""
        return self._desired is not None and all(self._settled(state) for state in self._types.values())

    def holds(self, revision: int) -> bool:
        """
        Whether the proxy has accepted all that the changes from a store revision on mean for it.

        A response that it refused before, and that these changes did not touch, does not count.
        """
        desired = self._desired
        return desired is not None and all(self._holds(state, desired, revision) for state in self._types.values())

    def _holds(self, state: _Type, desired: Desired, revision: int) -> bool:
        if not state.asked:
            return True
        if state.flight is not None or state.owed - state.refused:
            return False
        if any(one.revision >= revision for one in state.withheld.values()):
            return False
        if state.rejected is not None:
            return state.rejected.revision < revision and not self._differs(state, state.rejected, desired)
        return not any(self._pending(state))

    def refused(self, revision: int) -> tuple[str, ...]:
        """
        The types of which it refused what the changes from this store revision on brought.

        Also those of which something cannot be sent because of a cluster that it refused.
        """
        return tuple(
            url
            for url, state in self._types.items()
            if (state.rejected is not None and state.rejected.revision >= revision and state.flight is None)
            or any(one.revision >= revision for one in state.withheld.values())
        )

    def has(self, resource: XdsResource) -> bool:
        """Whether the proxy has accepted a state with this very resource."""
        delivered = self._types[resource.type_url].delivered
        return delivered is not None and delivered.get(resource.type_url, resource.name) == resource

    def heard(self, type_url: str) -> bool:
        """Whether the proxy has said what it thinks of all it was sent of one type, be it yes or no."""
        state = self._types[type_url]
        return state.answered and state.flight is None

    def settled(self, type_url: str) -> bool:
        """Whether one type was asked for and is fully delivered."""
        return self._types[type_url].answered and self._settled(self._types[type_url])

    def owes_nothing(self, type_url: str) -> bool:
        """Whether the proxy has accepted all it should have of one type, or never asked for any."""
        return self._settled(self._types[type_url])

    def _settled(self, state: _Type) -> bool:
        if not state.asked:
            return True
        if state.flight is not None or state.rejected is not None or state.leaving or state.owed or state.withheld:
            return False
        changed, removed = self._pending(state)
        return not changed and not removed

    # Requests

    def _open(self, node: Node) -> Iterator[Command]:
        if self._node_id is None:
            if not node.id:
                raise BadRequest("the first discovery request names no node id")
            self._node_id = node.id
            yield Opened(node)
        elif node.id and node.id != self._node_id:
            raise BadRequest(f"the node id changed on a stream from {self._node_id!r} to {node.id!r}")

    def _answer(self, state: _Type, nonce: str, error: str | None) -> Iterator[Command]:
        """The proxy's word on the response in flight; a stale nonce says nothing."""
        flight = state.flight
        if flight is None or flight.nonce != nonce:
            return
        state.flight = None
        if error is None:
            self._accepted(state, flight.desired)
            state.held = {name: version for name, version in state.held.items() if name in state.owed}
            if state.url == ENDPOINT:
                self._warming.difference_update(flight.touched)
            yield Acked(state.url)
            return
        state.rejected, state.refused = flight.desired, state.refused.union(flight.touched)
        if state.url == CLUSTER:
            state.blamed = _blamed(error, flight.touched)
            for name in set(flight.touched) - state.blamed:
                state.applied.pop(name, None)
                if (fine := flight.desired.get(CLUSTER, name)) is not None:
                    state.applied[name] = fine
        for name in flight.touched:
            state.held.pop(name, None)
        # What was refused is not waited for: one bad cluster or assignment must not hold up every listener.
        self._warming.difference_update(flight.touched if state.url in {CLUSTER, ENDPOINT} else ())
        yield Nacked(state.url, flight.version, error)

    def _accepted(self, state: _Type, desired: Desired) -> None:
        state.delivered, state.rejected = desired, None
        state.refused = state.blamed = frozenset()
        state.applied = {}
        state.instead = {name: one.kept for name, one in state.withheld.items()}

    def _subscribe(self, state: _Type, names: set[str], held: Mapping[str, str]) -> Iterator[Command]:
        if len(state.names | names) > MAX_NAMES:
            raise BadRequest(f"over {MAX_NAMES} resource names of one type on a stream")
        state.names |= set(map(intern, names))  # each of a thousand proxies says the same names
        state.owed |= names
        if names:
            yield Subscribed(state.url, frozenset(names), held)

    # Responses

    def _pump(self) -> Iterator[Command]:
        """Send whatever may be sent now, in the order of types."""
        if self._desired is None:
            return
        for state in self._types.values():
            if not state.asked or state.flight is not None or self._is_done(state):
                continue
            if self._may_send(state):
                yield from self._push(state, self._desired)
        clusters = self._types[CLUSTER]
        if clusters.leaving and clusters.flight is None and clusters.rejected is None and self._listeners_settled():
            yield from self._drop_clusters(clusters, self._desired)

    def _is_done(self, state: _Type) -> bool:
        """Whether the proxy is known to have all that is wanted; a quick look, which misses much."""
        return (
            state.delivered is self._desired
            and state.answered
            and state.rejected is None
            and not state.owed
            and not state.withheld
            and not state.held
        )

    def _may_send(self, state: _Type) -> bool:
        if state.url != LISTENER:
            return True
        return self._types[CLUSTER].flight is None and not self._warming

    def _listeners_settled(self) -> bool:
        # A proxy that comes back asks for clusters first; until it asks for listeners, its old ones are in use.
        listeners = self._types[LISTENER]
        return listeners.asked and self._settled(listeners)

    def _push(self, state: _Type, desired: Desired) -> Iterator[Command]:
        lacking = self._lacking(state)
        if lacking and state.delivered is None and self.sends_whole_sets:
            return  # it would take away what the proxy brought along
        freed = self._freed(state, desired, lacking)
        if state.rejected is not None:
            if not freed and not self._differs(state, state.rejected, desired) and state.owed <= state.refused:
                return
            state.owed |= state.refused
        state.owed |= freed
        changed, removed = self._pending(state)
        if lacking:
            changed = self._withhold(state, desired, changed, lacking)
        if state.url == CLUSTER:
            removed = self._hold_back(state, changed, removed)
        # Of an empty set, too, the proxy has to be told once; a set it brought along by name was compared.
        if not changed and not removed and (state.answered or state.held or not state.wildcard):
            self._accepted(state, desired)
            self._clear_debts(state, desired)
            return
        yield self._respond(state, desired, changed, removed)

    def _lacking(self, state: _Type) -> frozenset[str]:
        """The clusters without which a listener would lead nowhere: new ones that the proxy refused."""
        clusters = self._types[CLUSTER]
        # A fresh proxy has no listeners to keep: those whose clusters it did accept are better than none.
        if state.url != LISTENER or clusters.rejected is None or not (state.answered or state.returning):
            return frozenset()
        return frozenset(name for name in clusters.blamed if self._cluster_in_use(name) is None)

    def _cluster_in_use(self, name: str) -> XdsResource | None:
        """What the proxy has of a cluster."""
        clusters = self._types[CLUSTER]
        known = clusters.applied.get(name)
        return known or (clusters.delivered.get(CLUSTER, name) if clusters.delivered is not None else None)

    def _freed(self, state: _Type, desired: Desired, lacking: frozenset[str]) -> set[str]:
        """Let go of withheld listeners that need no longer wait; those that are still wanted."""
        now = {name: desired.get(state.url, name) for name in state.withheld}
        free = {name: x for name, x in now.items() if x is None or not x.leads_to & lacking}
        for name in free:
            del state.withheld[name]
        return {name for name, x in free.items() if x is not None}

    def _listener_in_use(self, name: str) -> XdsResource | None:
        listeners = self._types[LISTENER]
        if name in listeners.instead:
            return listeners.instead[name]
        return listeners.delivered.get(LISTENER, name) if listeners.delivered is not None else None

    def _withhold(
        self, state: _Type, desired: Desired, changed: tuple[XdsResource, ...], lacking: frozenset[str]
    ) -> tuple[XdsResource, ...]:
        """Keep back the listeners that need what the proxy lacks; the others."""
        sent = []
        for resource in changed:
            if not resource.leads_to & lacking:
                sent.append(resource)
                continue
            known = state.withheld.get(resource.name)
            if known is None:
                state.withheld[resource.name] = _Withheld(
                    resource, self._listener_in_use(resource.name), desired.revision
                )
            elif known.wanted != resource:
                known.wanted, known.revision = resource, desired.revision
        return tuple(sent)

    def _differs(self, state: _Type, old: Desired, new: Desired) -> bool:
        for before, after in zip(old.layers, new.layers, strict=True):
            delta = self._deltas.between(before, after, state.url)
            if state.wildcard:
                if delta.changed or delta.removed:
                    return True
            elif any(x.name in state.names for x in delta.changed) or not state.names.isdisjoint(delta.removed):
                return True
        return False

    def _pending(self, state: _Type) -> tuple[tuple[XdsResource, ...], tuple[str, ...]]:
        """What the proxy lacks, and what it has too much."""
        desired = self._desired
        if desired is None:
            return (), ()
        deltas = [] if state.delivered is None else self._compared(state, state.delivered, desired)
        if not state.owed and len(deltas) == 1:  # as it is, so that one tuple serves all who move through the change
            return deltas[0].changed, deltas[0].removed
        changed = {x.name: x for delta in deltas for x in delta.changed}
        removed = {name: None for delta in deltas for name in delta.removed}
        if state.delivered is None and state.wildcard:
            changed.update((x.name, x) for x in desired.of_type(state.url) if state.held.get(x.name) != x.version)
            removed.update((name, None) for name in state.held.keys() - desired.names(state.url))
        for name in state.owed:
            found = desired.get(state.url, name)
            if found is None:
                # A secret may come later, so its request is kept open. Anything else is answered with "gone", unless
                # the proxy brought it along: then it is still in use.
                if state.wildcard or (state.url != SECRET and name not in state.held):
                    removed[name] = None
            elif not found.held and (state.held.get(name) != found.version or self._warms(state, name)):
                changed[name] = found
        return tuple(changed.values()), tuple(name for name in removed if name not in changed)

    def _warms(self, state: _Type, name: str) -> bool:
        return state.url == ENDPOINT and name in self._warming

    def _clear_debts(self, state: _Type, desired: Desired) -> None:
        """Nothing is owed any more, but secrets that do not exist yet."""
        state.answered = True
        state.owed = {name for name in state.owed if state.url == SECRET and desired.get(SECRET, name) is None}
        if state.flight is None or not state.wildcard:
            # What a proxy brought along of a whole set is what it has until it accepts the first response.
            state.held = {name: version for name, version in state.held.items() if name in state.owed}

    def _compared(self, state: _Type, old: Desired, new: Desired) -> list[LayerDelta]:
        """How the layers differ, as far as the proxy wants to know; those that do not are left out."""
        found = []
        for before, after in zip(old.layers, new.layers, strict=True):
            if before is after:
                continue
            delta = self._deltas.between(before, after, state.url)
            if not state.wildcard:
                delta = _asked_for(delta, state.names)
            if delta.changed or delta.removed:
                found.append(delta)
        return found

    def _hold_back(self, state: _Type, changed: tuple[XdsResource, ...], removed: tuple[str, ...]) -> tuple[str, ...]:
        """Keep clusters that go until no listener uses them; a cluster that came back stays."""
        for resource in changed:
            back = state.leaving.pop(resource.name, None)
            if back is not None and not back.held:  # else it may be one that the proxy refused
                state.applied[resource.name] = back
        for name in removed:
            state.leaving[name] = self._cluster_in_use(name) or XdsResource(CLUSTER, name, b"", held=True)
        return ()

    def _respond(
        self, state: _Type, desired: Desired, changed: tuple[XdsResource, ...], removed: tuple[str, ...]
    ) -> Send:
        if state.url == CLUSTER:
            self._expect_endpoints(desired, changed)
        made = self._encode(state, desired, changed, removed)
        touched = (*(resource.name for resource in changed), *removed)
        state.flight = _Flight(made.nonce, desired, touched, made.version)
        state.last_nonce = made.nonce
        self._clear_debts(state, desired)
        return Send(state.url, made.message)

    def _expect_endpoints(self, desired: Desired, changed: tuple[XdsResource, ...]) -> None:
        """
        Envoy warms an added or changed cluster until it is given endpoints, also when these did not change.

        A cluster that asks for none, as a user may have patched it, is not waited for, nor is one that shares the
        endpoints of another: these may be there already, and then nothing tells when it has them.
        """
        endpoints = self._types[ENDPOINT]
        asked = {x.awaits for x in changed if desired.get(ENDPOINT, x.awaits) is not None}
        self._warming.difference_update(x.name for x in changed)
        self._warming |= asked.intersection(x.name for x in changed if x.awaits == x.name)
        endpoints.owed |= asked & endpoints.names

    def _drop_clusters(self, state: _Type, desired: Desired) -> Iterator[Command]:
        gone = tuple(name for name in state.leaving if desired.get(CLUSTER, name) is None)
        state.leaving = {}
        if gone:
            self._warming.difference_update(gone)
            yield self._respond(state, desired, (), gone)

    def _encode(
        self, state: _Type, desired: Desired, changed: tuple[XdsResource, ...], removed: tuple[str, ...]
    ) -> Encoded:
        """A response, as the dialect writes it."""
        raise NotImplementedError


class DeltaSession(Session):
    """The incremental dialect."""

    def receive(self, message: bytes) -> list[Command]:
        try:
            request = DeltaDiscoveryRequest.FromString(message)
        except DecodeError as error:
            raise BadRequest("not a DeltaDiscoveryRequest") from error
        return list(self._receive(request))

    def _receive(self, request: DeltaDiscoveryRequest) -> Iterator[Command]:
        yield from self._open(request.node)
        state = self._types.get(request.type_url)
        if state is None:
            return
        subscribe = set(request.resource_names_subscribe)
        if not state.asked:
            state.asked = True
            state.wildcard = state.url in _WILDCARD_TYPES and (not subscribe or _WILDCARD in subscribe)
            state.held = dict(request.initial_resource_versions)
            state.returning = bool(state.held)
        elif _WILDCARD in subscribe and not state.wildcard and state.url in _WILDCARD_TYPES:
            state.wildcard = True
            state.owed |= self._desired.names(state.url) if self._desired is not None else set()
        if request.response_nonce:
            error = request.error_detail.message if request.HasField("error_detail") else None
            yield from self._answer(state, request.response_nonce, error)
        subscribe.discard(_WILDCARD)
        gone = set(request.resource_names_unsubscribe)
        state.wildcard = state.wildcard and _WILDCARD not in gone
        state.names -= gone
        state.owed -= gone
        if state.url == ENDPOINT:
            self._warming -= gone
        # A name that is subscribed again is sent again: Envoy asks so when it lost the resource.
        yield from self._subscribe(state, subscribe, request.initial_resource_versions)
        yield from self._pump()

    def _encode(
        self,
        state: _Type,
        desired: Desired,  # noqa: ARG002 - the other dialect asks
        changed: tuple[XdsResource, ...],
        removed: tuple[str, ...],
    ) -> Encoded:
        return self._wire.delta(state.url, changed, removed, state.last_nonce)


class SotwSession(Session):
    """
    The state-of-the-world dialect.

    Clusters and listeners are always sent whole. Endpoints, routes and secrets are sent as far as they changed, which
    the protocol allows for these types.
    """

    sends_whole_sets = True

    def __init__(self, wire: Wire, deltas: LayerDeltas) -> None:
        super().__init__(wire, deltas)
        self._brought: dict[str, str] = {}
        """Versions of whole sets that the proxy brought along from an earlier stream."""

    def receive(self, message: bytes) -> list[Command]:
        try:
            request = DiscoveryRequest.FromString(message)
        except DecodeError as error:
            raise BadRequest("not a DiscoveryRequest") from error
        return list(self._receive(request))

    def _receive(self, request: DiscoveryRequest) -> Iterator[Command]:
        yield from self._open(request.node)
        state = self._types.get(request.type_url)
        if state is None:
            return
        stale = False
        if not state.asked:
            state.asked = True
            state.wildcard = state.url in _WILDCARD_TYPES
            state.returning = bool(request.version_info)
            self._brought[state.url] = request.version_info
        if request.response_nonce and state.flight is not None:
            stale = state.flight.nonce != request.response_nonce
            error = request.error_detail.message if request.HasField("error_detail") else None
            yield from self._answer(state, request.response_nonce, error)
        if not state.wildcard and not stale:
            names = set(request.resource_names)
            gone = state.names - names
            state.names -= gone
            state.owed -= gone
            if state.url == ENDPOINT:
                self._warming -= gone
            yield from self._subscribe(state, names - state.names, {})
        yield from self._pump()

    def _push(self, state: _Type, desired: Desired) -> Iterator[Command]:
        brought = self._brought.pop(state.url, "")
        if brought and state.wildcard and brought == set_version(desired.of_type(state.url)):
            state.delivered = desired
            self._clear_debts(state, desired)
            return
        yield from super()._push(state, desired)

    def _encode(
        self,
        state: _Type,
        desired: Desired,
        changed: tuple[XdsResource, ...],
        removed: tuple[str, ...],  # noqa: ARG002 - the other dialect asks
    ) -> Encoded:
        if state.wildcard:
            staying = {resource.name: resource for resource in desired.of_type(state.url)}
            for name, one in state.withheld.items():
                if one.kept is None:
                    del staying[name]
                else:
                    staying[name] = one.kept
            leaving = {name: x for name, x in state.leaving.items() if name not in staying and not x.held}
            resources = (*staying.values(), *leaving.values())
        else:
            resources = changed
        return self._wire.sotw(state.url, resources, state.last_nonce)


def _asked_for(delta: LayerDelta, names: set[str]) -> LayerDelta:
    """The changed resources of these names that can be sent. Of those that are gone nothing is said, see the module."""
    if not delta.removed and all(x.name in names and not x.held for x in delta.changed):
        return delta
    return LayerDelta(tuple(x for x in delta.changed if x.name in names and not x.held))


def _blamed(error: str, touched: tuple[str, ...]) -> frozenset[str]:
    """
    The clusters that a refusal is about: Envoy applies the others of the response.

    Envoy says "Error adding/updating cluster(s) NAME: reason, NAME: reason"; where it names none, all count.
    """
    return frozenset(name for name in touched if f"{name}: " in error) or frozenset(touched)
