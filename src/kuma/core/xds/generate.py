"""From views to Envoy resources: the one code path that knows what a proxy gets.

Pure: equal views give byte-equal results. The same functions serve the ADS stream, ``inspect … --type=config`` and
the tests.

Work is shared: an outbound with the same rules is generated once however many proxies have it. ``Generator`` keeps
what it made in a bounded memory that can be dropped at any time without changing a result.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from kuma.core.errors import MeshError
from kuma.core.policies import BY_KIND, POLICIES
from kuma.core.policies._kit.contract import CannotApply
from kuma.core.policies._kit.rules import InboundRules, Merged, Towards
from kuma.core.xds import http
from kuma.core.xds.admin import admin_clusters, admin_listener, has_admin_listener
from kuma.core.xds.complete import ADMIN, INBOUND, OUTBOUND, Originated, Resources
from kuma.core.xds.draft import ClusterDraft
from kuma.core.xds.inbound import draft_inbound
from kuma.core.xds.names import CLUSTER, LISTENER
from kuma.core.xds.outbound import draft_outbound
from kuma.core.xds.pack import cluster_resource, packed_cluster, packed_inbound, packed_outbound
from kuma.core.xds.resources import Layer, XdsResource
from kuma.core.xds.view import AdminView, InboundView, OutboundRules, OutboundsView, OutboundView, Patches, ProxyView
from kuma.envoy_api.envoy.config.cluster.v3.cluster_pb2 import Cluster
from kuma.envoy_api.envoy.config.listener.v3.listener_pb2 import Listener

_SHARED_OUTBOUNDS: Final = 20_000
_SHARED_INBOUNDS: Final = 4_000
_ADMIN_INTERFACES: Final = 4_000
_NO_RULES: Final[InboundRules[Any]] = InboundRules()
_NO_CONFS: Final[Towards[Any]] = Towards({})

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class _Outbound:
    """What one outbound becomes; ``routed``: rules for single requests decide where they go."""

    listener: XdsResource
    clusters: tuple[XdsResource, ...]
    routed: bool


class Memory:
    """Results by key, the least recently used forgotten first."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._known: OrderedDict[Hashable, Any] = OrderedDict()

    def recall(self, key: Hashable, make: Callable[[], R]) -> R:
        """The result for a key, made on first use."""
        if key in self._known:
            self._known.move_to_end(key)
            found: R = self._known[key]
            return found
        made = self._known[key] = make()
        if len(self._known) > self._capacity:
            self._known.popitem(last=False)
        return made


