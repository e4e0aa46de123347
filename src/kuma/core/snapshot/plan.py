"""From a snapshot to what each proxy should have.

The way: a proxy and the snapshot give the policies that select it; these give rules; rules and the proxy give views;
views give layers. Each step is skipped when its inputs are the same objects as before, and proxies that share
outbounds, selected policies and traits form a class that is computed once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Final

from kuma.core.model.labels import SERVICE_TAG
from kuma.core.model.resource import Resource
from kuma.core.policies import POLICIES
from kuma.core.policies._kit.build import Part, has_outbound_rules, inbound_rules, outbound_parts, route_parts
from kuma.core.policies._kit.contract import Policy
from kuma.core.policies._kit.match import Selected, select
from kuma.core.policies._kit.merge import merge
from kuma.core.policies._kit.rules import InboundRules, Merged, Towards
from kuma.core.resources.dataplane import facts
from kuma.core.resources.dataplane.spec import Inbound
from kuma.core.snapshot.mesh import Destination, MeshSnapshot
from kuma.core.snapshot.proxy import RESERVED_INBOUND_PORT, Outbound, Proxy
from kuma.core.xds.generate import Generator, Memory
from kuma.core.xds.resources import EMPTY, Desired, Layer
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
    ProxyView,
)

_NO_DESTINATION: Final = Destination("tcp", tls=False)
_KAFKA: Final = "kafka"
NO_ORIGINS: Final[Mapping[str, frozenset[str]]] = MappingProxyType({})


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


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """What one proxy should have, and what it was made from (so that the next plan can skip what did not change)."""

    snapshot: MeshSnapshot
    proxy: Proxy
    traits: Traits
    selected: dict[str, Selected]
    own: Layer
    outbounds: Layer

    def desired(self, secrets: Layer = EMPTY) -> Desired:
        """All of it, with the proxy's secrets."""
        layers = (self.own, self.outbounds, self.snapshot.endpoints, self.snapshot.trust, secrets)
        return Desired(layers, self.snapshot.revision)


