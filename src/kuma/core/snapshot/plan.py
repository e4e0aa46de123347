"""From a snapshot to what each proxy should have.

The way: a proxy and the snapshot give the policies that select it; these give rules; rules and the proxy give views;
views give layers. Each step is skipped when its inputs are the same objects as before, and proxies that share
outbounds, selected policies and traits form a class that is computed once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from types import MappingProxyType
from typing import Any, Final

from kuma.core.model.labels import NAMESPACE_LABEL, SERVICE_TAG, WORKLOAD_LABEL, ZONE_LABEL, ZONE_TAG, kri
from kuma.core.model.resource import Key, Meta, Resource
from kuma.core.policies import POLICIES
from kuma.core.policies._kit.build import (
    Part,
    TooManySubsets,
    has_outbound_rules,
    inbound_rules,
    outbound_parts,
    route_parts,
    speaking_of_inbounds,
    whole_parts,
)
from kuma.core.policies._kit.contract import Policy
from kuma.core.policies._kit.match import Routes, Selected
from kuma.core.policies._kit.merge import merge
from kuma.core.policies._kit.rules import InboundRules, Merged, Towards
from kuma.core.resources.dataplane import facts
from kuma.core.resources.dataplane.spec import Inbound
from kuma.core.snapshot.explain import route_origins
from kuma.core.snapshot.mesh import Destination, MeshSnapshot
from kuma.core.snapshot.proxy import RESERVED_INBOUND_PORT, Outbound, Proxy
from kuma.core.snapshot.selection import select_all
from kuma.core.units import one_spelling
from kuma.core.xds import names
from kuma.core.xds.endpoints import grouped_assignment
from kuma.core.xds.generate import Generator, Memory
from kuma.core.xds.localities import Nearness, Place
from kuma.core.xds.log_facts import UNKNOWN_PROXY, LogFacts
from kuma.core.xds.resources import EMPTY, Desired, Layer, XdsResource
from kuma.core.xds.source_tags import header_value
from kuma.core.xds.view import (
    NOBODY,
    AdminView,
    Backend,
    Caller,
    InboundView,
    OutboundRules,
    OutboundsView,
    OutboundView,
    Patches,
    ProxyView,
    Tags,
)

_NO_DESTINATION: Final = Destination("tcp", tls=False)
_KAFKA: Final = "kafka"
NO_ORIGINS: Final[Mapping[str, Routes]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Traits:
    """
    What a proxy's own build and host add to its view.

    ``admin`` lacks the proxy's address, which its Dataplane says; ``kafka_filter``: its Envoy has the Kafka extension.
    """

    admin: AdminView | None = None
    reuse_port: bool = False
    ipv6: bool = True
    kafka_filter: bool = False
    workdir: str = ""
    """Where its kuma-dp keeps its files."""


Near = tuple[tuple[Tags, Nearness], ...]


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """What one proxy should have, and what it was made from (so that the next plan can skip what did not change)."""

    snapshot: MeshSnapshot
    proxy: Proxy
    traits: Traits
    selected: dict[str, Selected]
    own: Layer
    outbounds: Layer
    near: Near
    """The destinations of which the proxy gets endpoints in an order of its own."""
    endpoints: Layer

    def desired(self, secrets: Layer = EMPTY) -> Desired:
        """All of it, with the proxy's secrets."""
        layers = (self.own, self.outbounds, self.endpoints, self.snapshot.trust, secrets)
        return Desired(layers, self.snapshot.revision)


