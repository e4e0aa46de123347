"""A mesh at one store revision: frozen, shared by all its proxies, made from the one before by what changed.

Parts that a change does not touch stay the same objects. So ``new.endpoints is old.endpoints`` answers "did any
endpoint change?", and the same holds for destinations and for the policies of each kind.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Final

from kuma.core.model.labels import SERVICE_TAG
from kuma.core.model.resource import Resource
from kuma.core.policies import BY_KIND
from kuma.core.policies._kit.contract import Policy
from kuma.core.policies._kit.match import in_priority_order, is_shadow
from kuma.core.snapshot.proxy import Offer, Proxy
from kuma.core.xds import names, tls
from kuma.core.xds.endpoints import Endpoint, assignment
from kuma.core.xds.localities import Located
from kuma.core.xds.resources import Layer, XdsResource
from kuma.core.xds.view import Tags, TlsMode

_TOGETHER: Final = {frozenset({"grpc", "http2"}): "http2", frozenset({"http", "http2"}): "tcp"}


@dataclass(frozen=True, slots=True)
class Destination:
    """What a service speaks, and whether it is to be reached with mutual TLS."""

    protocol: str
    tls: bool


@dataclass(frozen=True, slots=True)
class MeshSettings:
    """What the Mesh resource says that concerns generated configuration."""

    name: str
    tls: TlsMode = TlsMode.OFF
    roots: bytes = b""
    """PEM of every root the mesh trusts."""


@dataclass(frozen=True, slots=True)
class Changes:
    """
    What happened since a snapshot. A value of None means "gone"; a kind of policy lists all its policies.

    ``issued`` tells, per proxy, whether it is known to hold a certificate and to accept mutual TLS; ``joining``
    whether its Envoy has just started and does not listen yet.
    """

    proxies: Mapping[str, Proxy | None] = field(default_factory=dict)
    policies: Mapping[str, tuple[Resource[Any], ...]] = field(default_factory=dict)
    issued: Mapping[str, bool] = field(default_factory=dict)
    joining: Mapping[str, bool] = field(default_factory=dict)
    settings: MeshSettings | None = None


@dataclass(frozen=True, slots=True, eq=False)
class MeshSnapshot:
    """
    See the module.

    ``offers`` maps a service to the offers of each proxy; ``wanted`` counts, per set of tags, how many outbounds ask
    for it; ``destinations`` holds what is known of each wanted set; ``endpoints`` the assignment of each.
    ``policies`` are in priority order, shadow policies left out. Proxies that are ``joining`` are sent no traffic.
    """

    settings: MeshSettings
    revision: int = 0
    proxies: Mapping[str, Proxy] = field(default_factory=dict)
    offers: Mapping[str, Mapping[str, tuple[Offer, ...]]] = field(default_factory=dict)
    wanted: Mapping[Tags, int] = field(default_factory=dict)
    destinations: Mapping[Tags, Destination] = field(default_factory=dict)
    endpoints: Layer = field(default_factory=lambda: Layer({}))
    trust: Layer = field(default_factory=lambda: Layer({}))
    policies: Mapping[str, tuple[Resource[Any], ...]] = field(default_factory=dict)
    issued: Mapping[str, bool] = field(default_factory=dict)
    joining: frozenset[str] = frozenset()
    known_at: float = 0.0
    """When its newest change became known, on the caller's monotonic clock."""

    def apply(self, changes: Changes, revision: int, known_at: float = 0.0) -> MeshSnapshot:
        """The mesh after these changes; costs what the changes touch."""
        draft = _Draft(self)
        for name, proxy in changes.proxies.items():
            draft.put_proxy(name, proxy)
        draft.put_issued(changes.issued)
        draft.put_joining(changes.joining)
        policies = _with(self.policies, changes.policies)
        draft.put_routes(policies)
        settings = self.settings
        if changes.settings is not None and changes.settings != settings:
            settings = changes.settings
        return replace(
            self,
            settings=settings,
            revision=revision,
            known_at=known_at,
            trust=self.trust if settings.roots == self.settings.roots and self.revision else _trust(settings),
            policies=policies,
            **draft.finish(settings),
        )

    def located(self, tags: Tags) -> list[Located[Endpoint]]:
        """The endpoints that a set of tags leads to now, each with where it is, in the order of the assignment."""
        return [
            Located(offer.endpoint, offer.endpoint.zone, offer.tags)
            for offer in _serving(tags, self.offers, self.joining)
        ]


def _trust(settings: MeshSettings) -> Layer:
    if settings.tls is TlsMode.OFF:
        return Layer({})
    name = names.mesh_ca_secret(settings.name)
    return Layer.of([XdsResource.of(names.SECRET, name, tls.roots_secret(name, settings.roots))])


