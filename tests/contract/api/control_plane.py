"""The REST API over a real store, real resources and real tokens, for the contract tests."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from prometheus_client import CollectorRegistry

from kuma.core.errors import BadRequest, MeshError, NotFound
from kuma.core.identity.claims import UserClaims
from kuma.core.model.codec import encode_spec
from kuma.core.model.kinds import BY_NAME
from kuma.core.model.resource import Key
from kuma.core.resources.dataplaneinsight.spec import DataplaneInsight
from kuma.core.resources.secret.spec import Secret
from kuma.cp.access.control import Access, Allowed, StaticAccess
from kuma.cp.config import Config
from kuma.cp.reconcile.inspection import Refusal
from kuma.cp.reconcile.rollout import Progress
from kuma.cp.resources import Resources
from kuma.cp.server.api import rest_api
from kuma.cp.server.api.application import Api
from kuma.cp.server.api.ports import Backends, Instance
from kuma.cp.store.memory import MemoryStore
from kuma.cp.store.port import CONTROL_PLANE, Put, Store
from kuma.cp.tokens.issuer import TokenIssuer
from kuma.cp.tokens.keys import SigningKeys
from kuma.cp.tokens.kinds import TokenKind
from kuma.cp.tokens.verifier import TokenVerifier

LOCAL = ("127.0.0.1", 40000)
REMOTE = ("10.20.30.40", 40000)
FINGERPRINT = "sha256:" + "ab" * 32

DATAPLANE = {
    "type": "Dataplane",
    "mesh": "default",
    "name": "web-1",
    "networking": {
        "address": "10.0.0.1",
        "inbound": [{"port": 8080, "tags": {"kuma.io/service": "web", "kuma.io/protocol": "http", "version": "v1"}}],
        "outbound": [{"port": 9000, "tags": {"kuma.io/service": "db"}}],
    },
}
TIMEOUT = {
    "type": "MeshTimeout",
    "mesh": "default",
    "name": "short",
    "spec": {"to": [{"targetRef": {"kind": "Mesh"}, "default": {"idleTimeout": "10s"}}]},
}


class NobodyConnected:
    """Answers for a control plane without proxies: every change has reached all of them."""

    async def progress(self, revision: int, wait: float, *, since: int) -> Progress:
        return Progress(revision, 0, 0, (), (), ())


class ConnectedProxies:
    """Answers as an Envoy would, for the proxies that are said to be connected."""

    def __init__(self) -> None:
        self.connected: set[str] = set()
        self.asked: list[tuple[str, str]] = []

    async def fetch(self, dataplane: Any, path: str) -> tuple[str, bytes]:
        name = dataplane.meta.name
        self.asked.append((name, path))
        if name not in self.connected:
            raise BadRequest(f'the proxy "{name}" is not connected to the control plane')
        return "text/html", f'{{"asked": "{path}"}}'.encode()


class KnownConfigs:
    """The configurations that proxies get."""

    def __init__(self) -> None:
        self.configs: dict[tuple[str, bool], Mapping[str, Any] | MeshError] = {}
        self.refused: dict[str, tuple[Refusal, ...]] = {}

    async def config(self, mesh: str, dataplane: str, *, shadow: bool) -> Mapping[str, Any]:
        if (dataplane, shadow) not in self.configs:
            raise NotFound(f'the proxy "{dataplane}" in mesh "{mesh}" never connected')
        found = self.configs[dataplane, shadow]
        if isinstance(found, MeshError):
            raise found
        return found

    def refusals(self, mesh: str) -> Mapping[str, tuple[Refusal, ...]]:
        return self.refused


@dataclass
class ControlPlane:
    """An API with everything behind it."""

    api: Api
    store: Store
    resources: Resources
    issuer: TokenIssuer
    envoys: ConnectedProxies
    configs: KnownConfigs
    registry: CollectorRegistry

    @asynccontextmanager
    async def client(self, caller: tuple[str, int] = LOCAL, **options: Any) -> AsyncIterator[httpx2.AsyncClient]:
        transport = httpx2.ASGITransport(self.api, client=caller, raise_app_exceptions=True)
        async with httpx2.AsyncClient(transport=transport, base_url="http://localhost:5681", **options) as client:
            yield client

    async def put_record(self, kind: str, mesh: str, name: str, spec: Any) -> None:
        """What the control plane itself writes."""
        put = Put(Key(kind, mesh, name), encode_spec(spec), owner=Key("Mesh", "", mesh) if mesh else None)
        await self.store.write([put], author=CONTROL_PLANE, now=now())

    async def connect(self, name: str, mesh: str = "default", **fields: Any) -> None:
        """A proxy's stream is open."""
        open_stream = {"id": "1", "connectTime": "2026-01-01T00:00:00Z"}
        insight = DataplaneInsight.model_validate({"subscriptions": [open_stream], **fields})
        await self.put_record("DataplaneInsight", mesh, name, insight)

    async def user_token(self, name: str, *groups: str) -> str:
        claims = UserClaims(name, groups)
        return await self.issuer.issue_user_token(claims, valid_for=timedelta(hours=1), now=now())


def now() -> datetime:
    """The clock of the tests is the real one: tokens are checked against it."""
    return datetime.now(UTC)


_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
_KEY_PEM = _KEY.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())


async def control_plane(
    config: Config | None = None, *, store: Store | None = None, answer_within: float = 10.0
) -> ControlPlane:
    """A control plane with the mesh ``default``."""
    config = config or Config()
    store = store or MemoryStore()
    signing = SigningKeys(store)
    resources = Resources(store, now, signing.observe)
    ids = (f"id-{number}" for number in itertools.count())
    enabled = {
        TokenKind.USER: config.api_server.authn.tokens.enable_issuer,
        TokenKind.DATAPLANE: config.dp_server.authn.dp_proxy.dp_token.enable_issuer,
        TokenKind.ZONE: config.dp_server.authn.zone_proxy.zone_token.enable_issuer,
    }
    issuer = TokenIssuer(signing, new_id=lambda: next(ids), enabled=enabled)
    verifier = TokenVerifier(signing)

    async def verify(token: str) -> UserClaims:
        return (await verifier.verify_user(token, now=now())).claims

    static = config.access.static
    envoys, configs, registry = ConnectedProxies(), KnownConfigs(), CollectorRegistry()
    backends = Backends(
        config=config,
        instance=Instance("host-1", "host-1-abcd", lambda: "11111111-2222-3333-4444-555555555555"),
        store=store,
        resources=resources,
        access=Access(static_access(static)),
        issuer=issuer,
        envoy_admin=envoys,
        inspector=configs,
        rollouts=NobodyConnected(),
        verify_user=verify,
        ca_fingerprint=lambda: FINGERPRINT,
        now=now,
        new_request_id=lambda: next(ids),
    )
    made = ControlPlane(
        rest_api(backends, registry, answer_within=answer_within), store, resources, issuer, envoys, configs, registry
    )
    mesh = {"type": "Mesh", "name": "default"}
    await resources.put(BY_NAME["Mesh"], "", "default", mesh, author=CONTROL_PLANE, allowed=lambda _: None)
    for kind, name in (("GlobalSecret", "user-token-signing-key-1"), ("GlobalSecret", "zone-token-signing-key-1")):
        await made.put_record(kind, "", name, Secret(data=_KEY_PEM))
    return made


def static_access(static: Any) -> StaticAccess:
    """The access lists of the settings, as the control plane reads them."""
    return StaticAccess(
        **{name: Allowed(**getattr(static, name).model_dump()) for name in StaticAccess.__dataclass_fields__}
    )