class Planner:
    """Makes plans; keeps shared results in bounded memory."""

    def __init__(self, generator: Generator) -> None:
        self._generator = generator
        self._classes = Memory(4096)
        self._merged = Memory(4096)
        self._inbound_rules = Memory(4096)
        self._nears = Memory(4096)
        self._assignments = Memory(20_000)
        self._endpoints = Memory(256)  # few: each is as large as the mesh has services

    def plan(self, snapshot: MeshSnapshot, proxy: Proxy, traits: Traits, last: Plan | None = None) -> Plan:
        """The plan of one proxy. ``last`` is its plan in an earlier snapshot of the same mesh."""
        if last is not None and (last.proxy is not proxy or last.traits != traits):
            last = None
        before = last.snapshot if last is not None else None
        if last is not None and before is not None and _same_basis(before, snapshot):
            endpoints = self._near_endpoints(snapshot, last.near)
            return Plan(snapshot, proxy, traits, last.selected, last.own, last.outbounds, last.near, endpoints)
        selected = select_all(partial(_policies, snapshot), proxy.facts, partial(_known, snapshot, last))
        if (
            last is not None
            and before is not None
            and before.settings == snapshot.settings
            and _same_inbound(last.selected, selected)
        ):
            own = last.own
        else:
            own = self._generator.own(self.proxy_view(snapshot, proxy, traits, selected))
        outbounds, grouped = self._outbounds(snapshot, proxy, traits, selected)
        near = _near(proxy, grouped)
        if near:
            near = self._nears.recall(near, lambda: near)  # equal ones are one object, which costs nothing to compare
        endpoints = self._near_endpoints(snapshot, near)
        return Plan(snapshot, proxy, traits, selected, own, outbounds, near, endpoints)

    def proxy_view(
        self, snapshot: MeshSnapshot, proxy: Proxy, traits: Traits, selected: dict[str, Selected]
    ) -> ProxyView:
        """What is the proxy's own."""
        spec = proxy.resource.spec
        logs = _log_facts(snapshot, proxy, traits) if _loggers(selected) else UNKNOWN_PROXY
        inbounds: list[InboundView] = []
        rules: list[tuple[tuple[str, InboundRules[Any]], ...]] = []
        for index, inbound in enumerate(facts.networking(spec).inbound):
            if inbound.port == RESERVED_INBOUND_PORT:
                continue
            inbounds.append(replace(_inbound_view(snapshot, proxy, inbound, traits), logs=logs))
            rules.append(
                tuple(
                    (policy.kind, self._rules_of(policy, speaking_of_inbounds(selected[policy.kind].by_inbound[index])))
                    for policy in POLICIES
                    if policy.inbound is not None
                )
            )
        return ProxyView(
            traits.admin and _at_home(traits.admin, proxy), tuple(inbounds), tuple(rules), self._patches(selected)
        )

    def outbounds_view(
        self,
        snapshot: MeshSnapshot,
        outbounds: tuple[Outbound, ...],
        teller: Teller,
        selected: dict[str, Selected],
    ) -> OutboundsView:
        """What the proxy shares with its class."""
        made = tuple(self._outbound(snapshot, outbound, teller, selected) for outbound in outbounds)
        return OutboundsView(made, self._patches(selected))

    def _outbound(
        self, snapshot: MeshSnapshot, outbound: Outbound, teller: Teller, selected: dict[str, Selected]
    ) -> tuple[OutboundView, OutboundRules]:
        service = dict(outbound.tags)[SERVICE_TAG]
        routing = {policy.kind: self._towards(policy, selected, (service,)) for policy in _routing()}
        backends = _backends(snapshot, routing, service)
        services = tuple({service: None, **{dict(backend.tags)[SERVICE_TAG]: None for backend in backends}})
        origins = route_origins(((policy, selected[policy.kind].policies) for policy in _routing()), service)
        towards = tuple(
            (policy.kind, routing.get(policy.kind) or self._towards(policy, selected, services, origins))
            for policy in POLICIES
            if policy.outbound is not None
        )
        destination = snapshot.destinations.get(outbound.tags, _NO_DESTINATION)
        view = OutboundView(
            snapshot.settings.name,
            outbound.address,
            outbound.port,
            outbound.tags,
            destination.protocol,
            destination.tls,
            teller.ipv6,
            backends,
            teller.caller,
            teller.logs,
        )
        return view, OutboundRules(towards)

    def _outbounds(
        self, snapshot: MeshSnapshot, proxy: Proxy, traits: Traits, selected: dict[str, Selected]
    ) -> tuple[Layer, _Grouped]:
        policies = tuple(
            tuple(one for one in selected[policy.kind].policies if policy.patch or one.spec.to)
            for policy in POLICIES
            if policy.outbound or policy.patch
        )
        # What holds for inbounds only need not divide classes.
        logged = any(one.spec.to for one in _loggers(selected))
        logs = _log_facts(snapshot, proxy, traits) if logged else UNKNOWN_PROXY
        teller = Teller(traits.ipv6, _caller(snapshot, proxy, selected), logs)
        # Objects are told apart by identity; the remembered value holds them, so that no identity is used twice.
        key = (
            id(proxy.outbounds),
            id(snapshot.destinations),
            snapshot.settings.name,
            teller,
            tuple(tuple(map(id, some)) for some in policies),
        )

        def make() -> tuple[tuple[Layer, _Grouped], object]:
            view = self.outbounds_view(snapshot, proxy.outbounds, teller, selected)
            made = self._generator.outbounds(view), _grouped(view)
            return made, (proxy.outbounds, snapshot.destinations, policies)

        return self._classes.recall(key, make)[0]

    def _near_endpoints(self, snapshot: MeshSnapshot, near: Near) -> Layer:
        """The endpoints of the mesh, with those regrouped that are to be; the mesh's own layer where nothing is."""
        if not near:
            return snapshot.endpoints

        def make() -> tuple[Layer, object]:
            base = snapshot.endpoints.by_name(names.ENDPOINT)
            changed = {
                made.name: made
                for tags, nearness in near
                if (made := self._regrouped(snapshot, tags, nearness)) is not None and made != base.get(made.name)
            }
            layer = Layer({names.ENDPOINT: {**base, **changed}}) if changed else snapshot.endpoints
            return layer, (snapshot.endpoints, near)

        return self._endpoints.recall((id(snapshot.endpoints), id(near)), make)[0]

    def _regrouped(self, snapshot: MeshSnapshot, tags: Tags, nearness: Nearness) -> XdsResource | None:
        """The endpoints of one destination, grouped; made once for as long as the mesh's own are the same."""
        name = names.outbound_cluster(tags)
        base = snapshot.endpoints.by_name(names.ENDPOINT).get(name)
        if base is None:
            return None

        def make() -> tuple[XdsResource, object]:
            return grouped_assignment(name, nearness.grouped(snapshot.located(tags))), base

        return self._assignments.recall((id(base), nearness), make)[0]

    def _patches(self, selected: dict[str, Selected]) -> Patches:
        """The confs of kinds that patch, each policy's by itself: what cannot be done is told with its policy."""
        return tuple(
            (policy.kind, merged)
            for policy in POLICIES
            if policy.patch is not None
            for part in whole_parts(selected[policy.kind].policies)
            if (merged := self._merge(policy, (part,))) is not None
        )

    def _towards(
        self,
        policy: Policy,
        selected: dict[str, Selected],
        services: Sequence[str],
        origins: Mapping[str, Routes] = NO_ORIGINS,
    ) -> Towards[Any]:
        """The rules of one kind for the services an outbound may lead to; the first of them is its own."""
        policies = selected[policy.kind].policies
        confs = {
            service: merged
            for service in services
            if (merged := self._merge(policy, outbound_parts(policies, service))) is not None
        }
        routes = {
            name: merged
            for name, origin in origins.items()
            if (special := route_parts(policies, services[0], origin))
            and (merged := self._merge(policy, outbound_parts(policies, services[0]) + special)) is not None
        }
        return Towards(confs, has_outbound_rules(policies), routes)

    def _merge(self, policy: Policy, parts: tuple[Part, ...]) -> Merged[Any] | None:
        def make() -> tuple[Merged[Any] | None, object]:
            return merge(policy.conf, parts, policy.combine), parts

        return self._merged.recall((policy.kind, tuple((id(conf), key) for conf, key in parts)), make)[0]

    def _rules_of(self, policy: Policy, selected: tuple[Resource[Any], ...]) -> InboundRules[Any]:
        def make() -> tuple[InboundRules[Any] | TooManySubsets, object]:
            try:
                return inbound_rules(policy, selected), selected
            except TooManySubsets as error:
                return error, selected  # remembered, because finding out took its time

        found = self._inbound_rules.recall((policy.kind, tuple(map(id, selected))), make)[0]
        if isinstance(found, TooManySubsets):
            raise TooManySubsets(str(found), found.policies)
        return found


