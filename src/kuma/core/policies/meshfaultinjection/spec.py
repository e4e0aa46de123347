"""What a user may write in a MeshFaultInjection."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from kuma.core.model.spec import Duration, Spec
from kuma.core.policies._kit.spec import Match, PolicySpec, TargetRef
from kuma.core.policies._kit.validation import Count, Entries, Number


class Abort(Spec):
    """Answer with a status instead of calling the application."""

    http_status: Count
    percentage: Number


class Delay(Spec):
    """Let requests wait."""

    value: Duration
    percentage: Number


class ResponseBandwidth(Spec):
    """Slow responses down; ``limit`` is text such as ``50 Mbps``."""

    limit: str
    percentage: Number


class Fault(Spec):
    """Faults that are thrown for independently."""

    abort: Abort | None = None
    delay: Delay | None = None
    response_bandwidth: ResponseBandwidth | None = None


class Conf(Spec):
    """The faults; None leaves what policies of lower priority say."""

    http: tuple[Fault, ...] | None = None


class Item(Spec):
    """An entry of ``to`` (of gateways) or ``from`` (sources, told apart by tags)."""

    target_ref: TargetRef
    default: Conf = Conf()


class Rule(Spec):
    """Inbound faults, for all clients or for those that match one of ``matches``."""

    matches: Entries[Match] = ()
    default: Conf


class MeshFaultInjection(PolicySpec):
    """The spec of a MeshFaultInjection."""

    to: Entries[Item] = ()
    from_: Annotated[Entries[Item], Field(alias="from")] = ()
    rules: Entries[Rule] = ()
