"""Who may join, and the life of a Dataplane that comes and goes with its proxy.

A proxy is admitted on the first request of its stream: its token is verified against the very Dataplane it presents,
then that Dataplane is written to the store. When the stream ends the proxy is offline at once; its Dataplane is
deleted after a delay, unless the proxy came back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from hmac import compare_digest
from typing import Any, Final, Protocol

import structlog

from kuma.core.errors import Conflict, InvalidResource, InvalidToken, MeshError, NotFound
from kuma.core.identity.binding import DataplaneFacts, check_dataplane
from kuma.core.model.codec import decode_json, decode_spec
from kuma.core.model.kinds import BY_NAME, Kind
from kuma.core.model.resource import Key
from kuma.core.model.text import parse_document
from kuma.core.resources.dataplane import facts
from kuma.core.resources.dataplane.spec import Dataplane
from kuma.core.resources.mesh import membership
from kuma.core.xds.node import RUN, ProxyNode, ProxyType
from kuma.cp.reconcile.credentials import Credential
from kuma.cp.store.port import CONTROL_PLANE, Author, Delete, Store
from kuma.cp.tokens.verifier import TokenVerifier

_MAX_DELETED_AT_ONCE: Final = 500
ENVOY_RETRY_SECONDS: Final = 30.0
META_FIELDS: Final = ("type", "mesh", "name", "labels", "creationTime", "modificationTime", "kri")
"""Fields of a document that are not part of a legacy kind's spec."""
Clock = Callable[[], datetime]

log = structlog.get_logger("registration")


class Refused(MeshError):
    """A proxy may not join; the text is told to the proxy and logged."""


class Registered(Protocol):
    """The outcome of a write."""

    @property
    def revision(self) -> int:
        """A store revision that contains it."""
        ...


class Registrar(Protocol):
    """Writes the Dataplane a proxy brings along."""

    async def put(
        self,
        kind: Kind,
        mesh: str,
        name: str,
        document: Mapping[str, Any],
        *,
        author: Author,
        allowed: Callable[[Kind], None],
        warn: bool,
    ) -> Registered:
        """As ``kuma.cp.resources.Resources.put``."""
        ...


@dataclass(frozen=True, slots=True)
class Admitted:
    """
    A proxy that may join. ``registered``: its Dataplane came with it and goes with it.

    ``credential`` is the token that let it in, None where none is needed.
    """

    key: Key
    registered: bool
    revision: int
    credential: Credential | None


@dataclass(frozen=True, slots=True)
class _Active:
    """Whose stream it is, the digest of what it showed, and which run of kuma-dp it belongs to."""

    owner: object
    credential: bytes
    run: str


def _digest(credential: str) -> bytes:
    return sha256(credential.encode()).digest()