@dataclass(frozen=True, slots=True)
class Teller:
    """What a proxy's outbounds say of the proxy itself: as little as policies want, because it divides classes."""

    ipv6: bool
    caller: Caller = NOBODY
    logs: LogFacts = UNKNOWN_PROXY


def _routing() -> tuple[Policy, ...]:
    """The kinds that decide where traffic goes."""
    return tuple(policy for policy in POLICIES if policy.destinations is not None)


def _caller(snapshot: MeshSnapshot, proxy: Proxy, selected: dict[str, Selected]) -> Caller:
    """What others are told of the proxy; nothing unless a policy wants it, because it divides classes."""
    on_requests = any(policy.knows_callers and _policies(snapshot, policy) for policy in POLICIES)
    if not on_requests and not any(policy.probes and selected[policy.kind].policies for policy in POLICIES):
        return NOBODY
    tags: dict[str, set[str]] = {}
    for tag_set in facts.all_tag_sets(proxy.resource.spec):
        for key, value in tag_set.items():
            tags.setdefault(key, set()).add(value)
    return Caller(header_value(tags), on_requests)


def _loggers(selected: dict[str, Selected]) -> tuple[Resource[Any], ...]:
    """The policies by which a proxy writes access logs."""
    return tuple(one for policy in POLICIES if policy.logs for one in selected[policy.kind].policies)


