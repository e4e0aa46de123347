"""The rules of a Dataplane. Paths and texts are Kuma's, slips included (spec/resources.md §5)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Final

from kuma.core.errors import Violation
from kuma.core.model.labels import PROTOCOL_TAG, SERVICE_TAG, WORKLOAD_LABEL
from kuma.core.model.resource import Resource
from kuma.core.resources import _rules, prometheus
from kuma.core.resources.dataplane.facts import PROTOCOLS, inbound_endpoint
from kuma.core.resources.dataplane.spec import (
    Dataplane,
    Gateway,
    GatewayType,
    Inbound,
    Listener,
    ListenerType,
    Networking,
    Outbound,
    OutboundBackendRef,
    Probes,
    ReachableBackend,
    ServiceProbe,
)
from kuma.core.units import one_spelling

BACKEND_KINDS: Final = ("MeshExternalService", "MeshMultiZoneService", "MeshService")

_NAMES_OF_THE_PROXY: Final = re.compile(
    r"(localhost|kuma|meshaccesslog):.*|ads_cluster|system_ads|(system_)?access_log_sink"
)
"""Names of Envoy clusters of its own: an outbound to a service of such a name would lead there, or be refused."""
_PROTOCOL_HINT: Final = "Allowed values: grpc, http, http2, kafka, tcp"


def validate(resource: Resource[Dataplane]) -> Iterator[Violation]:
    dataplane = resource.spec
    workload = resource.meta.labels.get(WORKLOAD_LABEL)
    if workload is not None and not _rules.is_rfc1035(workload):
        yield Violation(f'labels["{WORKLOAD_LABEL}"]', _rules.RFC1035_TEXT)
    net = dataplane.networking
    if net is None:
        yield Violation("networking", "must be defined")
    else:
        yield from _gateway_exclusions(dataplane, net)
        yield from _networking(dataplane, net)
    if dataplane.probes is not None:
        yield from _probes(dataplane.probes)
    if dataplane.metrics is not None:
        yield from prometheus.validate_backend(dataplane.metrics, "metrics")


def _gateway_exclusions(dataplane: Dataplane, net: Networking) -> Iterator[Violation]:
    """What a gateway does not have; whatever is excluded is not looked at any further."""
    if net.gateway is None:
        return
    builtin = net.gateway.type is GatewayType.BUILTIN
    kind = "builtin" if builtin else "delegated"
    excluded = {
        "inbound": bool(net.inbound),
        "outbound": builtin and bool(net.outbound),
        "listeners": bool(net.listeners),
        "probes": builtin and dataplane.probes is not None,
    }
    for field, present in excluded.items():
        if present:
            yield Violation(f"networking.{field}", f"{field} cannot be defined for {kind} gateways")


def _networking(dataplane: Dataplane, net: Networking) -> Iterator[Violation]:
    yield from _rules.host_address("networking.address", net.address)
    if net.advertised_address:
        yield from _rules.host_address("networking.advertisedAddress", net.advertised_address)
    if net.gateway is not None:
        yield from _gateway(net.gateway)
    for index, inbound in enumerate(net.inbound):
        yield from _inbound(inbound, f"networking.inbound[{index}]")
    for index, outbound in enumerate(net.outbound):
        yield from _outbound(outbound, f"networking.outbound[{index}]")
    yield from _admin(net)
    yield from _transparent_proxying(net)
    yield from _listeners(dataplane, net)


def _gateway(gateway: Gateway) -> Iterator[Violation]:
    field = "networking.gateway.tags"
    protocol = gateway.tags.get(PROTOCOL_TAG)
    if protocol is not None and protocol != "tcp":
        yield Violation(
            f'{field}["{PROTOCOL_TAG}"]', f'other values than tcp are not allowed, provided value "{protocol}"'
        )
    yield from _rules.service_tag(field, gateway.tags)
    yield from _rules.tags(field, gateway.tags)


def _inbound(inbound: Inbound, field: str) -> Iterator[Violation]:
    yield from _rules.port(f"{field}.port", inbound.port)
    yield from _rules.optional_port(f"{field}.servicePort", inbound.service_port)
    yield from _rules.optional_ip(f"{field}.serviceAddress", inbound.service_address)
    if (
        inbound.service_address
        and inbound.service_address == inbound.address
        and inbound.service_port in {0, inbound.port}
    ):
        yield Violation(f"{field}.serviceAddress", "serviceAddress and servicePort has to differ from address and port")
    yield from _rules.optional_ip(f"{field}.address", inbound.address)
    tag = inbound.tags.get(PROTOCOL_TAG, "")
    if tag and tag.lower() not in PROTOCOLS:
        yield Violation(
            f'{field}.tags["{PROTOCOL_TAG}"]', f'tag "{PROTOCOL_TAG}" has an invalid value "{tag}". {_PROTOCOL_HINT}'
        )
    if inbound.protocol and inbound.protocol.lower() not in PROTOCOLS:
        yield Violation(f"{field}.protocol", f'has an invalid value "{inbound.protocol}". {_PROTOCOL_HINT}')
    yield from _rules.service_tag(f"{field}.tags", inbound.tags)
    yield from _rules.tags(f"{field}.tags", inbound.tags)
    if inbound.service_probe is not None:
        yield from _service_probe(inbound.service_probe, f"{field}.serviceProbe")


def _service_probe(probe: ServiceProbe, field: str) -> Iterator[Violation]:
    durations = {"interval": probe.interval, "timeout": probe.timeout}
    thresholds = {"unhealthyThreshold": probe.unhealthy_threshold, "healthyThreshold": probe.healthy_threshold}
    wrong = [name for name, value in durations.items() if value is not None and value <= timedelta(0)]
    wrong += [name for name, value in thresholds.items() if value == 0]
    for name in wrong:
        yield Violation(f"{field}.{name}", "must have a positive value")


def _outbound(outbound: Outbound, field: str) -> Iterator[Violation]:
    yield from _rules.port(f"{field}.port", outbound.port)
    yield from _rules.optional_ip(f"{field}.address", outbound.address)
    if outbound.backend_ref is not None:
        if outbound.tags or outbound.service:
            yield Violation(f"{field}.backendRef", "both backendRef and tags/service cannot be defined")
        yield from _backend_ref(outbound.backend_ref, f"{field}.backendRef")
        return
    if not outbound.service and SERVICE_TAG not in outbound.tags:
        yield Violation(f"{field}.tags", f'mandatory tag "{SERVICE_TAG}" is missing')
    yield from _rules.tags(f"{field}.tags", outbound.tags)
    if outbound.service:
        wrong = _rules.tags(field, {SERVICE_TAG: outbound.service})
        yield from (Violation(f"{field}.service", fault.reason) for fault in wrong)
    service = outbound.tags.get(SERVICE_TAG) or outbound.service
    if _NAMES_OF_THE_PROXY.fullmatch(service):
        yield Violation(field, f'"{service}" is a name in the proxy\'s own configuration, a service cannot have it')


def _backend_kind(field: str, kind: str) -> Iterator[Violation]:
    if kind not in BACKEND_KINDS:
        yield Violation(field, f"invalid value. Available values are: {','.join(BACKEND_KINDS)}")


def _backend_ref(ref: OutboundBackendRef, field: str) -> Iterator[Violation]:
    yield from _backend_kind(f"{field}.kind", ref.kind)
    if bool(ref.name) == bool(ref.labels):
        yield Violation(field, "either 'name' or 'labels' should be specified")
    if ref.kind != "MeshExternalService":
        yield from _rules.port(f"{field}.port", ref.port)


def _admin(net: Networking) -> Iterator[Violation]:
    port = net.admin.port if net.admin is not None else 0
    if not port:
        return
    yield from _rules.port("networking.admin.port", port)
    if any(inbound.port == port for inbound in net.inbound):
        yield Violation("networking.admin.port", "must differ from inbound")
    if any(outbound.port == port for outbound in net.outbound):
        yield Violation("networking.admin.port", "must differ from outbound")


def _transparent_proxying(net: Networking) -> Iterator[Violation]:
    proxying = net.transparent_proxying
    if proxying is None:
        return
    field = "networking.transparentProxying"
    yield from _rules.optional_port(f"{field}.redirectPortInbound", proxying.redirect_port_inbound)
    yield from _rules.optional_port(f"{field}.redirectPortOutbound", proxying.redirect_port_outbound)
    refs = proxying.reachable_backends.refs if proxying.reachable_backends is not None else ()
    for index, ref in enumerate(refs):
        # The missing "y" is Kuma's.
        yield from _reachable_backend(ref, f"networking.transparentProxing.reachableBackends.refs[{index}]")


def _reachable_backend(ref: ReachableBackend, field: str) -> Iterator[Violation]:
    yield from _backend_kind(f"{field}.kind", ref.kind)
    if not ref.name and not ref.labels:
        yield Violation(f"{field}.name", "name or labels are required")
    if not ref.name and ref.namespace:
        yield Violation(f"{field}.name", "name is required, when namespace is defined")
    if ref.name and ref.labels:
        yield Violation(f"{field}.labels", "labels cannot be defined when name is specified")


def _listeners(dataplane: Dataplane, net: Networking) -> Iterator[Violation]:
    names = {inbound.name for inbound in net.inbound if inbound.name}
    inbounds = {inbound_endpoint(dataplane, inbound) for inbound in net.inbound}
    taken: dict[tuple[str, int], ListenerType] = {}
    for index, listener in enumerate(net.listeners):
        field = f"networking.listeners[{index}]"
        yield from _listener(listener, field)
        if listener.name and listener.name in names:
            yield Violation(f"{field}.name", f'name "{listener.name}" must be unique across inbounds and listeners')
        names.add(listener.name)
        address = listener.address or net.address
        place, text = (one_spelling(address), listener.port), f"address:port {address}:{listener.port}"
        if any((endpoint.address, endpoint.port) == place for endpoint in inbounds):
            yield Violation(field, f"{text} collides with an inbound listener")
        if place in taken:
            same = taken[place] is listener.type
            reason = "is already used by another listener" if same else "is used by listeners of different types"
            yield Violation(field, f"{text} {reason}")
        taken.setdefault(place, listener.type)


def _listener(listener: Listener, field: str) -> Iterator[Violation]:
    if listener.type is ListenerType.UNSPECIFIED:
        yield Violation(f"{field}.type", "type must be ZoneIngress or ZoneEgress")
    yield from _rules.port(f"{field}.port", listener.port)
    yield from _rules.optional_ip(f"{field}.address", listener.address)


def _probes(probes: Probes) -> Iterator[Violation]:
    yield from _rules.port("probes.port", probes.port)
    for index, endpoint in enumerate(probes.endpoints):
        field = f"probes.endpoints[{index}]"
        yield from _rules.port(f"{field}.inboundPort", endpoint.inbound_port)
        if not _rules.is_url_path(endpoint.inbound_path):
            yield Violation(f"{field}.inboundPath", "should be a valid URL Path")
        if not _rules.is_url_path(endpoint.path):
            yield Violation(f"{field}.path", "should be a valid URL Path")