class Generator:
    """Generates layers. ``internal_cidrs`` is the control plane's ``ipam.knownInternalCIDRs``."""

    def __init__(self, internal_cidrs: tuple[str, ...] = http.KNOWN_INTERNAL_CIDRS) -> None:
        self._internal_cidrs = internal_cidrs
        self._outbounds = Memory(_SHARED_OUTBOUNDS)
        self._inbounds = Memory(_SHARED_INBOUNDS)
        self._admins = Memory(_ADMIN_INTERFACES)

    def own(self, view: ProxyView) -> Layer:
        """
        The resources that only this proxy gets: admin interface and inbounds.

        Raises:
            CannotApply: a patch cannot be done.
        """
        return Layer.of(_patched(self._own(view), view.patches, takes_additions=True))

    def outbounds(self, view: OutboundsView) -> Layer:
        """
        The resources that every proxy of a class gets.

        Raises:
            CannotApply: a patch cannot be done.
        """
        made = [
            self._outbounds.recall((outbound, rules), lambda o=outbound, r=rules: self._outbound(o, r))  # type: ignore[misc]
            for outbound, rules in view.outbounds
        ]
        # A cluster that several lead to is that of one with routes: connections as such do not care how it speaks HTTP.
        clusters = (cluster for one in sorted(made, key=lambda one: one.routed) for cluster in one.clusters)
        resources = ((OUTBOUND, one) for one in (*(one.listener for one in made), *clusters))
        return Layer.of(_patched(resources, view.patches, takes_additions=False))

    def _own(self, view: ProxyView) -> Iterator[tuple[str, XdsResource]]:
        admin = view.admin
        if admin is not None:
            made = self._admins.recall(admin, lambda: self._admin(admin))
            yield from ((ADMIN, resource) for resource in made)
        for inbound, rules in zip(view.inbounds, view.rules, strict=True):
            made = self._inbounds.recall((inbound, rules), lambda i=inbound, r=rules: self._inbound(i, dict(r)))  # type: ignore[misc]
            yield from ((INBOUND, resource) for resource in made)

    def _admin(self, view: AdminView) -> tuple[XdsResource, ...]:
        clusters = admin_clusters(view)
        for cluster in clusters:
            _apply_everywhere(cluster)
        listeners = (admin_listener(view, self._internal_cidrs),) if has_admin_listener(view) else ()
        return (*map(packed_cluster, clusters), *listeners)

    def _inbound(self, view: InboundView, rules: dict[str, InboundRules[Any]]) -> tuple[XdsResource, ...]:
        draft = draft_inbound(view, self._internal_cidrs)
        for policy in POLICIES:
            if policy.inbound is not None:
                policy.inbound(draft, rules.get(policy.kind, _NO_RULES))
        _apply_everywhere(draft.local)
        return packed_inbound(draft)

    def _outbound(self, view: OutboundView, rules: OutboundRules) -> _Outbound:
        draft = draft_outbound(view, self._internal_cidrs)
        confs = dict(rules.towards)
        for policy in POLICIES:
            if policy.outbound is not None:
                policy.outbound(draft, confs.get(policy.kind, _NO_CONFS))
        for cluster in draft.clusters:
            _apply_everywhere(cluster)
        listener, *clusters = packed_outbound(draft)
        return _Outbound(listener, tuple(clusters), draft.routed)


def _apply_everywhere(cluster: ClusterDraft) -> None:
    for policy in POLICIES:
        if policy.every_cluster is not None:
            policy.every_cluster(cluster)


def _patched(
    made: Iterable[tuple[str, XdsResource]], patches: Patches, *, takes_additions: bool
) -> Iterator[XdsResource]:
    """The resources after patches; one that no patch touched stays the same object."""
    if not patches:
        yield from (resource for _, resource in made)
        return
    # A later resource of a name replaces an earlier one (``Layer.of``): patches shall see what stays.
    staying = {(resource.type_url, resource.name): (origin, resource) for origin, resource in made}
    known: dict[int, XdsResource] = {}
    clusters: list[Originated[Cluster]] = []
    listeners: list[Originated[Listener]] = []
    for origin, resource in staying.values():
        if resource.type_url == CLUSTER:
            clusters.append(Originated(origin, Cluster.FromString(resource.body)))
            known[id(clusters[-1].message)] = resource
        else:
            listeners.append(Originated(origin, Listener.FromString(resource.body)))
            known[id(listeners[-1].message)] = resource
    resources = Resources(tuple(clusters), tuple(listeners), takes_additions)
    for kind, merged in patches:
        resources = _patched_by(kind, merged, resources)
    for cluster in resources.clusters:
        yield known.get(id(cluster.message)) or cluster_resource(cluster.message)
    for listener in resources.listeners:
        yield known.get(id(listener.message)) or _patched_listener(listener.message, staying)


def _patched_by(kind: str, merged: Merged[Any], resources: Resources) -> Resources:
    patch = BY_KIND[kind].patch
    if patch is None:
        return resources
    try:
        return patch(merged.conf, resources)
    except MeshError as error:
        who = ", ".join(f'"{origin.name}"' for origin in merged.origins)
        raise CannotApply(f"{kind} {who}: {error}", merged.origins) from error


def _patched_listener(listener: Listener, made: Mapping[tuple[str, str], tuple[str, XdsResource]]) -> XdsResource:
    """A listener that a patch touched: it leads where it led before."""
    before = made.get((LISTENER, listener.name))
    leads_to = before[1].leads_to if before is not None else frozenset()
    return XdsResource.of(LISTENER, listener.name, listener, leads_to=leads_to)
