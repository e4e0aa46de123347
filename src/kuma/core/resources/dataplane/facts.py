"""What a Dataplane means: its tags, protocols, addresses and health, each decided in one place.

All functions are pure; those that return a Dataplane return the same object when nothing changes, so that a caller can
see by identity whether there is something to store.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, TypeVar

from kuma.core.model.labels import PROTOCOL_TAG, SERVICE_TAG, ZONE_TAG
from kuma.core.model.spec import LegacySpec
from kuma.core.resources.dataplane.spec import (
    Dataplane,
    Gateway,
    GatewayType,
    Health,
    Inbound,
    Listener,
    Networking,
    State,
)
from kuma.core.units import one_spelling

PROTOCOLS: Final = ("http", "http2", "grpc", "tcp", "tls", "kafka", "mysql")
DEFAULT_PROTOCOL: Final = "tcp"

_NOWHERE: Final = Networking()

S = TypeVar("S", bound=LegacySpec)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An address and a port."""

    address: str
    port: int


def networking(dataplane: Dataplane) -> Networking:
    """The networking section; an empty one where none is written."""
    return dataplane.networking or _NOWHERE


def gateway(dataplane: Dataplane) -> Gateway | None:
    return networking(dataplane).gateway


def is_builtin_gateway(dataplane: Dataplane) -> bool:
    found = gateway(dataplane)
    return found is not None and found.type is GatewayType.BUILTIN


def is_delegated_gateway(dataplane: Dataplane) -> bool:
    found = gateway(dataplane)
    return found is not None and found.type is GatewayType.DELEGATED


def inbound_tags(dataplane: Dataplane) -> tuple[Mapping[str, str], ...]:
    """The tags of each inbound, in the order written."""
    return tuple(inbound.tags for inbound in networking(dataplane).inbound)


def all_tag_sets(dataplane: Dataplane) -> tuple[Mapping[str, str], ...]:
    """The tags of each inbound and of the gateway."""
    found = gateway(dataplane)
    return inbound_tags(dataplane) if found is None else (*inbound_tags(dataplane), found.tags)


def service_tags(dataplane: Dataplane) -> tuple[str, ...]:
    """Every service the proxy stands for, sorted, each once."""
    return tuple(sorted({tags[SERVICE_TAG] for tags in all_tag_sets(dataplane) if tags.get(SERVICE_TAG)}))


def protocol_of(inbound: Inbound) -> str:
    """The protocol in lower case: the field, else the tag, else ``tcp``."""
    return (inbound.protocol or inbound.tags.get(PROTOCOL_TAG) or DEFAULT_PROTOCOL).lower()


def section_of(inbound: Inbound) -> str:
    """What ``sectionName`` calls this inbound: its name, else its port."""
    return inbound.name or str(inbound.port)


def listener_section(listener: Listener) -> str:
    """What ``sectionName`` calls this listener: its name, else its port."""
    return listener.name or str(listener.port)


def inbound_endpoint(dataplane: Dataplane, inbound: Inbound) -> Endpoint:
    """Where the proxy listens for this inbound; equal for equal addresses, however they are written."""
    return Endpoint(one_spelling(inbound.address or networking(dataplane).address), inbound.port)


def advertised_endpoint(dataplane: Dataplane, inbound: Inbound) -> Endpoint:
    """Where other proxies reach this inbound."""
    net = networking(dataplane)
    return Endpoint(net.advertised_address or inbound.address or net.address, inbound.port)


def workload_endpoint(dataplane: Dataplane, inbound: Inbound) -> Endpoint:
    """Where the application listens. Nothing written means the proxy's own address (not loopback) and port."""
    return Endpoint(
        inbound.service_address or inbound.address or networking(dataplane).address,
        inbound.service_port or inbound.port,
    )


def is_ready(inbound: Inbound) -> bool:
    """Whether traffic may be sent there."""
    return inbound.state is State.READY and (inbound.health is None or inbound.health.ready)


def is_unready(item: Inbound | Listener) -> bool:
    """Whether it reports trouble. ``Ignored`` does not: it is out of service by intention."""
    health = item.health if isinstance(item, Inbound) else None
    return item.state is State.NOT_READY or (health is not None and not health.ready)


def with_zone_tag(dataplane: Dataplane, zone: str, *, untagged: bool = True) -> Dataplane:
    """
    The same proxy with ``kuma.io/zone`` set on every inbound and on the gateway.

    ``untagged`` False leaves inbounds and gateways without any tag as they are (meshServices mode Exclusive).
    """

    def tagged(tags: Mapping[str, str]) -> Mapping[str, str]:
        if tags.get(ZONE_TAG) == zone or not (tags or untagged):
            return tags
        return {**tags, ZONE_TAG: zone}

    net = networking(dataplane)
    inbounds = tuple(_updated(inbound, tags=tagged(inbound.tags)) for inbound in net.inbound)
    found = net.gateway and _updated(net.gateway, tags=tagged(net.gateway.tags))
    return _with_networking(dataplane, inbound=inbounds, gateway=found)


def without_outbounds(dataplane: Dataplane) -> Dataplane:
    """
    The same proxy but for what it consumes.

    That is most of its size, and most who keep proxies in memory have no use for it.
    """
    return _with_networking(dataplane, outbound=())


def initial_probe_state(dataplane: Dataplane) -> Dataplane:
    """A new proxy whose inbounds are out of service until their first probe succeeds, where they have one."""
    return _with_networking(
        dataplane,
        inbound=tuple(
            inbound
            if inbound.service_probe is None or inbound.state is State.IGNORED
            else _with_ready(inbound, ready=False)
            for inbound in networking(dataplane).inbound
        ),
    )


def with_health(dataplane: Dataplane, ready: Mapping[int, bool]) -> Dataplane:
    """
    The proxy with what its service probes found, by inbound port.

    Inbounds of other ports, and those that are ``Ignored``, stay as they are.
    """
    return _with_networking(dataplane, inbound=tuple(_probed(networking(dataplane).inbound, ready)))


def _probed(inbounds: tuple[Inbound, ...], ready: Mapping[int, bool]) -> Iterator[Inbound]:
    for inbound in inbounds:
        if inbound.port in ready and inbound.state is not State.IGNORED:
            yield _with_ready(inbound, ready=ready[inbound.port])
        else:
            yield inbound


def _with_ready(inbound: Inbound, *, ready: bool) -> Inbound:
    return _updated(inbound, state=State.READY if ready else State.NOT_READY, health=Health(ready=ready))


def _with_networking(dataplane: Dataplane, **changes: object) -> Dataplane:
    if dataplane.networking is None:
        return dataplane
    return _updated(dataplane, networking=_updated(dataplane.networking, **changes))


def _updated(spec: S, **changes: object) -> S:
    if all(getattr(spec, name) == value for name, value in changes.items()):
        return spec
    return spec.model_copy(update=changes)
