"""What a user may write in a MeshTrafficPermission."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from kuma.core.model.spec import Spec
from kuma.core.policies._kit.spec import Match, PolicySpec, TargetRef
from kuma.core.policies._kit.validation import Entries


class Conf(Spec):
    """What holds for the sources of a ``from`` entry."""

    action: Literal["Allow", "Deny", "AllowWithShadowDeny"] | None = None


class Permissions(Spec):
    """Which clients a rule speaks of; a denial always wins. The lists of all rules are taken together, not merged."""

    deny: tuple[Match, ...] | None = None
    allow_with_shadow_deny: tuple[Match, ...] | None = None
    allow: tuple[Match, ...] | None = None


class From(Spec):
    """Sources, told apart by tags."""

    target_ref: TargetRef
    default: Conf = Conf()


class Rule(Spec):
    """Sources, told apart by identity."""

    default: Permissions


class MeshTrafficPermission(PolicySpec):
    """The spec of a MeshTrafficPermission."""

    from_: Annotated[Entries[From], Field(alias="from")] = ()
    rules: Entries[Rule] = ()
