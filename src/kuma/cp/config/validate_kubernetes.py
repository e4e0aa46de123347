"""What types cannot say about ``runtime.kubernetes``; asked only in the environment ``kubernetes``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Final

from kuma.cp.config.sections.kubernetes import Injector, KubernetesRuntime, Quantities

_QUANTITY: Final = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+|[KMGTPE]i|[numkMGTPE])?")


def kubernetes_faults(runtime: KubernetesRuntime) -> Iterator[str]:
    """Everything wrong with the settings for Kubernetes, in Kuma's words."""
    if not runtime.admission_server.cert_dir:
        yield ".AdmissionServer is not valid: .CertDir should not be empty"
    if runtime.node_taint_controller.enabled and not runtime.node_taint_controller.cni_app:
        yield ".NodeTaintController is not valid: .CniApp has to be set when .Enabled is true"
    if runtime.marshaling_cache_expiration_time < timedelta(0):
        yield ".MarshalingCacheExpirationTime must be positive or equal to 0"
    yield from (f".Injector is not valid: {fault}" for fault in _injector(runtime.injector))


def _injector(injector: Injector) -> Iterator[str]:
    sidecar, init = injector.sidecar_container, injector.init_container
    for name, image in ((".SidecarContainer", sidecar.image), (".InitContainer", init.image)):
        if not image:
            yield f"{name} is not valid: .Image must be non-empty"
    if sidecar.ip_family_mode not in ("", "ipv4", "dualstack"):
        yield ".SidecarContainer is not valid: .IpFamilyMode must be either 'ipv4' or 'dualstack'"
    if sidecar.drain_time <= timedelta(0):
        yield ".SidecarContainer is not valid: .DrainTime must be positive"
    validation = injector.validation_container.resources
    for name, quantities in (
        (".SidecarContainer is not valid: .Resources.Requests", sidecar.resources.requests),
        (".SidecarContainer is not valid: .Resources.Limits", sidecar.resources.limits),
        (".InitContainer is not valid: .Resources.Requests", init.resources.requests),
        (".InitContainer is not valid: .Resources.Limits", init.resources.limits),
        (".ValidationContainer is not valid: .Resources.Requests", validation.requests),
        (".ValidationContainer is not valid: .Resources.Limits", validation.limits),
    ):
        yield from (f"{name}{fault}" for fault in _quantities(quantities))


def _quantities(quantities: Quantities) -> Iterator[str]:
    for name, text in (("CPU", quantities.cpu), ("Memory", quantities.memory)):
        if not _QUANTITY.fullmatch(text):
            yield f".{name} is not valid: {text!r} is not a Kubernetes quantity such as 50m or 64Mi"
