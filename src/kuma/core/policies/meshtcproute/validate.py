"""What a schema cannot say about a MeshTCPRoute."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from kuma.core.errors import Violation
from kuma.core.policies._kit.backends import backend_violations, backend_warnings
from kuma.core.policies._kit.validation import (
    MUST_BE_DEFINED,
    NEEDS_AN_ITEM,
    TOP_LEVEL_KINDS,
    reference_warnings,
    target_ref_violations,
    top_level_warnings,
)
from kuma.core.policies.meshtcproute.spec import MeshTCPRoute

_TO_KINDS: Final = ("MeshService", "MeshExternalService", "MeshMultiZoneService")


def validate(spec: MeshTCPRoute) -> Iterator[Violation]:
    """Every broken rule."""
    if spec.target_ref is not None:
        yield from target_ref_violations(spec.target_ref, "spec.targetRef", kinds=TOP_LEVEL_KINDS, tags_on_gateway=True)
    if not spec.to:
        yield Violation("spec.to", NEEDS_AN_ITEM)
    kinds = ("Mesh",) if spec.target.kind == "MeshGateway" else _TO_KINDS
    for index, to in enumerate(spec.to):
        path = f"spec.to[{index}]"
        yield from target_ref_violations(to.target_ref, f"{path}.targetRef", kinds=kinds)
        for number, rule in enumerate(to.rules):
            here = f"{path}.rules[{number}].default.backendRefs"
            if not rule.default.backend_refs:
                yield Violation(here, MUST_BE_DEFINED)
            yield from backend_violations(rule.default.backend_refs or (), here)


def warnings(spec: MeshTCPRoute) -> Iterator[str]:
    """Deprecated forms, and what is accepted without effect."""
    yield from top_level_warnings(spec.target_ref)
    for index, to in enumerate(spec.to):
        path = f"spec.to[{index}]"
        yield from reference_warnings(to.target_ref, f"{path}.targetRef")
        for number, rule in enumerate(to.rules):
            yield from backend_warnings(rule.default.backend_refs or (), f"{path}.rules[{number}].default.backendRefs")
