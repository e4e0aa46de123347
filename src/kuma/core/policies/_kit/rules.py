"""What policies become once they are matched to a proxy: rules that say which conf holds where.

Three shapes (spec/policies.md §2): ``Towards`` for outbound traffic, ``InboundRules`` for ordered rules on an
inbound (from ``rules``, and from ``from`` of kinds with ``from_as_rules``), ``SubsetRule`` for ``from`` of the other
kinds, where sources are told apart by tags with negations. All are frozen and compare by content.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from kuma.core.model.resource import Key
from kuma.core.model.spec import Spec
from kuma.core.policies._kit.spec import Match

C_co = TypeVar("C_co", bound=Spec, covariant=True)


@dataclass(frozen=True, slots=True)
class Merged(Generic[C_co]):
    """
    A conf and the policies it was merged from, lowest priority first.

    ``text`` is the conf as JSON: it stands for the conf in comparisons, because models with maps have no hash.
    """

    conf: C_co = field(compare=False)
    origins: tuple[Key, ...]
    text: str = ""


@dataclass(frozen=True, slots=True)
class Towards(Generic[C_co]):
    """
    The confs that hold for traffic to some services.

    ``spoken`` tells whether any ``to`` entry exists for the proxy, also when none speaks of these services.
    """

    confs: Mapping[str, Merged[C_co]]
    spoken: bool = False
    routes: Mapping[str, Merged[C_co]] = field(default_factory=dict)
    """Confs of single routes, by name: what holds for the service, with what speaks of the route merged in."""

    def towards(self, service: str) -> C_co | None:
        """The conf for traffic to a service, or None where no policy speaks of it."""
        found = self.confs.get(service)
        return None if found is None else found.conf

    def on_route(self, service: str, route: str) -> C_co | None:
        """The conf for what one route carries to a service."""
        found = self.routes.get(route)
        return self.towards(service) if found is None else found.conf


@dataclass(frozen=True, slots=True)
class TagMatch:
    """A source has (or, negated, has not) this tag value."""

    key: str
    value: str
    negated: bool = False


@dataclass(frozen=True, slots=True)
class SubsetRule(Generic[C_co]):
    """What holds for sources that match every one of ``subset`` (empty: all sources)."""

    subset: tuple[TagMatch, ...]
    merged: Merged[C_co]


@dataclass(frozen=True, slots=True)
class InboundRule(Generic[C_co]):
    """One entry of an ordered list; ``match`` None holds for all. ``kri`` names the policy it came from."""

    match: Match | None
    conf: C_co = field(compare=False)
    origin: Key
    kri: str
    text: str = ""
    """The conf as JSON, which stands for it in comparisons."""


@dataclass(frozen=True, slots=True)
class InboundRules(Generic[C_co]):
    """
    All that policies of one kind say about one inbound.

    ``catch_all`` is the merge of the entries without a match, None when there is none. ``subsets`` are ordered from
    most to fewest positive tags; the first that matches decides. A proxy with any ``rules`` ignores ``subsets``.
    """

    rules: tuple[InboundRule[C_co], ...] = ()
    catch_all: Merged[C_co] | None = None
    subsets: tuple[SubsetRule[C_co], ...] = ()

    def __bool__(self) -> bool:
        return bool(self.rules or self.subsets)
