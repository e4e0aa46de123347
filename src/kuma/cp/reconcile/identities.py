"""The certificates of connected proxies: issued when asked for, renewed at half of their life.

A certificate's version, which Envoy brings back when it reconnects, says what it was issued for and when it ends. So
a proxy keeps its certificate over a restart of the control plane, although the key is stored nowhere: the control
plane recognises it and sends nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from kuma.core.identity.spiffe import identity_digest, renew_at, subject_names
from kuma.core.model.labels import WORKLOAD_LABEL
from kuma.core.resources.dataplane import facts
from kuma.core.snapshot.proxy import Proxy
from kuma.core.xds import names, tls
from kuma.core.xds.resources import XdsResource
from kuma.cp.ca.authorities import Authorities
from kuma.cp.ca.authority import CertificateAuthority, sign_server_leaf
from kuma.cp.ca.leaf import issue_leaf
from kuma.cp.reconcile.meshes import Issuing

ADMIN_LIFETIME: Final = timedelta(days=365)
_BACKDATED: Final = timedelta(seconds=10)


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate as a proxy has it. ``backend`` is empty for the one of the admin listener."""

    secret: XdsResource
    digest: str
    not_before: datetime
    not_after: datetime
    backend: str = ""

    @property
    def renew_at(self) -> datetime:
        """When to replace it."""
        return renew_at(self.not_before, self.not_after)

    def serves(self, digest: str, now: datetime) -> bool:
        """Whether it is still the right one."""
        return self.digest == digest and now < self.renew_at


class Identities:
    """Issues certificates. ``admin_authority`` signs those of admin listeners."""

    def __init__(self, authorities: Authorities, admin_authority: CertificateAuthority) -> None:
        self._authorities = authorities
        self._admin_authority = admin_authority

    async def identity(
        self, proxy: Proxy, issuing: Issuing, present: Certificate | None, held: str, now: datetime
    ) -> Certificate:
        """
        The proxy's certificate in its mesh: the present one, the one it brought along, or a new one.

        Raises:
            InvalidResource: the authority cannot be used, or the proxy has nothing to be named by.
        """
        resource = proxy.resource
        mesh = resource.meta.mesh
        authority = await self._authorities.authority(mesh, issuing.backend)
        uris = subject_names(mesh, facts.all_tag_sets(resource.spec), resource.meta.labels.get(WORKLOAD_LABEL, ""))
        digest = identity_digest(authority.fingerprint, uris, issuing.lifetime)
        if present is not None and present.serves(digest, now):
            return present
        name = names.identity_secret(mesh)
        brought = _brought_along(name, held, authority.backend)
        if brought is not None and brought.serves(digest, now):
            return brought
        leaf = issue_leaf(authority, uris, now=now, lifetime=issuing.lifetime)
        secret = tls.certificate_secret(name, leaf.chain_pem, leaf.key_pem)
        return _certificate(name, secret.SerializeToString(), digest, leaf.not_before, leaf.not_after, leaf.backend)

    def admin(self, address: str, present: Certificate | None, held: str, now: datetime) -> Certificate:
        """The certificate of the admin listener on an address."""
        digest = identity_digest(self._admin_authority.fingerprint, (address,), ADMIN_LIFETIME)
        if present is not None and present.serves(digest, now):
            return present
        brought = _brought_along(names.ADMIN_SECRET, held, "")
        if brought is not None and brought.serves(digest, now):
            return brought
        pair = sign_server_leaf(self._admin_authority, hosts=(), addresses=(address,), lifetime=ADMIN_LIFETIME, now=now)
        secret = tls.certificate_secret(names.ADMIN_SECRET, pair.certificate, pair.key)
        not_before = now - _BACKDATED
        return _certificate(
            names.ADMIN_SECRET, secret.SerializeToString(), digest, not_before, now + ADMIN_LIFETIME, ""
        )


def _certificate(
    name: str, body: bytes, digest: str, not_before: datetime, not_after: datetime, backend: str
) -> Certificate:
    version = f"{digest}.{int(not_before.timestamp())}.{int(not_after.timestamp())}"
    return Certificate(XdsResource(names.SECRET, name, body, version), digest, not_before, not_after, backend)


def _brought_along(name: str, version: str, backend: str) -> Certificate | None:
    """The certificate a version speaks of; None for a version that is not ours."""
    digest, _, times = version.partition(".")
    starts, _, ends = times.partition(".")
    if not digest or not starts.isdecimal() or not ends.isdecimal() or len(version) > 80:
        return None
    not_before = datetime.fromtimestamp(int(starts[:11]), UTC)
    not_after = datetime.fromtimestamp(int(ends[:11]), UTC)
    secret = XdsResource(names.SECRET, name, b"", version, held=True)
    return Certificate(secret, digest, not_before, not_after, backend)
