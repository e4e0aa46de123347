"""What a user may write in a MeshRateLimit."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from kuma.core.model.spec import Duration, Spec
from kuma.core.policies._kit.spec import Match, PolicySpec, TargetRef
from kuma.core.policies._kit.validation import Count, Entries, HeaderName


class Rate(Spec):
    """How many requests or connections there may be in an interval."""

    num: Count
    interval: Duration


class HeaderValue(Spec):
    """A header of the response to a limited request."""

    name: HeaderName
    value: str


class Headers(Spec):
    """Headers of the response: ``set`` replaces, ``add`` appends."""

    set: Annotated[tuple[HeaderValue, ...], Field(max_length=16)] | None = None
    add: Annotated[tuple[HeaderValue, ...], Field(max_length=16)] | None = None


class OnRateLimit(Spec):
    """What a limited request is answered."""

    status: Count | None = None
    headers: Headers | None = None


class LocalHttp(Spec):
    """A limit on requests."""

    disabled: bool | None = None
    request_rate: Rate | None = None
    on_rate_limit: OnRateLimit | None = None


class LocalTcp(Spec):
    """A limit on connections."""

    disabled: bool | None = None
    connection_rate: Rate | None = None


class Local(Spec):
    """Limits that each Envoy keeps for itself."""

    http: LocalHttp | None = None
    tcp: LocalTcp | None = None


class Conf(Spec):
    """The limits; None leaves what policies of lower priority say."""

    local: Local | None = None


class Item(Spec):
    """An entry of ``to`` (of gateways) or ``from`` (sources)."""

    target_ref: TargetRef
    default: Conf = Conf()


class Rule(Spec):
    """Inbound limits, for all clients or for those that match one of ``matches``."""

    matches: Entries[Match] = ()
    default: Conf = Conf()


class MeshRateLimit(PolicySpec):
    """The spec of a MeshRateLimit."""

    to: Entries[Item] = ()
    from_: Annotated[Entries[Item], Field(alias="from")] = ()
    rules: Entries[Rule] = ()
