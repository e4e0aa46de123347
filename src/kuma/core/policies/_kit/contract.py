"""The contract of a policy: what its folder declares as ``POLICY``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kuma.core.errors import MeshError, Violation
from kuma.core.model.resource import Definition, Key, Resource, no_status
from kuma.core.model.spec import Spec
from kuma.core.policies._kit.match import effect_warnings
from kuma.core.policies._kit.rules import InboundRules, Towards
from kuma.core.policies._kit.spec import PolicySpec

if TYPE_CHECKING:
    from kuma.core.xds.complete import Resources
    from kuma.core.xds.draft import ClusterDraft, InboundDraft, OutboundDraft
    from kuma.core.xds.localities import Nearness, Place
    from kuma.core.xds.view import Tags


@dataclass(frozen=True, slots=True)
class RouteRule:
    """One rule of a routing policy: the name that its routes have, which requests it takes, and what it does."""

    name: str
    matches: tuple[Spec, ...]
    conf: Spec


class CannotApply(MeshError):
    """What ``policies`` ask for cannot be done for a proxy; the text names them and says why."""

    def __init__(self, text: str, policies: Iterable[Key]) -> None:
        super().__init__(text)
        self.policies = tuple(policies)


def no_warnings(_: Any) -> Iterator[str]:
    """A policy without deprecated forms."""
    return iter(())


@dataclass(frozen=True, slots=True)
class Policy:
    """
    One policy kind.

    ``conf`` is the type of every ``default`` in the spec. ``validate`` yields violations with full paths
    (``spec.to[0]…``); ``warnings`` yields sentences. ``outbound`` and ``inbound`` write the policy into a draft and
    are called for every outbound and inbound, also when no policy matched (then without conf), because some kinds
    write defaults; ``every_cluster`` is called for each cluster a proxy gets. ``destinations`` yields, for a conf of a
    routing policy, the destinations it leads to; ``combine`` merges its confs, given in ascending priority, where the
    common merge of fields is not what its kind needs; ``routes`` yields the rules of a conf, where routes have names.
    ``knows_callers``: while the mesh has a policy of the kind, requests say which proxy sends them; ``probes``: its
    probes do. ``logs``: its configuration says which proxy it is of.
    ``patch`` rewrites complete Envoy resources after every other policy; it is called for each policy of such a kind,
    in the order of their priority, with that policy's conf.
    ``nearness`` says how the endpoints of a destination are grouped for a proxy, where the kind has a say in that.
    ``status`` makes the status of a policy from its spec in wire form, where the kind has one.
    """

    kind: str
    spec: type[PolicySpec]
    conf: type[Spec]
    validate: Callable[[Any], Iterator[Violation]]
    warnings: Callable[[Any], Iterator[str]] = no_warnings
    outbound: Callable[[OutboundDraft, Towards[Any]], None] | None = None
    inbound: Callable[[InboundDraft, InboundRules[Any]], None] | None = None
    every_cluster: Callable[[ClusterDraft], None] | None = None
    destinations: Callable[[Any], Iterator[Tags]] | None = None
    combine: Callable[[Iterable[Any]], Any] | None = None
    routes: Callable[[Any], Iterator[RouteRule]] | None = None
    knows_callers: bool = False
    probes: bool = False
    logs: bool = False
    patch: Callable[[Any, Resources], Resources] | None = None
    nearness: Callable[[Any, Place], Nearness] | None = None
    status: Callable[[Mapping[str, Any]], Mapping[str, Any]] = no_status

    def definition(self) -> Definition:
        """The policy as a resource kind."""

        def validate(resource: Resource[Any]) -> Iterator[Violation]:
            return self.validate(resource.spec)

        def warnings(resource: Resource[Any]) -> Iterator[str]:
            yield from self.warnings(resource.spec)
            yield from effect_warnings(resource.meta)

        return Definition(spec=self.spec, validate=validate, warnings=warnings, status=self.status)
