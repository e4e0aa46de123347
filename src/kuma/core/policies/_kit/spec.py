"""The parts of a policy's spec that all policies share."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from kuma.core.model.spec import Spec

TargetKind = Literal[
    "",
    "Mesh",
    "MeshSubset",
    "MeshGateway",
    "MeshService",
    "MeshExternalService",
    "MeshMultiZoneService",
    "MeshServiceSubset",
    "MeshHTTPRoute",
    "Dataplane",
]
ProxyType = Literal["Sidecar", "Gateway"]


class TargetRef(Spec):
    """Which things an entry speaks of (spec/resources.md §3). An omitted top-level targetRef is the whole mesh."""

    kind: TargetKind = ""
    name: str | None = None
    namespace: str | None = None
    labels: dict[str, str] | None = None
    tags: dict[str, str] | None = None
    mesh: str | None = None
    section_name: str | None = None
    proxy_types: tuple[ProxyType, ...] | None = None


MESH: TargetRef = TargetRef(kind="Mesh")


class SpiffeIdMatch(Spec):
    """Matches the URI SAN of the peer's certificate."""

    type: Literal["Exact", "Prefix"]
    value: str


class SniMatch(Spec):
    """Matches the server name the peer asked for."""

    type: Literal["Exact"] | None = None
    value: str | None = None


class Match(Spec):
    """A condition on a connection; all fields given must hold."""

    spiffe_id: Annotated[SpiffeIdMatch | None, Field(alias="spiffeID")] = None
    sni: SniMatch | None = None


class PolicySpec(Spec):
    """The base of every policy: which proxies it selects. Subclasses add ``to``, ``from_``, ``rules``, ``default``."""

    target_ref: TargetRef | None = None

    @property
    def target(self) -> TargetRef:
        """The top-level targetRef, the whole mesh when omitted."""
        return self.target_ref or MESH