def _log_facts(snapshot: MeshSnapshot, proxy: Proxy, traits: Traits) -> LogFacts:
    """What access logs say of the proxy that writes them."""
    spec = proxy.resource.spec
    services = facts.service_tags(spec)
    return LogFacts(
        name=proxy.name,
        mesh=snapshot.settings.name,
        address=facts.networking(spec).address,
        service=services[0] if services else UNKNOWN_PROXY.service,
        zone=_zone(proxy),
        workload=_workload(proxy),
        workdir=traits.workdir or UNKNOWN_PROXY.workdir,
        ipv6=traits.ipv6,
    )


_Grouped = tuple[tuple[Tags, Policy, Merged[Any]], ...]
"""The destinations of a class of which a policy groups the endpoints, and its conf."""


def _grouped(view: OutboundsView) -> _Grouped:
    found: dict[Tags, tuple[Policy, Merged[Any]]] = {}
    kinds = tuple(policy for policy in POLICIES if policy.nearness is not None)
    for outbound, rules in view.outbounds:
        towards = dict(rules.towards)
        for tags in (outbound.tags, *(backend.tags for backend in outbound.backends)):
            for policy in kinds:
                merged = towards[policy.kind].confs.get(dict(tags)[SERVICE_TAG])
                if merged is not None:
                    found[tags] = policy, merged
    return tuple((tags, policy, merged) for tags, (policy, merged) in sorted(found.items(), key=lambda item: item[0]))


def _near(proxy: Proxy, grouped: _Grouped) -> Near:
    if not grouped:
        return ()
    place = _place(proxy)
    made: dict[int, Nearness] = {}  # most destinations have the conf of the whole mesh
    for _, policy, merged in grouped:
        if id(merged) not in made and policy.nearness is not None:
            made[id(merged)] = policy.nearness(merged.conf, place)
    return tuple((tags, made[id(merged)]) for tags, _, merged in grouped)


def _at_home(admin: AdminView, proxy: Proxy) -> AdminView:
    """The admin interface of this proxy."""
    spec = proxy.resource.spec
    address = facts.networking(spec).address
    here = facts.Endpoint(one_spelling(address), admin.port)
    listening = {facts.inbound_endpoint(spec, inbound) for inbound in facts.networking(spec).inbound}
    listening |= {facts.Endpoint(outbound.address, outbound.port) for outbound in proxy.outbounds}
    return replace(admin, address=address, taken=here in listening)


