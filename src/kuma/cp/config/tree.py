"""The whole settings tree of kuma-cp, in the order in which ``GET /config`` prints it."""

from __future__ import annotations

from typing import Final

from kuma.cp.config.fields import Section, section, setting
from kuma.cp.config.sections.access import Access
from kuma.cp.config.sections.api_server import ApiServer
from kuma.cp.config.sections.dp_server import BootstrapServer, DpServer, Proxy, XdsServer
from kuma.cp.config.sections.general import Defaults, EventBus, General, InterCp, Reports
from kuma.cp.config.sections.mesh import CoreResources, DnsServer, Experimental, Ipam, MeshServices, Policies
from kuma.cp.config.sections.multizone import Multizone
from kuma.cp.config.sections.observability import Diagnostics, Metrics, MonitoringAssignmentServer, Tracing
from kuma.cp.config.sections.runtime import Runtime
from kuma.cp.config.sections.store import Store

STANDALONE: Final = "standalone"
ZONE: Final = "zone"
GLOBAL: Final = "global"
UNIVERSAL: Final = "universal"
KUBERNETES: Final = "kubernetes"


class Config(Section):
    """Every setting of kuma-cp. Built by ``kuma.cp.config.load``; never changed afterwards."""

    general: General = section(General)
    environment: str = setting(UNIVERSAL)
    mode: str = setting(STANDALONE)
    store: Store = section(Store)
    bootstrap_server: BootstrapServer = section(BootstrapServer)
    xds_server: XdsServer = section(XdsServer)
    monitoring_assignment_server: MonitoringAssignmentServer = section(MonitoringAssignmentServer)
    api_server: ApiServer = section(ApiServer)
    runtime: Runtime = section(Runtime)
    defaults: Defaults = section(Defaults)
    metrics: Metrics = section(Metrics)
    reports: Reports = section(Reports)
    multizone: Multizone = section(Multizone)
    dns_server: DnsServer = section(DnsServer)
    diagnostics: Diagnostics = section(Diagnostics)
    dp_server: DpServer = section(DpServer)
    access: Access = section(Access)
    experimental: Experimental = section(Experimental)
    proxy: Proxy = section(Proxy)
    inter_cp: InterCp = section(InterCp)
    tracing: Tracing = section(Tracing)
    event_bus: EventBus = section(EventBus)
    policies: Policies = section(Policies)
    core_resources: CoreResources = section(CoreResources)
    ipam: Ipam = section(Ipam)
    mesh_service: MeshServices = section(MeshServices)

    @property
    def is_standalone(self) -> bool:
        """Whether no global control plane stands above this one; ``zone`` is Kuma's word for the same thing."""
        return self.mode in (STANDALONE, ZONE)

    @property
    def on_kubernetes(self) -> bool:
        """Whether the control plane runs in a cluster."""
        return self.environment == KUBERNETES
