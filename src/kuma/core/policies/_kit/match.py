"""Which policies select a proxy, and in which order they count (spec/policies.md §1)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from kuma.core.model.labels import EFFECT_LABEL, ORIGIN_LABEL, POLICY_ROLE_LABEL, SERVICE_TAG, ZONE_LABEL
from kuma.core.model.resource import NO_LABELS, Meta, Resource
from kuma.core.policies._kit.spec import PolicySpec, TargetRef

_KIND_RANK: Final = {
    kind: rank
    for rank, kind in enumerate(
        (
            "Mesh",
            "Dataplane",
            "MeshSubset",
            "MeshGateway",
            "MeshService",
            "MeshExternalService",
            "MeshMultiZoneService",
            "MeshServiceSubset",
            "MeshHTTPRoute",
        )
    )
}
_ORIGIN_RANK: Final = {"global": 1, "zone": 3}
_ROLE_RANK: Final = {"system": 1, "producer": 2, "consumer": 3, "workload-owner": 4}
_SHADOW: Final = "shadow"


@dataclass(frozen=True, slots=True)
class InboundFacts:
    """What a targetRef can ask about one inbound; ``section`` is its name, else its port as text."""

    section: str
    tags: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class ProxyFacts:
    """What a targetRef can ask about a proxy. ``gateway`` is "", "DELEGATED" or "BUILTIN"."""

    name: str
    labels: Mapping[str, str] = NO_LABELS
    inbounds: tuple[InboundFacts, ...] = ()
    gateway: str = ""
    gateway_tags: Mapping[str, str] = NO_LABELS


@dataclass(frozen=True, slots=True)
class Routes:
    """MeshHTTPRoutes as a targetRef may mean them: by name, or by labels that they have beside others."""

    names: frozenset[str] = frozenset()
    labels: tuple[Mapping[str, str], ...] = ()

    @classmethod
    def of(cls, metas: Iterable[Meta]) -> Routes:
        """Those with these metadata."""
        listed = tuple(metas)
        return cls(frozenset(meta.display_name for meta in listed), tuple(meta.labels for meta in listed))

    def meant_by(self, ref: TargetRef) -> bool:
        """Whether a reference of kind MeshHTTPRoute means any of them."""
        if ref.labels:
            return any(ref.labels.items() <= labels.items() for labels in self.labels)
        return ref.name in self.names


@dataclass(frozen=True, slots=True)
class Selected:
    """Policies of one kind that select a proxy, lowest priority first; ``by_inbound`` has one entry per inbound."""

    policies: tuple[Resource[Any], ...]
    by_inbound: tuple[tuple[Resource[Any], ...], ...]


_NO_ROUTES: Final = Routes()


def is_shadow(meta: Meta) -> bool:
    """Whether a policy only shows what it would do (label ``kuma.io/effect: shadow``)."""
    return meta.labels.get(EFFECT_LABEL) == _SHADOW


def effect_warnings(meta: Meta) -> Iterator[str]:
    """What to tell the writer of a policy on trial that is none."""
    effect = meta.labels.get(EFFECT_LABEL, _SHADOW)
    if effect != _SHADOW:
        yield f'label {EFFECT_LABEL}: only "{_SHADOW}" has a meaning; with "{effect}" the policy is in force'


def in_priority_order(policies: Iterable[Resource[PolicySpec]]) -> tuple[Resource[PolicySpec], ...]:
    """Ascending: a later policy overrides an earlier one; of equals, the smaller name comes last and wins."""
    by_name = sorted(policies, key=lambda policy: (policy.meta.display_name, policy.meta.key), reverse=True)
    return tuple(sorted(by_name, key=_rank))


def select(policies: Iterable[Resource[PolicySpec]], proxy: ProxyFacts, routes: Routes = _NO_ROUTES) -> Selected:
    """
    The policies that select a proxy. ``policies`` must be in priority order and free of shadow policies.

    ``routes`` are the MeshHTTPRoutes that select the proxy: a policy that targets one of them does too.
    """
    chosen: list[Resource[Any]] = []
    by_inbound: list[list[Resource[Any]]] = [[] for _ in proxy.inbounds]
    for policy in policies:
        if not _same_zone(policy.meta, proxy):
            continue
        whole, inbounds = _selects(policy.spec.target, proxy, routes)
        if not whole and not inbounds:
            continue
        chosen.append(policy)
        for index in inbounds:
            by_inbound[index].append(policy)
    return Selected(tuple(chosen), tuple(tuple(found) for found in by_inbound))


def _rank(policy: Resource[PolicySpec]) -> tuple[int, int, int, int, int]:
    ref = policy.spec.target
    labels = policy.meta.labels
    return (
        _KIND_RANK.get(ref.kind, 0),
        1 if ref.name else 0,
        1 if ref.section_name else 0,
        _ORIGIN_RANK.get(labels.get(ORIGIN_LABEL, ""), 2),
        _ROLE_RANK.get(labels.get(POLICY_ROLE_LABEL, "system"), 1),
    )


def _same_zone(policy: Meta, proxy: ProxyFacts) -> bool:
    if policy.labels.get(POLICY_ROLE_LABEL) == "producer":
        return True
    if policy.labels.get(ORIGIN_LABEL) != "zone" or proxy.labels.get(ORIGIN_LABEL, "zone") != "zone":
        return True
    ours, theirs = policy.labels.get(ZONE_LABEL), proxy.labels.get(ZONE_LABEL)
    return ours is None or theirs is None or ours == theirs


def _selects(ref: TargetRef, proxy: ProxyFacts, routes: Routes) -> tuple[bool, tuple[int, ...]]:
    """Whether the proxy as a whole is selected, and which of its inbounds are."""
    everything = tuple(range(len(proxy.inbounds)))
    nothing: tuple[bool, tuple[int, ...]] = (False, ())
    if ref.proxy_types and ("Gateway" if proxy.gateway else "Sidecar") not in ref.proxy_types:
        return nothing
    match ref.kind:
        case "Mesh" | "":
            return True, everything
        case "Dataplane":
            if proxy.gateway == "BUILTIN":
                return nothing
            if ref.name and ref.name != proxy.name:
                return nothing
            if not (ref.labels or {}).items() <= proxy.labels.items():
                return nothing
            if ref.section_name is None:
                return True, everything
            return False, tuple(i for i, x in enumerate(proxy.inbounds) if x.section == ref.section_name)
        case "MeshHTTPRoute":
            return routes.meant_by(ref), ()
        case "MeshSubset":
            return _by_tags(ref.tags or {}, proxy)
        case "MeshService" | "MeshServiceSubset" if ref.name:
            return _by_tags({**(ref.tags or {}), SERVICE_TAG: ref.name}, proxy)
    return nothing


def _by_tags(tags: Mapping[str, str], proxy: ProxyFacts) -> tuple[bool, tuple[int, ...]]:
    inbounds = tuple(i for i, inbound in enumerate(proxy.inbounds) if tags.items() <= inbound.tags.items())
    gateway = bool(proxy.gateway) and tags.items() <= proxy.gateway_tags.items()
    return gateway or bool(inbounds), inbounds