class Registration:
    """Admits proxies and removes those that left. ``require_token`` False lets every proxy in (``none``)."""

    def __init__(
        self,
        store: Store,
        resources: Registrar,
        verifier: TokenVerifier,
        clock: Clock,
        *,
        require_token: bool,
        deregistration_delay: timedelta,
    ) -> None:
        self._store = store
        self._resources = resources
        self._verifier = verifier
        self._clock = clock
        self._require_token = require_token
        self._delay = deregistration_delay.total_seconds()
        self._active: dict[Key, _Active] = {}
        self._leaving: dict[Key, float] = {}
        self._left = asyncio.Event()

    async def authenticate(
        self, key: Key, credential: str, dataplane: Dataplane, labels: Mapping[str, str]
    ) -> Credential | None:
        """
        Check a proxy's token against its Dataplane; the token, for as long as the stream lives.

        Raises:
            InvalidToken: with the reason.
        """
        if not self._require_token:
            return None
        if not credential:
            raise InvalidToken(
                "the proxy sent no dataplane token; generate one with "
                f"'kumactl generate dataplane-token --name {key.name} --mesh {key.mesh} --valid-for 720h' "
                "and pass it to kuma-dp with --dataplane-token-file"
            )
        verified = await self._verifier.verify_dataplane(credential, mesh=key.mesh, now=self._clock())
        check_dataplane(verified.claims, DataplaneFacts(key.name, key.mesh, facts.all_tag_sets(dataplane), labels))
        return verified

    async def recognise(self, key: Key, credential: str, run: str) -> None:
        """
        Check that who speaks is the proxy of a stored Dataplane.

        The token of its open stream will do, although it may have expired since, as the stream itself goes on.

        Raises:
            InvalidToken: with the reason.
            NotFound: no such Dataplane.
            Conflict: another proxy has taken its name over.
        """
        active = self._active.get(key)
        if active is not None and active.run != run:
            raise Conflict("another proxy of this name is connected")
        if active is not None and compare_digest(active.credential, _digest(credential)):
            return
        record = await self._store.get(key)
        await self.authenticate(key, credential, decode_spec("Dataplane", record.spec), record.labels)

    async def admit(
        self,
        node: ProxyNode,
        credential: str,
        owner: object,
        peer: str,
        announce: Callable[[Key, bool], None] = lambda _key, _coming: None,
    ) -> Admitted:
        """
        Let a proxy in, or say why not. ``owner`` stands for the stream, until ``leave``.

        ``announce`` is told of a proxy whose token was verified before its Dataplane is written, so that nobody learns
        of the Dataplane first; and, with False, if it could not be let in after all.

        Raises:
            Refused: with the reason.
        """
        key = Key("Dataplane", node.mesh, node.name)
        try:
            dataplane, labels, document = await self._presented(node, key)
            accepted = await self.authenticate(key, credential, dataplane, labels)
        except InvalidToken as error:
            raise Refused(f"authentication failed: {error}") from error
        if key in self._active:
            raise Refused("there is already an active stream from this node, try again later")
        self._active[key] = _Active(owner, _digest(credential), node.dynamic_metadata.get(RUN, ""))
        announce(key, True)
        try:
            if document is not None:
                author = Author(f"dataplane:{node.mesh}/{node.name}", address=peer)
                written = await self._resources.put(
                    BY_NAME["Dataplane"],
                    node.mesh,
                    node.name,
                    document,
                    author=author,
                    allowed=lambda _: None,
                    warn=False,
                )
                revision = written.revision
            else:
                revision = (await self._store.get(key)).revision
        except BaseException:
            del self._active[key]
            announce(key, False)
            raise
        self._leaving.pop(key, None)
        return Admitted(key, document is not None, revision, accepted)

    def leave(self, admitted: Admitted, owner: object) -> None:
        """The stream of an admitted proxy ended."""
        active = self._active.get(admitted.key)
        if active is not None and active.owner is owner:
            del self._active[admitted.key]
            if admitted.registered:
                self._leaving[admitted.key] = asyncio.get_running_loop().time() + self._delay
                self._left.set()

    def connected(self, key: Key) -> bool:
        """Whether a proxy is here, or just being let in."""
        return key in self._active

    def expect(self, keys: Iterable[Key]) -> None:
        """
        Proxies that were connected when the control plane went away: those that do not come back are removed.

        They are given time to notice: Envoy tries again at most ``ENVOY_RETRY_SECONDS`` apart.
        """
        until = asyncio.get_running_loop().time() + self._delay + ENVOY_RETRY_SECONDS
        self._leaving.update(dict.fromkeys(keys, until))
        self._left.set()

    async def run(self) -> None:
        """Delete the Dataplanes of proxies that stayed away, until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            due = [key for key, when in self._leaving.items() if when <= loop.time()][:_MAX_DELETED_AT_ONCE]
            if due:
                await self._delete(due)
                continue
            self._left.clear()
            next_due = min(self._leaving.values(), default=None)
            try:
                async with asyncio.timeout_at(next_due):
                    await self._left.wait()
            except TimeoutError:
                continue

    async def _delete(self, due: list[Key]) -> None:
        for key in due:
            del self._leaving[key]
        gone = [key for key in due if key not in self._active]
        try:
            await self._store.write(
                [Delete(key, missing_ok=True) for key in gone],
                author=CONTROL_PLANE,
                now=self._clock(),
            )
        except MeshError as error:
            log.warning("proxies that left are removed later", reason=str(error), proxies=len(gone))
            later = asyncio.get_running_loop().time() + self._delay
            self._leaving.update(dict.fromkeys(gone, later))
            return
        for key in gone:
            log.info("proxy left the mesh", mesh=key.mesh, dataplane=key.name)

    async def _presented(
        self, node: ProxyNode, key: Key
    ) -> tuple[Dataplane, Mapping[str, str], Mapping[str, Any] | None]:
        """The Dataplane a proxy speaks of: the one it brings along, else the stored one."""
        if node.proxy_type is not ProxyType.DATAPLANE:
            raise Refused(
                f"proxies of type {node.proxy_type.value!r} are not supported yet; use proxy type 'dataplane'"
            )
        mesh = await self._store.find(Key("Mesh", "", node.mesh))
        if mesh is None:
            raise Refused(f'mesh: mesh "{node.mesh}" does not exist')
        if not node.resource:
            try:
                record = await self._store.get(key)
            except NotFound as error:
                raise Refused(
                    f'dataplane "{node.name}" does not exist in mesh "{node.mesh}"; create it with kumactl apply, '
                    "or start kuma-dp with --dataplane-file"
                ) from error
            stored: Dataplane = decode_spec("Dataplane", record.spec)
            # One that a proxy brings along is judged when it is written; this one may be older than the rules.
            refused = tuple(membership.refusals(node.mesh, decode_spec("Mesh", mesh.spec), stored))
            if refused:
                raise Refused(str(InvalidResource(refused)))
            return stored, record.labels, None
        document = parse_document(node.resource)
        if not isinstance(document, dict):
            raise Refused("the dataplane resource of the proxy is not an object")
        if (document.get("mesh"), document.get("name")) != (node.mesh, node.name):
            raise Refused(
                f"the proxy calls itself {node.mesh}.{node.name}, but its dataplane resource is called "
                f"{document.get('mesh')}.{document.get('name')}"
            )
        spec = decode_json("Dataplane", {k: v for k, v in document.items() if k not in META_FIELDS})
        labels = document.get("labels") or {}
        return spec, labels if isinstance(labels, dict) else {}, document
