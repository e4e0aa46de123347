"""What a user may write in a MeshTimeout."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from kuma.core.model.spec import Duration, Spec
from kuma.core.policies._kit.spec import Match, PolicySpec, TargetRef
from kuma.core.policies._kit.validation import Entries


class Http(Spec):
    """Timeouts that only HTTP has; zero switches one off."""

    request_timeout: Duration | None = None
    stream_idle_timeout: Duration | None = None
    max_stream_duration: Duration | None = None
    max_connection_duration: Duration | None = None
    request_headers_timeout: Duration | None = None


class Conf(Spec):
    """Timeouts for one direction of traffic; None leaves what policies of lower priority say."""

    connection_timeout: Duration | None = None
    idle_timeout: Duration | None = None
    http: Http | None = None


class Item(Spec):
    """An entry of ``to`` (destinations) or ``from`` (sources)."""

    target_ref: TargetRef
    default: Conf = Conf()


class Rule(Spec):
    """Inbound timeouts, for all connections or for those that match one of ``matches``."""

    matches: Entries[Match] = ()
    default: Conf = Conf()


class MeshTimeout(PolicySpec):
    """The spec of a MeshTimeout."""

    to: Entries[Item] = ()
    from_: Annotated[Entries[Item], Field(alias="from")] = ()
    rules: Entries[Rule] = ()
