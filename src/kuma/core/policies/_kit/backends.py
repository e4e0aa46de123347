"""Where routing policies send traffic: references to backends, their weights, and the clusters they become."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from kuma.core.errors import Violation
from kuma.core.model.kinds import KNOWN_ELSEWHERE
from kuma.core.model.labels import SERVICE_TAG
from kuma.core.policies._kit.spec import TargetRef
from kuma.core.policies._kit.validation import MUST_BE_DEFINED, Count, target_ref_violations
from kuma.envoy_api.envoy.config.route.v3.route_components_pb2 import RouteAction
from kuma.envoy_api.envoy.extensions.filters.network.tcp_proxy.v3.tcp_proxy_pb2 import TcpProxy

BACKEND_KINDS: Final = ("MeshService", "MeshServiceSubset", "MeshExternalService", "MeshMultiZoneService")
_LARGEST_SUM: Final = 2**32 - 1


class BackendRef(TargetRef):
    """A destination and its share of the traffic. With a port or a section it names an object, else a service."""

    weight: Count = 1
    port: Count | None = None


@dataclass(frozen=True, slots=True)
class Weighted:
    """A cluster and its share of the traffic; ``external`` is outside of the mesh and known by its own host name."""

    cluster: str
    weight: int
    external: bool = False


def backend_violations(refs: Sequence[BackendRef], path: str) -> Iterator[Violation]:
    """What is wrong with a list of backends."""
    for index, ref in enumerate(refs):
        here = f"{path}[{index}]"
        yield from target_ref_violations(ref, here, kinds=BACKEND_KINDS)
        if ref.kind == "MeshMultiZoneService" and ref.port is None:
            yield Violation(f"{here}.port", f"{MUST_BE_DEFINED} with kind MeshMultiZoneService")
    if sum(ref.weight for ref in refs) > _LARGEST_SUM:
        yield Violation(path, f"the weights must not add up to more than {_LARGEST_SUM}")


def backend_warnings(refs: Iterable[BackendRef], path: str) -> Iterator[str]:
    """A sentence for each backend that no traffic can reach, or that is read in another way than it is written."""
    for index, ref in enumerate(refs):
        here = f"{path}[{index}]"
        if ref.kind in KNOWN_ELSEWHERE:
            if ref.kind != "MeshService":
                yield f"{here}: {ref.kind} is not supported yet, this backend gets no traffic"
            elif names_object(ref):
                yield (
                    f"{here}: MeshService with port or sectionName is not supported yet, this backend gets no "
                    "traffic; with name alone it stands for a kuma.io/service"
                )
        if ref.kind == "MeshService" and not names_object(ref):
            if not ref.name:
                yield f"{here}: MeshService with labels needs a port or sectionName, this backend gets no traffic"
            elif ref.namespace:
                yield f"{here}.namespace: is ignored without port or sectionName, name is taken for a kuma.io/service"


def names_object(ref: BackendRef) -> bool:
    """Whether the reference is to an object of its kind, not to a ``kuma.io/service``."""
    if ref.kind == "MeshService":
        return ref.port is not None or bool(ref.section_name)
    return ref.kind in {"MeshExternalService", "MeshMultiZoneService"}


def service_tags(ref: BackendRef) -> tuple[tuple[str, str], ...] | None:
    """The tags that a reference to a ``kuma.io/service`` asks for, sorted; None when it is another reference."""
    if not ref.name or ref.kind not in {"MeshService", "MeshServiceSubset"} or names_object(ref):
        return None
    tags = ref.tags or {} if ref.kind == "MeshServiceSubset" else {}
    return tuple(sorted({**tags, SERVICE_TAG: ref.name}.items()))


def shares(refs: Iterable[BackendRef], cluster_of: Callable[[BackendRef], str | None]) -> tuple[Weighted, ...]:
    """
    The clusters that a list of backends becomes, in the order written.

    ``cluster_of`` answers None where a reference leads nowhere; that backend is left out, as is one without weight.
    """
    found = ((ref, cluster_of(ref)) for ref in refs if ref.weight > 0)
    return tuple(
        Weighted(cluster, ref.weight, external=ref.kind == "MeshExternalService")
        for ref, cluster in found
        if cluster is not None
    )


def write_shares(target: RouteAction | TcpProxy, split: Sequence[Weighted]) -> None:
    """Lead a route or a TCP proxy to the clusters. ``split`` must not be empty."""
    if len(split) == 1:
        target.cluster = split[0].cluster
    else:
        target.ClearField("cluster")
        for share in split:
            _add(target, share)
    if isinstance(target, RouteAction) and any(share.external for share in split):
        target.auto_host_rewrite.value = True


def _add(target: RouteAction | TcpProxy, share: Weighted) -> None:
    if isinstance(target, TcpProxy):
        target.weighted_clusters.clusters.add(name=share.cluster, weight=share.weight)
    else:
        target.weighted_clusters.clusters.add(name=share.cluster).weight.value = share.weight
