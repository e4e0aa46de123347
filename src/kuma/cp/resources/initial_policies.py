"""The policies a new mesh starts with (spec/api-server.md §8). Kuma's names and values: users know and replace them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from kuma.core.model.codec import decode_json, encode_spec
from kuma.core.model.kinds import BY_NAME
from kuma.core.model.resource import Key
from kuma.cp.resources import labels
from kuma.cp.store.port import Put

ALL: Final = "*"


@dataclass(frozen=True, slots=True)
class _Initial:
    prefix: str
    kind: str
    spec: Mapping[str, Any]


def _everyone(default: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{"targetRef": {"kind": "Mesh"}, "default": default}]


def _timeouts(proxy_type: str, from_: Mapping[str, Any], to: Mapping[str, Any]) -> Mapping[str, Any]:
    return {
        "targetRef": {"kind": "Mesh", "proxyTypes": [proxy_type]},
        "from": _everyone(from_),
        "to": _everyone(to),
    }


_RETRIES: Final = {
    "numRetries": 5,
    "perTryTimeout": "16s",
    "backOff": {"baseInterval": "25ms", "maxInterval": "250ms"},
}

_INITIAL: Final = (
    _Initial(
        "mesh-timeout-all",
        "MeshTimeout",
        _timeouts(
            "Sidecar",
            from_={
                "connectionTimeout": "10s",
                "idleTimeout": "2h0m0s",
                "http": {"requestTimeout": "0s", "streamIdleTimeout": "1h0m0s", "maxStreamDuration": "0s"},
            },
            to={
                "connectionTimeout": "5s",
                "idleTimeout": "1h0m0s",
                "http": {"requestTimeout": "15s", "streamIdleTimeout": "30m0s"},
            },
        ),
    ),
    _Initial(
        "mesh-gateways-timeout-all",
        "MeshTimeout",
        _timeouts(
            "Gateway",
            from_={"idleTimeout": "5m0s", "http": {"streamIdleTimeout": "5s", "requestHeadersTimeout": "500ms"}},
            to={"idleTimeout": "1h0m0s", "http": {"streamIdleTimeout": "5s"}},
        ),
    ),
    _Initial(
        "mesh-circuit-breaker-all",
        "MeshCircuitBreaker",
        {
            "targetRef": {"kind": "Mesh"},
            "to": _everyone(
                {
                    "connectionLimits": {
                        "maxConnections": 1024,
                        "maxPendingRequests": 1024,
                        "maxRequests": 1024,
                        "maxRetries": 3,
                    }
                }
            ),
        },
    ),
    _Initial(
        "mesh-retry-all",
        "MeshRetry",
        {
            "targetRef": {"kind": "Mesh"},
            "to": _everyone({"tcp": {"maxConnectAttempt": 5}, "http": _RETRIES, "grpc": _RETRIES}),
        },
    ),
)


def puts(mesh: str, zone: str, environment: str, skipped: Iterable[str]) -> Iterator[Put]:
    """The writes that give a new mesh its policies, owned by it; ``skipped`` are names of kinds, or ``*``."""
    left_out = set(skipped)
    if ALL in left_out:
        return
    for one in _INITIAL:
        if one.kind not in left_out:
            spec = decode_json(one.kind, one.spec)
            yield Put(
                Key(one.kind, mesh, f"{one.prefix}-{mesh}"),
                encode_spec(spec),
                labels.compute(BY_NAME[one.kind], mesh, zone, environment),
                owner=Key("Mesh", "", mesh),
                expected_version=0,
            )
