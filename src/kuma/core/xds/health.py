"""Service probes on Universal, by Envoy's health discovery service (spec/xds.md §10).

The control plane tells a proxy what to probe (its own admin interface, and the application's port of each inbound with
a ``serviceProbe``); the proxy reports what it found. A proxy whose admin interface is unwell or draining takes no
traffic on any inbound.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from kuma.core.resources.dataplane import facts
from kuma.core.resources.dataplane.spec import Dataplane, ServiceProbe
from kuma.core.snapshot.proxy import RESERVED_INBOUND_PORT
from kuma.core.xds import http, names
from kuma.core.xds.view import AdminView
from kuma.envoy_api.envoy.config.core.v3.address_pb2 import Address, Pipe
from kuma.envoy_api.envoy.config.core.v3.health_check_pb2 import HEALTHY, HealthCheck
from kuma.envoy_api.envoy.config.endpoint.v3.endpoint_components_pb2 import Endpoint
from kuma.envoy_api.envoy.service.health.v3.hds_pb2 import (
    ClusterHealthCheck,
    EndpointHealthResponse,
    HealthCheckSpecifier,
    LocalityEndpoints,
)


@dataclass(frozen=True, slots=True)
class ProbeDefaults:
    """``dpServer.hds``: how often a proxy reports, and how it probes where a ``serviceProbe`` says nothing."""

    report_interval: timedelta = timedelta(seconds=5)
    interval: timedelta = timedelta(seconds=1)
    timeout: timedelta = timedelta(seconds=2)
    no_traffic_interval: timedelta = timedelta(seconds=1)
    healthy_threshold: int = 1
    unhealthy_threshold: int = 1


def specifier(dataplane: Dataplane, admin: AdminView | None, defaults: ProbeDefaults) -> HealthCheckSpecifier:
    """What a proxy has to probe."""
    result = HealthCheckSpecifier()
    result.interval.FromTimedelta(defaults.report_interval)
    if admin is not None:
        check = _check(None, defaults)
        check.http_health_check.path = "/ready"
        if admin.socket_path:
            address = Address(pipe=Pipe(path=admin.socket_path))
        else:
            address = http.socket_address(admin.admin_address, admin.port)
        result.cluster_health_checks.append(_cluster(names.ADMIN, check, address))
    for inbound in facts.networking(dataplane).inbound:
        if inbound.service_probe is None or inbound.port == RESERVED_INBOUND_PORT:
            continue
        workload = facts.workload_endpoint(dataplane, inbound)
        check = _check(inbound.service_probe, defaults)
        check.tcp_health_check.SetInParent()
        address = http.socket_address(workload.address, workload.port)
        result.cluster_health_checks.append(_cluster(names.local_cluster(workload.port), check, address))
    return result


def admin_is_well(report: EndpointHealthResponse) -> bool:
    """Whether a report finds nothing wrong with the proxy itself; one without an admin interface counts as well."""
    return _by_cluster(report).get(names.ADMIN, True)


def found_health(dataplane: Dataplane, report: EndpointHealthResponse) -> dict[int, bool]:
    """
    Which inbounds (by port) a report says to be well or not; those it does not speak of are left out.

    An inbound without a probe is as well as the proxy itself: it comes back when the proxy does, and is left out
    while nothing is wrong with it.
    """
    healthy = _by_cluster(report)
    inbounds = facts.networking(dataplane).inbound
    if not healthy.get(names.ADMIN, True):
        return {inbound.port: False for inbound in inbounds}
    found: dict[int, bool] = {}
    for inbound in inbounds:
        cluster = names.local_cluster(facts.workload_endpoint(dataplane, inbound).port)
        if inbound.service_probe is not None:
            if cluster in healthy:
                found[inbound.port] = healthy[cluster]
        elif names.ADMIN in healthy and facts.is_unready(inbound):
            found[inbound.port] = True
    return found


def _by_cluster(report: EndpointHealthResponse) -> dict[str, bool]:
    return {
        cluster.cluster_name: all(
            endpoint.health_status == HEALTHY
            for locality in cluster.locality_endpoints_health
            for endpoint in locality.endpoints_health
        )
        for cluster in report.cluster_endpoints_health
    }


def _check(probe: ServiceProbe | None, defaults: ProbeDefaults) -> HealthCheck:
    check = HealthCheck()
    check.interval.FromTimedelta((probe and probe.interval) or defaults.interval)
    check.timeout.FromTimedelta((probe and probe.timeout) or defaults.timeout)
    check.no_traffic_interval.FromTimedelta(defaults.no_traffic_interval)
    check.healthy_threshold.value = (probe and probe.healthy_threshold) or defaults.healthy_threshold
    check.unhealthy_threshold.value = (probe and probe.unhealthy_threshold) or defaults.unhealthy_threshold
    return check


def _cluster(name: str, check: HealthCheck, address: Address) -> ClusterHealthCheck:
    endpoints = LocalityEndpoints(endpoints=[Endpoint(address=address)])
    return ClusterHealthCheck(cluster_name=name, health_checks=[check], locality_endpoints=[endpoints])
