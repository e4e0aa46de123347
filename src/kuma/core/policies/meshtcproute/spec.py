"""What a user may write in a MeshTCPRoute."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from kuma.core.model.spec import Spec
from kuma.core.policies._kit.backends import BackendRef
from kuma.core.policies._kit.spec import PolicySpec, TargetRef
from kuma.core.policies._kit.validation import Entries


class Conf(Spec):
    """Where connections go."""

    backend_refs: tuple[BackendRef, ...] | None = None


class Rule(Spec):
    """What happens to connections."""

    default: Conf


class To(Spec):
    """A destination, and at most one rule for connections to it."""

    target_ref: TargetRef
    rules: Annotated[tuple[Rule, ...], Field(max_length=1)]

    @property
    def default(self) -> Conf:
        """The rule's conf, which policies are merged by."""
        return self.rules[0].default if self.rules else Conf()


class MeshTCPRoute(PolicySpec):
    """The spec of a MeshTCPRoute."""

    to: Entries[To] = ()
