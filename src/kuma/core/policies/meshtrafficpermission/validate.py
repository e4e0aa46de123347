"""What a schema cannot say about a MeshTrafficPermission."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from kuma.core.errors import Violation
from kuma.core.policies._kit.validation import (
    MUST_BE_DEFINED,
    RULES_EXCLUDE_FROM,
    match_violations,
    reference_warnings,
    target_ref_violations,
    top_level_warnings,
)
from kuma.core.policies.meshtrafficpermission.spec import MeshTrafficPermission, Rule

_TOP_KINDS: Final = ("Mesh", "MeshSubset", "MeshService", "MeshServiceSubset", "Dataplane")
_FROM_KINDS: Final = ("Mesh", "MeshSubset", "MeshService", "MeshServiceSubset")


def validate(spec: MeshTrafficPermission) -> Iterator[Violation]:
    """Every broken rule."""
    if spec.rules and spec.from_:
        yield Violation("spec", RULES_EXCLUDE_FROM)
    if not (spec.rules or spec.from_):
        yield Violation("spec", "at least one of 'from' or 'rules' has to be defined")
    if spec.target_ref is not None:
        yield from target_ref_violations(
            spec.target_ref, "spec.targetRef", kinds=_TOP_KINDS, inbound_policy=bool(spec.rules or spec.from_)
        )
    for index, item in enumerate(spec.from_):
        path = f"spec.from[{index}]"
        yield from target_ref_violations(item.target_ref, f"{path}.targetRef", kinds=_FROM_KINDS)
        if item.default.action is None:
            yield Violation(f"{path}.default.action", MUST_BE_DEFINED)
    for index, rule in enumerate(spec.rules):
        yield from _rule_violations(rule, f"spec.rules[{index}]")


def warnings(spec: MeshTrafficPermission) -> Iterator[str]:
    """Deprecated forms, and what is accepted without effect."""
    yield from top_level_warnings(spec.target_ref)
    if spec.from_:
        yield "'from' field is deprecated and will be removed in 3.0, use 'rules' with MeshIdentity (spiffeId) instead"
    if any(item.target_ref.kind == "MeshService" for item in spec.from_):
        yield (
            "MeshService value for 'from[].targetRef.kind' is deprecated, use MeshSubset with 'kuma.io/service' instead"
        )
    for index, item in enumerate(spec.from_):
        yield from reference_warnings(item.target_ref, f"spec.from[{index}].targetRef", what="entry")


def _rule_violations(rule: Rule, path: str) -> Iterator[Violation]:
    lists = {
        "allow": rule.default.allow,
        "allowWithShadowDeny": rule.default.allow_with_shadow_deny,
        "deny": rule.default.deny,
    }
    if not any(lists.values()):
        yield Violation(path, "at least one of 'allow', 'allowWithShadowDeny', 'deny' has to be defined")
    for name, matches in lists.items():
        for index, match in enumerate(matches or ()):
            # The path leaves `default` out, as in Kuma.
            yield from match_violations(match, f"{path}.{name}[{index}]")