def _with(
    present: Mapping[str, tuple[Resource[Any], ...]], changed: Mapping[str, tuple[Resource[Any], ...]]
) -> Mapping[str, tuple[Resource[Any], ...]]:
    """The policies after a change. A kind whose policies are equal keeps its tuple, all kinds equal the mapping."""
    moved = {
        kind: chosen
        for kind, policies in changed.items()
        if (chosen := in_priority_order(policy for policy in policies if not is_shadow(policy.meta)))
        != present.get(kind, ())
    }
    return MappingProxyType({**present, **moved}) if moved else present


class _Draft:
    """A snapshot in the making: copies what it touches, once."""

    def __init__(self, base: MeshSnapshot) -> None:
        self._base = base
        self._proxies: dict[str, Proxy] | None = None
        self._offers: dict[str, Mapping[str, tuple[Offer, ...]]] | None = None
        self._issued: dict[str, bool] | None = None
        self._joining: frozenset[str] | None = None
        self._removed: set[str] = set()
        self._wanted: Counter[Tags] = Counter()
        self._touched: set[str] = set()
        """Services whose offers changed."""
        self._judged: set[str] = set()
        """Services whose readiness for TLS may have changed."""
        self._fresh: dict[str, dict[str, tuple[Offer, ...]]] = {}
        """Maps of services that were copied already and may be written on."""

    def put_proxy(self, name: str, proxy: Proxy | None) -> None:
        before = (self._proxies if self._proxies is not None else self._base.proxies).get(name)
        if self._proxies is None:
            self._proxies = dict(self._base.proxies)
        if proxy is None:
            self._proxies.pop(name, None)
            self._removed.add(name)
        else:
            self._proxies[name] = proxy
            self._removed.discard(name)
        if before is None or proxy is None or before.offers != proxy.offers:
            self._put_offers(name, before.offers if before else (), proxy.offers if proxy else ())
        for outbound in before.outbounds if before else ():
            self._wanted[outbound.tags] -= 1
        for outbound in proxy.outbounds if proxy else ():
            self._wanted[outbound.tags] += 1

    def put_issued(self, issued: Mapping[str, bool]) -> None:
        changed = {name: value for name, value in issued.items() if self._base.issued.get(name, False) != value}
        if not changed:
            return
        self._issued = {name: value for name, value in {**self._base.issued, **changed}.items() if value}
        self._judged.update(self._services_of(changed))

    def put_joining(self, joining: Mapping[str, bool]) -> None:
        present = self._base.joining
        starting = frozenset(name for name, value in joining.items() if value)
        gone = self._removed
        after = ((present - joining.keys()) | starting) - gone
        if after != present:
            self._joining = after
            self._touched.update(self._services_of((after ^ present) - gone))

    def put_routes(self, policies: Mapping[str, tuple[Resource[Any], ...]]) -> None:
        """Destinations that routing policies lead to are wanted like those of outbounds."""
        for kind, after in policies.items():
            before = self._base.policies.get(kind, ())
            if after is not before and kind in BY_KIND:
                self._wanted.subtract(_led_to(BY_KIND[kind], before))
                self._wanted.update(_led_to(BY_KIND[kind], after))

    def _services_of(self, names_of_proxies: Iterable[str]) -> set[str]:
        proxies = self._proxies if self._proxies is not None else self._base.proxies
        return {offer.service for name in names_of_proxies if name in proxies for offer in proxies[name].offers}

    def finish(self, settings: MeshSettings) -> dict[str, Any]:
        """The fields that changed."""
        base = self._base
        result: dict[str, Any] = {}
        if self._proxies is not None:
            result["proxies"] = MappingProxyType(self._proxies)
        if self._offers is not None:
            result["offers"] = MappingProxyType(self._offers)
        if self._issued is not None:
            result["issued"] = MappingProxyType(self._issued)
        if self._joining is not None:
            result["joining"] = self._joining
        joining = self._joining if self._joining is not None else base.joining
        offers = self._offers if self._offers is not None else base.offers
        issued = self._issued if self._issued is not None else base.issued
        wanted, added, dropped = self._finish_wanted()
        if wanted is not base.wanted:
            result["wanted"] = MappingProxyType(wanted)
        stale = {tags for tags in wanted if dict(tags)[SERVICE_TAG] in self._touched | self._judged} | added
        if settings != base.settings:
            stale = set(wanted)
        destinations = _destinations(base, settings, stale, dropped, offers, issued, joining)
        if destinations is not base.destinations:
            result["destinations"] = destinations
        moved = {tags for tags in wanted if dict(tags)[SERVICE_TAG] in self._touched} | added
        layer = _endpoints(base.endpoints, moved, dropped, offers, joining)
        if layer is not base.endpoints:
            result["endpoints"] = layer
        return result

    def _put_offers(self, name: str, before: tuple[Offer, ...], after: tuple[Offer, ...]) -> None:
        if self._offers is None:
            self._offers = dict(self._base.offers)
        by_service: dict[str, list[Offer]] = {}
        for offer in after:
            if offer.service:
                by_service.setdefault(offer.service, []).append(offer)
        for service in {offer.service for offer in before if offer.service} | by_service.keys():
            of_proxies = self._fresh.get(service)
            if of_proxies is None:
                of_proxies = self._fresh[service] = dict(self._offers.get(service, {}))
                self._offers[service] = of_proxies
            if service in by_service:
                of_proxies[name] = tuple(by_service[service])
            else:
                of_proxies.pop(name, None)
            if not of_proxies:
                del self._offers[service], self._fresh[service]
            self._touched.add(service)

    def _finish_wanted(self) -> tuple[Mapping[Tags, int], set[Tags], set[Tags]]:
        changed = {tags: count for tags, count in self._wanted.items() if count}
        if not changed:
            return self._base.wanted, set(), set()
        wanted = dict(self._base.wanted)
        added: set[Tags] = set()
        dropped: set[Tags] = set()
        for tags, count in changed.items():
            total = wanted.get(tags, 0) + count
            if total <= 0:
                wanted.pop(tags, None)
                dropped.add(tags)
            else:
                if tags not in wanted:
                    added.add(tags)
                wanted[tags] = total
        return wanted, added, dropped


