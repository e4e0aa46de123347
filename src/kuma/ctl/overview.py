"""The row of a data plane proxy in ``kumactl inspect dataplanes``, computed from its overview."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from kuma.ctl.kinds import text_of
from kuma.ctl.output import age, mapping, mappings, parse_time, tags_text

COLUMNS: Final = (
    "MESH", "NAME", "TAGS", "STATUS", "LAST CONNECTED AGO", "LAST UPDATED AGO", "TOTAL UPDATES", "TOTAL ERRORS",
    "CERT REGENERATED AGO", "CERT EXPIRATION", "CERT REGENERATIONS", "CERT BACKEND", "SUPPORTED CERT BACKENDS",
    "KUMA-DP VERSION", "ENVOY VERSION", "DEPENDENCIES VERSIONS", "NOTES",
)  # fmt: skip
_NONE: Final = "-"


def row(overview: Mapping[str, Any], now: datetime) -> list[str]:
    """One proxy; what the control plane leaves out is shown as unknown, never guessed."""
    dataplane = mapping(overview.get("dataplane"))
    insight = mapping(overview.get("dataplaneInsight"))
    subscriptions = mappings(insight.get("subscriptions"))
    last = max(subscriptions, key=_connected, default={})
    version = mapping(last.get("version"))
    dependencies = mapping(version.get("dependencies"))
    return [
        text_of(overview, "mesh"),
        text_of(overview, "name"),
        tags_text(dataplane),
        _status(dataplane, online=any(_is_open(subscription) for subscription in subscriptions)),
        age(last.get("connectTime"), now),
        age(mapping(last.get("status")).get("lastUpdateTime"), now),
        str(sum(_total(subscription, "responsesSent") for subscription in subscriptions)),
        str(sum(_total(subscription, "responsesRejected") for subscription in subscriptions)),
        *_certificate(insight, now),
        text_of(mapping(version.get("kumaDp")), "version") or _NONE,
        text_of(mapping(version.get("envoy")), "version") or _NONE,
        ", ".join(f"{name}: {dependencies[name]}" for name in sorted(dependencies)) or _NONE,
        ";".join(note for note in _notes(dataplane) if note),
    ]


def _connected(subscription: Mapping[str, Any]) -> datetime:
    return parse_time(subscription.get("connectTime")) or datetime.min.replace(tzinfo=UTC)


def _is_open(subscription: Mapping[str, Any]) -> bool:
    return bool(subscription.get("connectTime")) and not subscription.get("disconnectTime")


def _total(subscription: Mapping[str, Any], counter: str) -> int:
    """Counters are 64 bit, which protobuf's JSON writes as text."""
    value = str(mapping(mapping(subscription.get("status")).get("total")).get(counter, 0))
    return int(value) if value.isascii() and value.isdigit() else 0


def _status(dataplane: Mapping[str, Any], *, online: bool) -> str:
    if not online:
        return "Offline"
    if mapping(dataplane.get("networking")).get("gateway"):
        return "Online"
    ready = [not note for note in _notes(dataplane)]
    if all(ready):
        return "Online"
    return "Partially degraded" if any(ready) else "Offline"


def _notes(dataplane: Mapping[str, Any]) -> Iterator[str]:
    """For each inbound and listener what is to be noted about it; empty if it is ready."""
    networking = mapping(dataplane.get("networking"))
    for inbound in mappings(networking.get("inbound")):
        service = mapping(inbound.get("tags")).get("kuma.io/service", "")
        # protobuf's JSON leaves out false: health without ready is not ready
        ready = inbound.get("state") != "NotReady" and ("health" not in inbound or _says_ready(inbound))
        yield "" if ready else f"inbound[port={inbound.get('port', 0)},svc={service}] is not ready"
    for listener in mappings(networking.get("listeners")):
        ready = listener.get("state") != "NotReady"
        words = f"port={listener.get('port', 0)},type={listener.get('type', '')}"
        yield "" if ready else f"listener[{words}] is not ready"


def _says_ready(inbound: Mapping[str, Any]) -> bool:
    return mapping(inbound.get("health")).get("ready") is True


def _certificate(insight: Mapping[str, Any], now: datetime) -> list[str]:
    mtls = mapping(insight.get("mTLS"))
    expires = parse_time(mtls.get("certificateExpirationTime"))
    supported = mtls.get("supportedBackends")
    return [
        age(mtls.get("lastCertificateRegeneration"), now),
        expires.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S") if expires else _NONE,
        str(mtls.get("certificateRegenerations", 0)),
        (text_of(mtls, "issuedBackend") or "unknown") if mtls else _NONE,
        ",".join(str(name) for name in supported) if isinstance(supported, list) and supported else _NONE,
    ]
