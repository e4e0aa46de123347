"""Endpoints of services as bytes: each endpoint is encoded once, an assignment is a join of encoded endpoints.

Building a ClusterLoadAssignment of ten endpoints with messages costs 75 µs, joining encoded endpoints 1.2 µs; a
service that many proxies offer changes often, so the join is what runs on a change (design/performance.md).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from kuma.core.model.labels import SERVICE_TAG, ZONE_TAG
from kuma.core.xds import names
from kuma.core.xds.http import socket_address
from kuma.core.xds.localities import Group, Grouping
from kuma.core.xds.resources import XdsResource, varint
from kuma.envoy_api.envoy.config.core.v3.base_pb2 import Locality, Metadata
from kuma.envoy_api.envoy.config.endpoint.v3.endpoint_components_pb2 import Endpoint as EndpointMessage
from kuma.envoy_api.envoy.config.endpoint.v3.endpoint_components_pb2 import LbEndpoint, LocalityLbEndpoints
from kuma.envoy_api.envoy.config.endpoint.v3.endpoint_pb2 import ClusterLoadAssignment

_FIELD_2: Final = b"\x12"
"""Tag of ClusterLoadAssignment.endpoints and of LocalityLbEndpoints.lb_endpoints: field 2, length-delimited."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One address that offers a service. ``frame`` is the encoded ``lb_endpoints`` field; ``zone`` may be empty."""

    address: str
    port: int
    zone: str
    frame: bytes


def endpoint(address: str, port: int, tags: Mapping[str, str], labels: Mapping[str, str]) -> Endpoint:
    """Encode an endpoint; ``tags`` are the inbound's, ``labels`` the Dataplane's."""
    metadata = Metadata()
    seen = {key: value for key, value in tags.items() if key != SERVICE_TAG}
    for namespace in ("envoy.lb", "envoy.transport_socket_match"):
        fields = metadata.filter_metadata[namespace].fields
        for key, value in seen.items():
            fields[key].string_value = value
    if labels:
        fields = metadata.filter_metadata["io.kuma.labels"].fields
        for key, value in labels.items():
            fields[key].string_value = value
    message = LbEndpoint(endpoint=EndpointMessage(address=socket_address(address, port)), metadata=metadata)
    message.load_balancing_weight.value = 1
    return Endpoint(address, port, tags.get(ZONE_TAG, ""), _framed(message.SerializeToString(deterministic=True)))


def assignment(cluster: str, endpoints: Iterable[Endpoint]) -> XdsResource:
    """
    The endpoints of one cluster, grouped by zone in the order of zone names.

    ``endpoints`` must be sorted by address as text, then port.
    """
    by_zone: dict[str, list[bytes]] = {}
    for one in endpoints:
        by_zone.setdefault(one.zone, []).append(one.frame)
    parts = [ClusterLoadAssignment(cluster_name=cluster).SerializeToString()]
    for zone in sorted(by_zone):
        locality = LocalityLbEndpoints(locality=Locality(zone=zone)) if zone else LocalityLbEndpoints()
        parts.append(_framed(b"".join((locality.SerializeToString(), *by_zone[zone]))))
    return XdsResource(names.ENDPOINT, cluster, b"".join(parts))


def grouped_assignment(cluster: str, grouping: Grouping[Endpoint]) -> XdsResource:
    """The endpoints of one cluster as a policy groups them."""
    assignment = ClusterLoadAssignment(cluster_name=cluster)
    if grouping.overprovisioning is not None:
        assignment.policy.overprovisioning_factor.value = grouping.overprovisioning
    parts = [assignment.SerializeToString(deterministic=True)]
    for group in grouping.groups:
        frames = b"".join(endpoint.frame for endpoint in group.endpoints)
        parts.append(_framed(_locality(group).SerializeToString(deterministic=True) + frames))
    return XdsResource(names.ENDPOINT, cluster, b"".join(parts))


def _locality(group: Group[Endpoint]) -> LocalityLbEndpoints:
    message = LocalityLbEndpoints(priority=group.priority)
    if group.zone or group.sub_zone:
        message.locality.CopyFrom(Locality(zone=group.zone, sub_zone=group.sub_zone))
    if group.weight is not None:
        message.load_balancing_weight.value = group.weight
    return message


def _framed(message: bytes) -> bytes:
    return _FIELD_2 + varint(len(message)) + message
