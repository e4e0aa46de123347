"""What the REST API needs from the rest of the control plane, and what it is told about itself."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from kuma.core.identity.claims import UserClaims
from kuma.core.model.kinds import Kind
from kuma.core.model.resource import Resource
from kuma.core.resources.dataplane.spec import Dataplane
from kuma.cp.access.control import Access
from kuma.cp.config import Config
from kuma.cp.reconcile.inspection import Refusal
from kuma.cp.reconcile.rollout import Progress
from kuma.cp.resources.history import Step
from kuma.cp.store.port import Author, Store
from kuma.cp.tokens.issuer import TokenIssuer


class Written(Protocol):
    """The outcome of a PUT."""

    @property
    def created(self) -> bool: ...

    @property
    def warnings(self) -> tuple[str, ...]: ...

    @property
    def revision(self) -> int: ...

    @property
    def changed(self) -> bool: ...


class Restored(Protocol):
    """The outcome of a rollback; revision 0 where nothing was written."""

    @property
    def warnings(self) -> tuple[str, ...]: ...

    @property
    def revision(self) -> int: ...


class Resources(Protocol):
    """The rules of writing resources. Every method may raise ``StoreUnavailable``."""

    async def put(
        self,
        kind: Kind,
        mesh: str,
        name: str,
        document: Mapping[str, Any],
        *,
        author: Author,
        allowed: Callable[[Kind], None],
    ) -> Written:
        """
        Create or replace one resource from what a user wrote (spec/api-server.md §4).

        ``allowed`` raises ``AccessDenied``; it is asked after the document was found valid. Other errors:
        ``InvalidResource``, ``BadRequest``, ``NotFound`` (the mesh), ``Conflict``.
        """
        ...

    async def delete(
        self, kind: Kind, mesh: str, name: str, *, author: Author, allowed: Callable[[Kind], None]
    ) -> None:
        """Remove one resource. Raises ``NotFound``, ``AccessDenied``, ``InvalidResource`` (it is in use)."""
        ...

    async def restore(
        self, steps: Sequence[Step], *, author: Author, allowed: Callable[[Kind], None], dry_run: bool
    ) -> Restored:
        """Bring records back, all or none. Raises ``AccessDenied``, ``InvalidResource``, ``Conflict``."""
        ...


class EnvoyAdmin(Protocol):
    """The admin interface of a connected proxy's Envoy."""

    async def fetch(self, dataplane: Resource[Dataplane], path: str) -> tuple[str, bytes]:
        """
        GET ``path`` (with query) there: content type and body.

        Raises:
            BadRequest: the proxy is not connected, or does not answer.
        """
        ...


class Inspector(Protocol):
    """What proxies are given."""

    async def config(self, mesh: str, dataplane: str, *, shadow: bool) -> Mapping[str, Any]:
        """
        The Envoy resources that a proxy gets, as JSON data; with ``shadow``, as if shadow policies were in force.

        Raises:
            NotFound: no such proxy, or it never connected.
            MeshError: its configuration cannot be made; the text says why.
        """
        ...

    def refusals(self, mesh: str) -> Mapping[str, tuple[Refusal, ...]]:
        """What connected proxies do not take of their configuration now, by the name of the Dataplane."""
        ...


class Rollouts(Protocol):
    """Whether changes have reached the proxies."""

    async def progress(self, revision: int, wait: float, *, since: int) -> Progress:
        """How far the changes from one store revision to another got, after at most ``wait`` seconds."""
        ...


@dataclass(frozen=True, slots=True)
class Instance:
    """What ``GET /`` tells. ``cluster_id`` gives an empty text until the store has one; ``gui`` is a path or empty."""

    hostname: str
    instance_id: str
    cluster_id: Callable[[], str]
    gui: str = ""


@dataclass(frozen=True, slots=True)
class Backends:
    """
    Everything the API works with.

    What is read comes from the ``store`` as it stands there; what is written goes through ``resources``.
    ``verify_user`` checks a bearer token, None where user tokens are not in use. ``ca_fingerprint`` goes into tokens of
    proxies (empty where the operator's own chain holds no CA) and changes with the certificate. ``now`` and
    ``new_request_id`` are the clock and a source of unguessable ids.
    """

    config: Config
    instance: Instance
    store: Store
    resources: Resources
    access: Access
    issuer: TokenIssuer
    envoy_admin: EnvoyAdmin
    inspector: Inspector
    rollouts: Rollouts
    verify_user: Callable[[str], Awaitable[UserClaims]] | None
    ca_fingerprint: Callable[[], str]
    now: Callable[[], datetime]
    new_request_id: Callable[[], str]

    @property
    def zone(self) -> str:
        """The zone this control plane is."""
        return self.config.multizone.zone.name
