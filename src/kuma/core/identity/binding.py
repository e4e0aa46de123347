"""Whether a valid token allows this very proxy (spec/auth.md §8).

Pure: the token's claims on one side, the facts of the proxy that presents it on the other. Texts are Kuma's, because
operators search for them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from kuma.core.errors import InvalidToken
from kuma.core.identity.claims import DataplaneClaims, ZoneClaims
from kuma.core.model.labels import WORKLOAD_LABEL
from kuma.core.model.resource import NO_LABELS


@dataclass(frozen=True, slots=True)
class DataplaneFacts:
    """
    The proxy that presents a token.

    ``tag_sets`` are the tags of its inbounds, or of its gateway. ``identity_from_workload`` says that a MeshIdentity
    derives its SPIFFE id from the workload label.
    """

    name: str
    mesh: str
    tag_sets: Sequence[Mapping[str, str]] = ()
    labels: Mapping[str, str] = field(default_factory=lambda: NO_LABELS)
    identity_from_workload: bool = False


def check_dataplane(claims: DataplaneClaims, proxy: DataplaneFacts) -> None:
    """
    Compare a dataplane token with the proxy that presents it.

    Raises:
        InvalidToken: the token is bound to something else; the text says to what.
    """
    if claims.name and claims.name != proxy.name:
        raise InvalidToken(f"proxy name from requestor: {proxy.name} is different than in token: {claims.name}")
    if claims.mesh and claims.mesh != proxy.mesh:
        raise InvalidToken(f"proxy mesh from requestor: {proxy.mesh} is different than in token: {claims.mesh}")
    _check_tags(claims.tags, proxy.tag_sets)
    _check_workload(claims.workload, proxy)


def check_zone_proxy(claims: ZoneClaims, *, scope: str, zone: str) -> None:
    """
    Compare a zone token with a zone proxy; ``scope`` is ``ingress`` or ``egress``, ``zone`` that of the control plane.

    Raises:
        InvalidToken: the token is not for this.
    """
    if scope not in claims.scope:
        listed = " ".join(claims.scope)
        raise InvalidToken(
            f"token cannot be used to authenticate zone entity ({scope} is out of token's scope: [{listed}])"
        )
    if claims.zone and claims.zone != zone:
        raise InvalidToken(f"zone from requestor: {zone} is different than in token: {claims.zone}")


def _check_tags(required: Mapping[str, tuple[str, ...]], tag_sets: Iterable[Mapping[str, str]]) -> None:
    present: dict[str, set[str]] = {}
    for tag_set in tag_sets:
        for tag, value in tag_set.items():
            present.setdefault(tag, set()).add(value)
    for tag, allowed in sorted(required.items()):
        if tag not in present:
            raise InvalidToken(f'dataplane has no tag "{tag}" required by the token')
        for value in sorted(present[tag] - set(allowed)):
            listed = " ".join(f'"{one}"' for one in sorted(allowed))
            raise InvalidToken(
                f'dataplane contains tag "{tag}" with value "{value}" which is not allowed with this token. '
                f"Allowed values in token are [{listed}]"
            )


def _check_workload(workload: str, proxy: DataplaneFacts) -> None:
    label = proxy.labels.get(WORKLOAD_LABEL)
    if workload and label is None:
        raise InvalidToken(f'dataplane has no label "{WORKLOAD_LABEL}" required by the token: {workload}')
    if workload and workload != label:
        raise InvalidToken(f"proxy workload from requestor: {label} is different than in token: {workload}")
    if not workload and label is not None and proxy.identity_from_workload:
        raise InvalidToken(
            f"token is not bound to a workload, but the identity of this proxy is derived from its label "
            f'"{WORKLOAD_LABEL}" ({label}); generate a token with --workload {label}'
        )
