"""Label and tag names, and the identifiers that are made of them."""

from __future__ import annotations

from typing import Final

from kuma.core.model.resource import Meta

SERVICE_TAG: Final = "kuma.io/service"
PROTOCOL_TAG: Final = "kuma.io/protocol"
ZONE_TAG: Final = "kuma.io/zone"

MESH_LABEL: Final = "kuma.io/mesh"
ORIGIN_LABEL: Final = "kuma.io/origin"
ZONE_LABEL: Final = "kuma.io/zone"
ENV_LABEL: Final = "kuma.io/env"
PROXY_TYPE_LABEL: Final = "kuma.io/proxy-type"
DISPLAY_NAME_LABEL: Final = "kuma.io/display-name"
WORKLOAD_LABEL: Final = "kuma.io/workload"
EFFECT_LABEL: Final = "kuma.io/effect"
POLICY_ROLE_LABEL: Final = "kuma.io/policy-role"
NAMESPACE_LABEL: Final = "k8s.kuma.io/namespace"


def kri(short_name: str, meta: Meta, section: str = "") -> str:
    """``kri_<short>_<mesh>_<zone>_<namespace>_<display name>_<section>`` (spec/api-server.md §4.1)."""
    parts = (short_name, meta.mesh, meta.labels.get(ZONE_LABEL, ""), meta.labels.get(NAMESPACE_LABEL, ""))
    return "_".join(("kri", *parts, meta.display_name, section))
