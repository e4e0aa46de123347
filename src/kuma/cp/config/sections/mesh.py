"""What the mesh is made of: enabled kinds, addresses, names, generated services, experiments."""

from __future__ import annotations

from datetime import timedelta
from functools import partial

from kuma.cp.config.fields import Port, Section, section, setting

_NO_GLOBAL = "this control plane has no global one above it"

POLICIES = (
    "meshaccesslogs",
    "meshcircuitbreakers",
    "meshfaultinjections",
    "meshhealthchecks",
    "meshhttproutes",
    "meshloadbalancingstrategies",
    "meshmetrics",
    "meshpassthroughs",
    "meshproxypatches",
    "meshratelimits",
    "meshretries",
    "meshtcproutes",
    "meshtimeouts",
    "meshtlses",
    "meshtraces",
    "meshtrafficpermissions",
)
CORE_RESOURCES = (
    "hostnamegenerators",
    "meshexternalservices",
    "meshidentities",
    "meshmultizoneservices",
    "meshopentelemetrybackends",
    "meshservices",
    "meshtrusts",
    "meshzoneaddresses",
    "workloads",
)
INTERNAL_CIDRS = (
    "10.0.0.0/8",
    "192.168.0.0/16",
    "172.16.0.0/12",
    "fc00::/7",
    "fd00::/8",
    "127.0.0.1/32",
    "::1/128",
)


class Policies(Section):
    """``policies``."""

    plugin_policies_enabled: tuple[str, ...] = setting(
        POLICIES, env="KUMA_PLUGIN_POLICIES_ENABLED", inert="every policy that is built is enabled"
    )


class StatusIntervals(Section):
    """``coreResources.status``."""

    mesh_multi_zone_service_interval: timedelta = setting(timedelta(seconds=5))
    mesh_service_interval: timedelta = setting(timedelta(seconds=5))
    mesh_identity_interval: timedelta = setting(timedelta(seconds=5))
    workload_interval: timedelta = setting(timedelta(seconds=5))
    mesh_open_telemetry_backend_interval: timedelta = setting(timedelta(seconds=5))


class CoreResources(Section):
    """``coreResources``."""

    enabled: tuple[str, ...] = setting(CORE_RESOURCES)
    status: StatusIntervals = section(StatusIntervals, inert="these kinds are not built yet")


class AddressPool(Section):
    """A range that addresses of one kind of service are taken from."""

    cidr: str = setting("")


class Ipam(Section):
    """``ipam``."""

    mesh_service: AddressPool = section(
        partial(AddressPool, cidr="241.0.0.0/8"), inert="addresses of services are not built yet"
    )
    mesh_external_service: AddressPool = section(
        partial(AddressPool, cidr="242.0.0.0/8"), inert="addresses of services are not built yet"
    )
    mesh_multi_zone_service: AddressPool = section(
        partial(AddressPool, cidr="243.0.0.0/8"), inert="addresses of services are not built yet"
    )
    allocation_interval: timedelta = setting(timedelta(seconds=5), inert="addresses of services are not built yet")
    known_internal_cidrs: tuple[str, ...] = setting(INTERNAL_CIDRS, wire="knownInternalCIDRs")


class LabelPropagation(Section):
    """``meshService.labelPropagation``."""

    enabled: bool = setting(False)
    allowed_label_keys: tuple[str, ...] = setting(())


class MeshServices(Section):
    """``meshService``; a generation interval of 0 disables generation."""

    generation_interval: timedelta = setting(timedelta(seconds=2), inert="MeshService resources are not built yet")
    deletion_grace_period: timedelta = setting(timedelta(hours=1), inert="MeshService resources are not built yet")
    label_propagation: LabelPropagation = section(LabelPropagation, inert="MeshService resources are not built yet")


class DnsServer(Section):
    """``dnsServer``."""

    domain: str = setting("mesh", inert="DNS is not built yet")
    cidr: str = setting("240.0.0.0/4", wire="CIDR", inert="DNS is not built yet")
    service_vip_enabled: bool = setting(True, inert="DNS is not built yet")
    service_vip_port: Port = setting(80, inert="DNS is not built yet")


class KdsEventBasedWatchdog(Section):
    """``experimental.kdsEventBasedWatchdog``."""

    enabled: bool = setting(False)
    flush_interval: timedelta = setting(timedelta(seconds=5))
    full_resync_interval: timedelta = setting(timedelta(minutes=1))
    delay_full_resync: bool = setting(False)


class Experimental(Section):
    """``experimental``; delta xDS is on, unlike Kuma."""

    kube_outbounds_as_vips: bool = setting(True, wire="kubeOutboundsAsVIPs", inert="Kubernetes is not built yet")
    use_tag_first_virtual_outbound_model: bool = setting(False, inert="addresses of services are kept in one form")
    ingress_tag_filters: tuple[str, ...] = setting((), inert="there is no zone ingress")
    kds_event_based_watchdog: KdsEventBasedWatchdog = section(KdsEventBasedWatchdog, inert=_NO_GLOBAL)
    auto_reachable_services: bool = setting(False, inert="reachability by permission is not built yet")
    sidecar_containers: bool = setting(True, inert="Kubernetes is not built yet")
    delta_xds: bool = setting(True)
    inbound_tags_disabled: bool = setting(False, inert="MeshService resources are not built yet")
    expose_zone_proxy_metrics: bool = setting(False, inert="zone proxies are not built yet")
