"""Traffic of the mesh must not reach the control plane's own API from this host: its caller would be the administrator.

A proxy or kuma-dp that runs beside kuma-cp connects from loopback, on behalf of whoever speaks to it. So nothing that a
user writes may send it to the ports on which callers from this host are administrators. An address by name counts as
loopback: nobody knows what it will stand for.
"""

from __future__ import annotations

from collections.abc import Iterator

from kuma.core.errors import InvalidResource, Violation
from kuma.core.policies.meshaccesslog.spec import Backend, MeshAccessLog
from kuma.core.policies.meshaccesslog.validate import host_and_port
from kuma.core.resources.dataplane import facts
from kuma.core.resources.dataplane.spec import Dataplane
from kuma.core.units import ip_of
from kuma.cp.resources.contract import KindRules, Prepared, Setting, Wanted


def leads_to_own_api(setting: Setting, address: str, port: int | None) -> bool:
    """Whether a proxy on this host would reach the API there, from loopback."""
    if port not in setting.admin_ports:
        return False
    ip = ip_of(address)
    return ip is None or ip.is_loopback or ip.is_unspecified


def dataplane_violations(setting: Setting, dataplane: Dataplane) -> Iterator[Violation]:
    """The inbounds that lead there, be it by their proxy or for its peers."""
    for index, inbound in enumerate(facts.networking(dataplane).inbound):
        own = facts.workload_endpoint(dataplane, inbound)
        theirs = (facts.inbound_endpoint(dataplane, inbound), facts.advertised_endpoint(dataplane, inbound))
        where = f"networking.inbound[{index}]"
        if leads_to_own_api(setting, own.address, own.port):
            yield Violation(f"{where}.servicePort", _reason(own.port))
        elif any(leads_to_own_api(setting, one.address, one.port) for one in theirs):
            yield Violation(f"{where}.port", _reason(inbound.port))


async def _prepare_access_log(setting: Setting, wanted: Wanted) -> Prepared:
    violations = tuple(_access_log_violations(setting, wanted.resource.spec))
    if violations:
        raise InvalidResource(violations)
    return Prepared(wanted.resource.spec)


def _access_log_violations(setting: Setting, spec: MeshAccessLog) -> Iterator[Violation]:
    confs = {
        "to": [item.default for item in spec.to],
        "from": [item.default for item in spec.from_],
        "rules": [rule.default for rule in spec.rules],
    }
    for part, given in confs.items():
        for index, conf in enumerate(given):
            for number, backend in enumerate(conf.backends or ()):
                yield from _backend_violations(setting, backend, f"spec.{part}[{index}].default.backends[{number}]")


def _backend_violations(setting: Setting, backend: Backend, where: str) -> Iterator[Violation]:
    places = {
        "tcp.address": backend.tcp.address if backend.tcp else "",
        "openTelemetry.endpoint": backend.open_telemetry.endpoint if backend.open_telemetry else "",
    }
    for field, text in places.items():
        found = host_and_port(text)
        if found is not None and leads_to_own_api(setting, *found):
            yield Violation(f"{where}.{field}", _reason(found[1]))


def _reason(port: int | None) -> str:
    return (
        f"leads to port {port} of loopback, where the API of the control plane takes callers from its own host for "
        "administrators; use another port, or start kuma-cp with KUMA_API_SERVER_AUTHN_LOCALHOST_IS_ADMIN=false"
    )


ACCESS_LOG_RULES = KindRules(prepare=_prepare_access_log)
