"""From views to Envoy resources: the one code path that knows what a proxy gets.

Pure: equal views give byte-equal results. The same functions serve the ADS stream, ``inspect … --type=config`` and
the tests.

Work is shared: an outbound with the same rules is generated once however many proxies have it. ``Generator`` keeps
what it made in a bounded memory that can be dropped at any time without changing a result.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from typing import Any, Final, TypeVar

from kuma.core.policies import POLICIES
from kuma.core.policies._kit.rules import InboundRules, Towards
from kuma.core.xds import http
from kuma.core.xds.admin import admin_clusters, admin_listener, has_admin_listener
from kuma.core.xds.draft import ClusterDraft
from kuma.core.xds.inbound import draft_inbound
from kuma.core.xds.outbound import draft_outbound
from kuma.core.xds.pack import packed_cluster, packed_inbound, packed_outbound
from kuma.core.xds.resources import Layer, XdsResource
from kuma.core.xds.view import InboundView, OutboundRules, OutboundsView, OutboundView, ProxyView

_SHARED_OUTBOUNDS: Final = 20_000
_SHARED_INBOUNDS: Final = 4_000
_NO_RULES: Final[InboundRules[Any]] = InboundRules()
_NO_CONFS: Final[Towards[Any]] = Towards({})

R = TypeVar("R")


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

    def own(self, view: ProxyView) -> Layer:
        """The resources that only this proxy gets: admin interface and inbounds."""
        return Layer.of(self._own(view))

    def outbounds(self, view: OutboundsView) -> Layer:
        """The resources that every proxy of a class gets."""
        return Layer.of(
            resource
            for outbound, rules in view
            for resource in self._outbounds.recall((outbound, rules), lambda o=outbound, r=rules: self._outbound(o, r))  # type: ignore[misc]
        )

    def _own(self, view: ProxyView) -> Iterator[XdsResource]:
        if view.admin is not None:
            for cluster in admin_clusters(view.admin):
                _apply_everywhere(cluster)
                yield packed_cluster(cluster)
            if has_admin_listener(view.admin):
                yield admin_listener(view.admin, self._internal_cidrs)
        for inbound, rules in zip(view.inbounds, view.rules, strict=True):
            yield from self._inbounds.recall((inbound, rules), lambda i=inbound, r=rules: self._inbound(i, dict(r)))  # type: ignore[misc]

    def _inbound(self, view: InboundView, rules: dict[str, InboundRules[Any]]) -> tuple[XdsResource, ...]:
        draft = draft_inbound(view, self._internal_cidrs)
        for policy in POLICIES:
            if policy.inbound is not None:
                policy.inbound(draft, rules.get(policy.kind, _NO_RULES))
        _apply_everywhere(draft.local)
        return packed_inbound(draft)

    def _outbound(self, view: OutboundView, rules: OutboundRules) -> tuple[XdsResource, ...]:
        draft = draft_outbound(view, self._internal_cidrs)
        confs = dict(rules.towards)
        for policy in POLICIES:
            if policy.outbound is not None:
                policy.outbound(draft, confs.get(policy.kind, _NO_CONFS))
        for cluster in draft.clusters:
            _apply_everywhere(cluster)
        return packed_outbound(draft)


def _apply_everywhere(cluster: ClusterDraft) -> None:
    for policy in POLICIES:
        if policy.every_cluster is not None:
            policy.every_cluster(cluster)