class Planner:
    """Makes plans; keeps shared results in bounded memory."""

    def __init__(self, generator: Generator) -> None:
        self._generator = generator
        self._classes = Memory(4096)
        self._merged = Memory(4096)
        self._inbound_rules = Memory(4096)

    def plan(self, snapshot: MeshSnapshot, proxy: Proxy, traits: Traits, last: Plan | None = None) -> Plan:
        """The plan of one proxy. ``last`` is its plan in an earlier snapshot of the same mesh."""
        if last is not None and (last.proxy is not proxy or last.traits != traits):
            last = None
        before = last.snapshot if last is not None else None
        if last is not None and before is not None and _same_basis(before, snapshot):
            return Plan(snapshot, proxy, traits, last.selected, last.own, last.outbounds)
        selected = self._select(snapshot, proxy, last)
        if (
            last is not None
            and before is not None
            and before.settings == snapshot.settings
            and _same_inbound(last.selected, selected)
        ):
            own = last.own
        else:
            own = self._generator.own(self.proxy_view(snapshot, proxy, traits, selected))
        outbounds = self._outbounds(snapshot, proxy, traits, selected)
        return Plan(snapshot, proxy, traits, selected, own, outbounds)

    def proxy_view(
        self, snapshot: MeshSnapshot, proxy: Proxy, traits: Traits, selected: dict[str, Selected]
    ) -> ProxyView:
        """What is the proxy's own."""
        spec = proxy.resource.spec
        inbounds: list[InboundView] = []
        rules: list[tuple[tuple[str, InboundRules[Any]], ...]] = []
        for index, inbound in enumerate(facts.networking(spec).inbound):
            if inbound.port == RESERVED_INBOUND_PORT:
                continue
            inbounds.append(_inbound_view(snapshot, proxy, inbound, traits))
            rules.append(
                tuple(
                    (policy.kind, self._rules_of(policy, selected[policy.kind].by_inbound[index]))
                    for policy in POLICIES
                    if policy.inbound is not None
                )
            )
        admin = traits.admin and replace(traits.admin, address=facts.networking(spec).address)
        return ProxyView(admin, tuple(inbounds), tuple(rules))

    def outbounds_view(
        self,
        snapshot: MeshSnapshot,
        outbounds: tuple[Outbound, ...],
        traits: Traits,
        caller: Caller,
        selected: dict[str, Selected],
    ) -> OutboundsView:
        """What the proxy shares with its class."""
        return tuple(self._outbound(snapshot, outbound, traits, caller, selected) for outbound in outbounds)

    def _outbound(
        self,
        snapshot: MeshSnapshot,
        outbound: Outbound,
        traits: Traits,
        caller: Caller,
        selected: dict[str, Selected],
    ) -> tuple[OutboundView, OutboundRules]:
        service = dict(outbound.tags)[SERVICE_TAG]
        routing = {policy.kind: self._towards(policy, selected, (service,)) for policy in _routing()}
        backends = _backends(snapshot, routing, service)
        services = tuple({service: None, **{dict(backend.tags)[SERVICE_TAG]: None for backend in backends}})
        origins = _route_origins(routing, selected, service)
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
            traits.ipv6,
            backends,
            caller,
        )
        return view, OutboundRules(towards)

    def _select(self, snapshot: MeshSnapshot, proxy: Proxy, last: Plan | None) -> dict[str, Selected]:
        """Per kind, the policies that select the proxy; those of kinds that did not change are taken over."""
        selected: dict[str, Selected] = {}
        # Routing policies come first: other policies may target them.
        routes: frozenset[str] = frozenset()
        fresh = last is None
        for policy in POLICIES:
            policies = _policies(snapshot, policy)
            if last is not None and not fresh and _policies(last.snapshot, policy) is policies:
                selected[policy.kind] = last.selected[policy.kind]
            else:
                selected[policy.kind] = select(policies, proxy.facts, routes)
                fresh = fresh or policy.route_names is not None
            if policy.route_names is not None:
                routes = frozenset(one.meta.display_name for one in selected[policy.kind].policies)
        return selected

    def _outbounds(self, snapshot: MeshSnapshot, proxy: Proxy, traits: Traits, selected: dict[str, Selected]) -> Layer:
        policies = tuple(selected[policy.kind].policies for policy in POLICIES if policy.outbound is not None)
        caller = _caller(snapshot, proxy, selected)
        # Objects are told apart by identity; the remembered value holds them, so that no identity is used twice.
        key = (
            id(proxy.outbounds),
            id(snapshot.destinations),
            snapshot.settings.name,
            traits.ipv6,
            caller,
            tuple(tuple(map(id, some)) for some in policies),
        )

        def make() -> tuple[Layer, object]:
            view = self.outbounds_view(snapshot, proxy.outbounds, traits, caller, selected)
            return self._generator.outbounds(view), (proxy.outbounds, snapshot.destinations, policies)

        return self._classes.recall(key, make)[0]

    def _towards(
        self,
        policy: Policy,
        selected: dict[str, Selected],
        services: Sequence[str],
        origins: Mapping[str, frozenset[str]] = NO_ORIGINS,
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
            for name, names_of_routes in origins.items()
            if (special := route_parts(policies, services[0], names_of_routes))
            and (merged := self._merge(policy, outbound_parts(policies, services[0]) + special)) is not None
        }
        return Towards(confs, has_outbound_rules(policies), routes)

    def _merge(self, policy: Policy, parts: tuple[Part, ...]) -> Merged[Any] | None:
        def make() -> tuple[Merged[Any] | None, object]:
            return merge(policy.conf, parts, policy.combine), parts

        return self._merged.recall((policy.kind, tuple((id(conf), key) for conf, key in parts)), make)[0]

    def _rules_of(self, policy: Policy, selected: tuple[Resource[Any], ...]) -> InboundRules[Any]:
        def make() -> tuple[InboundRules[Any], object]:
            return inbound_rules(policy, selected), selected

        return self._inbound_rules.recall((policy.kind, tuple(map(id, selected))), make)[0]


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


def _route_origins(
    routing: Mapping[str, Towards[Any]], selected: dict[str, Selected], service: str
) -> Mapping[str, frozenset[str]]:
    """For each route to a service, the names of the policies its rule is in."""
    found: dict[str, set[str]] = {}
    for policy in _routing():
        if policy.route_names is None or routing[policy.kind].towards(service) is None:
            continue
        for resource in selected[policy.kind].policies:
            for conf, _ in outbound_parts((resource,), service):
                for name in policy.route_names(conf):
                    found.setdefault(name, set()).add(resource.meta.display_name)
    return {name: frozenset(names_of_policies) for name, names_of_policies in found.items()}


def _policies(snapshot: MeshSnapshot, policy: Policy) -> tuple[Resource[Any], ...]:
    return snapshot.policies.get(policy.kind, ())


def _same_basis(before: MeshSnapshot, after: MeshSnapshot) -> bool:
    return (
        before.settings == after.settings
        and before.policies is after.policies
        and before.destinations is after.destinations
    )


def _same_inbound(before: dict[str, Selected], after: dict[str, Selected]) -> bool:
    return all(
        one is other
        or (len(one.by_inbound) == len(other.by_inbound) and all(map(_same_objects, one.by_inbound, other.by_inbound)))
        for one, other in ((before[kind], selected) for kind, selected in after.items())
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
