"""Dataplanes: what the control plane adds to a proxy, and what its probes found about it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from kuma.core.errors import InvalidResource
from kuma.core.model.labels import PROXY_TYPE_LABEL
from kuma.core.resources.dataplane import facts
from kuma.core.resources.dataplane.spec import Dataplane, Inbound, ListenerType, State
from kuma.core.resources.mesh import membership
from kuma.core.resources.mesh.spec import Mesh, MeshServicesMode
from kuma.cp.resources.contract import KindRules, Prepared, Setting, Wanted
from kuma.cp.resources.own_api import dataplane_violations
from kuma.cp.resources.stored import read

_LISTENER_LABELS: Final = {
    ListenerType.ZONE_INGRESS: "kuma.io/listener-zoneingress",
    ListenerType.ZONE_EGRESS: "kuma.io/listener-zoneegress",
}


async def prepare(setting: Setting, wanted: Wanted) -> Prepared:
    """Tag the proxy with its zone, keep what probes found, and see whether it may be so and its mesh takes it."""
    mesh: Mesh | None = read(wanted.mesh).spec if wanted.mesh else None
    exclusive = mesh is not None and mesh.mesh_services is not None and (
        mesh.mesh_services.mode is MeshServicesMode.EXCLUSIVE
    )  # fmt: skip
    dataplane = facts.with_zone_tag(wanted.resource.spec, setting.zone, untagged=not exclusive)
    refused = tuple(dataplane_violations(setting, dataplane))
    if mesh is not None:
        refused += tuple(membership.refusals(wanted.resource.meta.mesh, mesh, dataplane))
    if refused:
        raise InvalidResource(refused)
    stored = wanted.stored.spec if wanted.stored else None
    return Prepared(with_probe_results(dataplane, stored))


def with_probe_results(dataplane: Dataplane, stored: Dataplane | None) -> Dataplane:
    """
    The proxy with what probes found so far of its probed inbounds, by port.

    A port that was not there waits for its first probe; ``Ignored`` is the user's word and stays, also when taken back.
    """
    known = {inbound.port: inbound for inbound in facts.networking(stored).inbound} if stored else {}
    net = dataplane.networking
    if net is None or not any(inbound.service_probe for inbound in net.inbound):
        return dataplane
    waiting = facts.networking(facts.initial_probe_state(dataplane)).inbound
    inbounds = tuple(_kept(inbound, known.get(inbound.port)) for inbound in waiting)
    return dataplane.model_copy(update={"networking": net.model_copy(update={"inbound": inbounds})})


def _kept(inbound: Inbound, known: Inbound | None) -> Inbound:
    settled = inbound.service_probe is None or inbound.state is State.IGNORED
    if settled or known is None or known.state is State.IGNORED:
        return inbound
    return inbound.model_copy(update={"state": known.state, "health": known.health})


def users_part(dataplane: Dataplane) -> object:
    """The proxy without what probes find about it."""
    return facts.initial_probe_state(dataplane)


def computed_labels(dataplane: Dataplane) -> Mapping[str, str]:
    """Labels by which policies tell proxies apart."""
    labels = {PROXY_TYPE_LABEL: "gateway" if facts.is_builtin_gateway(dataplane) else "sidecar"}
    for listener in facts.networking(dataplane).listeners:
        if listener.type in _LISTENER_LABELS:
            labels[_LISTENER_LABELS[listener.type]] = "enabled"
    return labels


RULES: Final = KindRules(prepare=prepare, users_part=users_part, labels=computed_labels)
