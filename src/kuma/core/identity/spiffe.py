"""The names in a proxy's certificate, and when and why a proxy needs a new one.

Policies and Envoy's validation contexts match these names literally, so they are Kuma's (spec/xds.md §5): one SPIFFE id
for each service the proxy offers, then one ``kuma://`` URI for each of its tags.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from kuma.core.errors import InvalidResource, Violation
from kuma.core.model.labels import SERVICE_TAG


def trust_domain(mesh: str) -> str:
    """``spiffe://<mesh>``: the name of the mesh's root, and the prefix of every identity in it."""
    return f"spiffe://{mesh}"


def spiffe_id(mesh: str, service: str) -> str:
    """The identity of a service."""
    return f"{trust_domain(mesh)}/{service}"


def tag_uri(tag: str, value: str) -> str:
    """A tag as certificates carry it."""
    return f"kuma://{tag}/{value}"


def subject_names(mesh: str, tag_sets: Iterable[Mapping[str, str]], workload: str = "") -> tuple[str, ...]:
    """
    The URI SANs of a proxy: from the tags of its inbounds (or of its gateway), sorted, each once.

    A proxy without a service tag is named by its ``kuma.io/workload`` label.

    Raises:
        InvalidResource: the proxy has neither, so there is nothing to call it.
    """
    tags = {(tag, value) for tag_set in tag_sets for tag, value in tag_set.items()}
    services = sorted({value for tag, value in tags if tag == SERVICE_TAG}) or [x for x in (workload,) if x]
    if not services:
        reason = (
            f'cannot issue a certificate: no inbound has the tag "{SERVICE_TAG}" and the proxy has no label '
            '"kuma.io/workload"; add one of them'
        )
        raise InvalidResource([Violation("networking.inbound", reason)])
    return (*(spiffe_id(mesh, service) for service in services), *(tag_uri(*pair) for pair in sorted(tags)))


def renew_at(not_before: datetime, not_after: datetime) -> datetime:
    """Half of a certificate's life: early enough that a control plane may be away for the other half."""
    return not_before + (not_after - not_before) / 2


def identity_digest(authority_fingerprint: str, names: Sequence[str], lifetime: timedelta) -> str:
    """
    A short text that stands for all a leaf certificate depends on.

    Equal digests mean that the certificate a proxy has is still the one it should have (time apart). The order in
    which the names are given does not matter.
    """
    parts = (authority_fingerprint, str(lifetime // timedelta(microseconds=1)), *sorted(names))
    framed = b"".join(len(raw).to_bytes(4, "big") + raw for raw in (part.encode() for part in parts))
    return hashlib.sha256(framed).hexdigest()[:32]
