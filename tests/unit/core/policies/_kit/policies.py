"""Policies and proxies in short, for tests."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kuma.core.model.codec import decode_json
from kuma.core.model.resource import Key, Meta, Resource
from kuma.core.policies._kit.match import InboundFacts, ProxyFacts


def policy(
    name: str, *, kind: str = "MeshTimeout", labels: Mapping[str, str] | None = None, **spec: Any
) -> Resource[Any]:
    """A policy of the mesh ``default``; the spec as a user writes it."""
    written = {{"target_ref": "targetRef", "from_": "from"}.get(field, field): value for field, value in spec.items()}
    return Resource(Meta(Key(kind, "default", name), labels or {}), decode_json(kind, written))


def target(kind: str, **fields: Any) -> dict[str, Any]:
    """A targetRef."""
    return {"kind": kind, **fields}


WEB = ProxyFacts(
    name="web-1",
    labels={"app": "web", "kuma.io/zone": "east"},
    inbounds=(
        InboundFacts("main", {"kuma.io/service": "web", "version": "v1"}),
        InboundFacts("9090", {"kuma.io/service": "web-admin"}),
    ),
)
DELEGATED = ProxyFacts(name="kong", gateway="DELEGATED", gateway_tags={"kuma.io/service": "kong", "team": "edge"})
BUILTIN = ProxyFacts(name="edge", gateway="BUILTIN", gateway_tags={"kuma.io/service": "edge"})