def _led_to(policy: Policy, resources: Iterable[Resource[Any]]) -> Iterator[Tags]:
    if policy.destinations is not None:
        for resource in resources:
            for item in resource.spec.to:
                yield from policy.destinations(item.default)


def _destinations(
    base: MeshSnapshot,
    settings: MeshSettings,
    stale: Iterable[Tags],
    dropped: set[Tags],
    offers: Mapping[str, Mapping[str, tuple[Offer, ...]]],
    issued: Mapping[str, bool],
    joining: frozenset[str],
) -> Mapping[Tags, Destination]:
    changed = {
        tags: destination
        for tags in stale
        if base.destinations.get(tags) != (destination := _destination(tags, settings, offers, issued, joining))
    }
    if not changed and not dropped:
        return base.destinations
    kept = {tags: destination for tags, destination in base.destinations.items() if tags not in dropped}
    return MappingProxyType({**kept, **changed})


def _destination(
    tags: Tags,
    settings: MeshSettings,
    offers: Mapping[str, Mapping[str, tuple[Offer, ...]]],
    issued: Mapping[str, bool],
    joining: frozenset[str],
) -> Destination:
    of_proxies = offers.get(dict(tags)[SERVICE_TAG], {})
    # Offers that are out of service count too: a service does not change its protocol while it is unwell.
    protocol = common_protocol(offer.protocol for some in of_proxies.values() for offer in some)
    match settings.tls:
        case TlsMode.OFF:
            secure = False
        case TlsMode.STRICT:
            secure = True
        case TlsMode.PERMISSIVE:
            serving = of_proxies.keys() - joining
            secure = bool(serving) and all(issued.get(name, False) for name in serving)
    return Destination(protocol, secure)


def common_protocol(protocols: Iterable[str]) -> str:
    """What all of them speak (spec/xds.md §4.3): ``grpc`` with ``http2`` is ``http2``, other mixes are ``tcp``."""
    common: str | None = None
    for protocol in protocols:
        if common is None or common == protocol:
            common = protocol
        else:
            common = _TOGETHER.get(frozenset({common, protocol}), "tcp")
            if common == "tcp":
                break
    return common or "tcp"


def _endpoints(
    base: Layer,
    moved: set[Tags],
    dropped: set[Tags],
    offers: Mapping[str, Mapping[str, tuple[Offer, ...]]],
    joining: frozenset[str],
) -> Layer:
    """The assignments after a change; the same layer when none changed."""
    present = base.by_name(names.ENDPOINT)
    changed: dict[str, XdsResource] = {}
    for tags in moved:
        serving = (offer.endpoint for offer in _serving(tags, offers, joining))
        made = assignment(names.outbound_cluster(tags), serving)
        if present.get(made.name) != made:
            changed[made.name] = made
    gone = {names.outbound_cluster(tags) for tags in dropped} & present.keys()
    if not changed and not gone:
        return base
    merged = {name: resource for name, resource in present.items() if name not in gone}
    merged.update(changed)
    return Layer({names.ENDPOINT: merged})


def _serving(tags: Tags, offers: Mapping[str, Mapping[str, tuple[Offer, ...]]], joining: frozenset[str]) -> list[Offer]:
    asked = dict(tags)
    found = [
        offer
        for name, some in offers.get(asked[SERVICE_TAG], {}).items()
        if name not in joining
        for offer in some
        if offer.ready and (len(asked) == 1 or asked.items() <= offer.tags.items())
    ]
    # By content to the last: the order in which proxies joined must not show.
    return sorted(found, key=lambda offer: (offer.endpoint.address, offer.endpoint.port, offer.endpoint.frame))
