"""One Dataplane as the mesh sees it: what it offers, what it consumes, what policies can ask about it."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

from kuma.core.model.labels import SERVICE_TAG
from kuma.core.model.resource import Resource
from kuma.core.policies._kit.match import InboundFacts, ProxyFacts
from kuma.core.resources.dataplane import facts
from kuma.core.resources.dataplane.spec import Dataplane
from kuma.core.resources.dataplane.spec import Outbound as WrittenOutbound
from kuma.core.units import one_spelling
from kuma.core.xds.endpoints import Endpoint, endpoint
from kuma.core.xds.view import Tags

DEFAULT_OUTBOUND_ADDRESS = "127.0.0.1"
RESERVED_INBOUND_PORT = 49151
"""Stands for "no service"; such an inbound gets no listener and no endpoint."""


@dataclass(frozen=True, slots=True)
class Outbound:
    """An address on which the application reaches a service."""

    address: str
    port: int
    tags: Tags


@dataclass(frozen=True, slots=True)
class Offer:
    """An inbound as other proxies see it."""

    tags: Mapping[str, str]
    protocol: str
    ready: bool
    endpoint: Endpoint

    @property
    def service(self) -> str:
        """The service it belongs to, empty for none."""
        return self.tags.get(SERVICE_TAG, "")


@dataclass(frozen=True, slots=True, eq=False)
class Proxy:
    """
    A Dataplane with everything that is derived from it alone.

    ``outbounds`` is one object for equal lists; ``resource`` has none, because its own would be one for each proxy.
    """

    resource: Resource[Dataplane]
    facts: ProxyFacts
    outbounds: tuple[Outbound, ...]
    offers: tuple[Offer, ...]

    @property
    def name(self) -> str:
        """The Dataplane's name."""
        return self.resource.meta.name


@lru_cache(maxsize=4096)
def _interned(outbounds: tuple[Outbound, ...]) -> tuple[Outbound, ...]:
    return outbounds


@lru_cache(maxsize=8192)
def _outbound(address: str, port: int, service: str, written: Tags) -> Outbound | None:
    """What an outbound asks for; None for one that names no service by tags. Most proxies have what others have."""
    tags = {SERVICE_TAG: service} | dict(written)
    if not tags[SERVICE_TAG]:
        return None
    return Outbound(one_spelling(address or DEFAULT_OUTBOUND_ADDRESS), port, tuple(sorted(tags.items())))


def _outbounds(written: Iterable[WrittenOutbound], own: Container[tuple[str, int]]) -> Iterator[Outbound]:
    for one in written:
        made = _outbound(one.address, one.port, one.service, tuple(one.tags.items()))
        # A proxy cannot listen twice: its own inbound wins.
        if made is not None and (made.address, made.port) not in own:
            yield made


def proxy_of(resource: Resource[Dataplane]) -> Proxy:
    """Derive what the mesh needs to know of a Dataplane."""
    spec = resource.spec
    net = facts.networking(spec)
    listens = (facts.inbound_endpoint(spec, inbound) for inbound in net.inbound)
    own = {(where.address, where.port) for where in listens}
    offers = tuple(
        Offer(
            inbound.tags,
            facts.protocol_of(inbound),
            facts.is_ready(inbound),
            endpoint(where.address, where.port, inbound.tags, resource.meta.labels),
        )
        for inbound in net.inbound
        if inbound.port != RESERVED_INBOUND_PORT
        for where in (facts.advertised_endpoint(spec, inbound),)
    )
    gateway = facts.gateway(spec)
    return Proxy(
        replace(resource, spec=facts.without_outbounds(spec)),
        ProxyFacts(
            name=resource.meta.name,
            labels=resource.meta.labels,
            inbounds=tuple(InboundFacts(facts.section_of(inbound), inbound.tags) for inbound in net.inbound),
            gateway="" if gateway is None else gateway.type.value,
            gateway_tags={} if gateway is None else gateway.tags,
        ),
        _interned(tuple(_outbounds(net.outbound, own))),
        offers,
    )
