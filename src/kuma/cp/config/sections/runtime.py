"""What depends on where the control plane runs: ``runtime``."""

from __future__ import annotations

from datetime import timedelta

from kuma.cp.config.fields import Section, section, setting
from kuma.cp.config.sections.kubernetes import KubernetesRuntime


class Spire(Section):
    """``runtime.universal.spire``."""

    socket_path: str = setting("/tmp/spire-agent/public/api.sock")  # noqa: S108 - Kuma's default


class Workload(Section):
    """``runtime.universal.workload``; an interval of 0 disables generation."""

    generation_interval: timedelta = setting(timedelta(seconds=2))


class UniversalRuntime(Section):
    """``runtime.universal``."""

    dataplane_cleanup_age: timedelta = setting(timedelta(hours=72))
    zone_resource_cleanup_age: timedelta = setting(timedelta(hours=72), inert="zone proxies are not built yet")
    vip_refresh_interval: timedelta = setting(
        timedelta(milliseconds=500), inert="addresses of services are not built yet"
    )
    spire: Spire = section(Spire, inert="identities by SPIRE are not built yet")
    workload: Workload = section(Workload, inert="Workload resources are not built yet")


class Runtime(Section):
    """``runtime``."""

    kubernetes: KubernetesRuntime = section(KubernetesRuntime)
    universal: UniversalRuntime = section(UniversalRuntime)