def _zone(proxy: Proxy) -> str:
    tagged = (tags[ZONE_TAG] for tags in facts.all_tag_sets(proxy.resource.spec) if tags.get(ZONE_TAG))
    return proxy.resource.meta.labels.get(ZONE_LABEL) or next(tagged, "")


def _workload(proxy: Proxy) -> str:
    """The identifier of the Workload that the proxy belongs to; empty when it says of none."""
    meta = proxy.resource.meta
    name = meta.labels.get(WORKLOAD_LABEL)
    labels = {key: value for key in (ZONE_LABEL, NAMESPACE_LABEL) if (value := meta.labels.get(key))}
    return kri("wl", Meta(Key("Workload", meta.mesh, name), labels)) if name else ""


def _place(proxy: Proxy) -> Place:
    tags: dict[str, dict[str, None]] = {}
    for tag_set in facts.all_tag_sets(proxy.resource.spec):
        for key, value in tag_set.items():
            tags.setdefault(key, {})[value] = None
    return Place(_zone(proxy), {key: tuple(values) for key, values in tags.items()})


def _backends(snapshot: MeshSnapshot, routing: Mapping[str, Towards[Any]], service: str) -> tuple[Backend, ...]:
    """The destinations that routing policies lead the traffic to a service to."""
    wanted = {
        tags
        for policy in _routing()
        if policy.destinations is not None and (conf := routing[policy.kind].towards(service)) is not None
        for tags in policy.destinations(conf)
    }
    known = ((tags, snapshot.destinations.get(tags, _NO_DESTINATION)) for tags in sorted(wanted))
    return tuple(Backend(tags, destination.protocol, destination.tls) for tags, destination in known)


def _policies(snapshot: MeshSnapshot, policy: Policy) -> tuple[Resource[Any], ...]:
    return snapshot.policies.get(policy.kind, ())


def _known(snapshot: MeshSnapshot, last: Plan | None, policy: Policy) -> Selected | None:
    """What an earlier plan selected of a kind, where the policies of the kind are the same."""
    same = last is not None and _policies(last.snapshot, policy) is _policies(snapshot, policy)
    return last.selected[policy.kind] if last is not None and same else None


def _same_basis(before: MeshSnapshot, after: MeshSnapshot) -> bool:
    return (
        before.settings == after.settings
        and before.policies is after.policies
        and before.destinations is after.destinations
    )


def _same_inbound(before: dict[str, Selected], after: dict[str, Selected]) -> bool:
    if not all(
        _same_objects(before[policy.kind].policies, after[policy.kind].policies)
        for policy in POLICIES
        if policy.patch or policy.logs
    ):
        return False
    return all(
        _same_objects(speaking_of_inbounds(old), speaking_of_inbounds(new))
        for policy in POLICIES
        if policy.inbound is not None and before[policy.kind] is not after[policy.kind]
        for old, new in zip(before[policy.kind].by_inbound, after[policy.kind].by_inbound, strict=True)
    )


def _same_objects(one: tuple[object, ...], other: tuple[object, ...]) -> bool:
    return len(one) == len(other) and all(map(lambda a, b: a is b, one, other))


def _inbound_view(snapshot: MeshSnapshot, proxy: Proxy, inbound: Inbound, traits: Traits) -> InboundView:
    spec = proxy.resource.spec
    listens = facts.inbound_endpoint(spec, inbound)
    workload = facts.workload_endpoint(spec, inbound)
    protocol = facts.protocol_of(inbound)
    return InboundView(
        mesh=snapshot.settings.name,
        address=listens.address,
        port=listens.port,
        workload_address=workload.address,
        workload_port=workload.port,
        section=facts.section_of(inbound),
        protocol=protocol,
        tags=tuple(sorted(inbound.tags.items())),
        tls=snapshot.settings.tls,
        reuse_port=traits.reuse_port,
        ipv6=traits.ipv6,
        kafka_filter=protocol == _KAFKA and traits.kafka_filter,
    )
