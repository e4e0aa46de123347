"""``POST /bootstrap``: what kuma-dp asks before it starts Envoy (spec/dataplane.md §2)."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

import structlog

from kuma.core.errors import BadRequest, InvalidResource, MeshError, NotFound, TooLarge
from kuma.core.model.codec import decode_json, decode_spec
from kuma.core.model.resource import Key, Meta, Resource, definition
from kuma.core.model.text import parse_document
from kuma.core.resources.dataplane import facts
from kuma.core.resources.dataplane.spec import Dataplane
from kuma.core.resources.mesh import membership
from kuma.core.resources.mesh.spec import Mesh, MeshServicesMode
from kuma.core.xds.bootstrap import (
    MAX_REQUEST_BYTES,
    BootstrapParams,
    BootstrapRequest,
    ProxyFacts,
    bootstrap,
    response,
    to_yaml,
)
from kuma.core.xds.node import ProxyType
from kuma.cp.certificates.server import ServerTls
from kuma.cp.reconcile.registration import META_FIELDS
from kuma.cp.server.dp.grpc import Exchange, Scope
from kuma.cp.server.dp.http import TEXT, body
from kuma.cp.store.port import Store

PATH: Final = "/bootstrap"
_READ_SECONDS: Final = 10
_JSON_TYPE: Final = "application/json"

log = structlog.get_logger("bootstrap")


class BootstrapServer:
    """
    Answers bootstrap requests.

    ``certificate`` is what the server shows now: its CA goes to proxies that bring none, and a proxy that reached the
    server by a name that is not in it could not verify it. Names do not matter when a host is configured for all
    proxies (``bootstrapServer.params.xdsHost``). ``zone`` is the one that proxies are tagged with.
    """

    def __init__(self, store: Store, params: BootstrapParams, certificate: Callable[[], ServerTls], zone: str) -> None:
        self._store = store
        self._zone = zone
        self._params = params
        self._certificate = certificate

    async def serve(self, scope: Scope, exchange: Exchange) -> None:
        """One request. A refusal has a text that kuma-dp shows; "not yet" has none, and kuma-dp tries again."""
        try:
            async with asyncio.timeout(_READ_SECONDS):
                request = BootstrapRequest.from_json(await body(exchange, MAX_REQUEST_BYTES))
            text, address = await self._bootstrap(request, scope)
        except NotFound:
            exchange.response_empty(404, [])
        except (InvalidResource, TooLarge) as error:
            log.warning("bootstrap refused", address=scope.client, reason=str(error))
            exchange.response_bytes(422, TEXT, str(error).encode())
        except BadRequest as error:
            log.warning("bootstrap refused", address=scope.client, reason=str(error))
            exchange.response_bytes(400, TEXT, str(error).encode())
        except TimeoutError:
            exchange.response_empty(408, [])
        except MeshError as error:
            log.error("bootstrap failed", address=scope.client, reason=str(error))
            exchange.response_empty(500, [])
        else:
            if scope.headers.get("accept") == _JSON_TYPE:
                exchange.response_bytes(200, [("content-type", _JSON_TYPE)], response(text, address))
            else:
                exchange.response_bytes(200, [("content-type", "text/x-yaml")], text.encode())

    async def _bootstrap(self, request: BootstrapRequest, scope: Scope) -> tuple[str, str]:
        """The bootstrap as YAML, and the proxy's address."""
        host = _without_port(scope.authority or str(scope.headers.get("host", "")))
        tls = self._certificate()
        if not self._params.xds_host and not any(_covers(name, host) for name in tls.names):
            names = ", ".join(sorted(tls.names))
            raise BadRequest(
                f"A data plane proxy is trying to connect to the control plane using {host!r} address, but the "
                f"certificate in the control plane has the following SANs [{names}]. Either change the --cp-address "
                "in kuma-dp to one of those, or generate a certificate for the control plane that contains this name"
            )
        if request.proxy_type is not ProxyType.DATAPLANE:
            raise InvalidResource.of("proxyType", f"{request.proxy_type.value} is not supported yet; use dataplane")
        mesh = await self._mesh(request.mesh)
        dataplane = await self._dataplane(request)
        exclusive = _services_mode(mesh) is MeshServicesMode.EXCLUSIVE
        # Judged again when the proxy joins; here the reason reaches the person who starts it.
        tagged = facts.with_zone_tag(dataplane, self._zone, untagged=not exclusive)
        refused = tuple(membership.refusals(request.mesh, mesh, tagged))
        if refused:
            raise InvalidResource(refused)
        found = facts.gateway(dataplane)
        net = facts.networking(dataplane)
        proxy = ProxyFacts(
            services=facts.service_tags(dataplane),
            admin_port=net.admin.port if net.admin else 0,
            builtin_gateway=found is not None and facts.is_builtin_gateway(dataplane),
            exclusive_mesh_services=exclusive,
        )
        if net.outbound and (net.transparent_proxying is not None or request.dataplane_config):
            raise InvalidResource.of("outbound", "should be empty since dataplane is in Transparent Proxying mode")
        params = replace(self._params, ca=tls.ca_pem.decode())
        if not params.xds_host:
            params = replace(params, xds_host=host, xds_host_ipv4_only=await _ipv4_only(host))
        return to_yaml(bootstrap(request, params, proxy)), net.address

    async def _mesh(self, name: str) -> Mesh:
        """The mesh of that name; an empty one where none is named, which is refused later, with what else is wrong."""
        record = await self._store.find(Key("Mesh", "", name))
        if name and record is None:
            raise InvalidResource.of("mesh", f'mesh "{name}" does not exist')
        found: Mesh = decode_spec("Mesh", record.spec) if record is not None else Mesh()
        return found

    async def _dataplane(self, request: BootstrapRequest) -> Dataplane:
        """The Dataplane in the request, else the stored one. Raises ``NotFound`` when there is neither."""
        if not request.dataplane_resource:
            record = await self._store.get(Key("Dataplane", request.mesh, request.name))
            stored: Dataplane = decode_spec("Dataplane", record.spec)
            return stored
        document: Any = parse_document(request.dataplane_resource)
        if not isinstance(document, dict):
            raise InvalidResource.of("dataplaneResource", "is not an object")
        for field, value in (("mesh", request.mesh), ("name", request.name)):
            if document.get(field) != value:
                raise InvalidResource.of(field, f"the proxy says {value!r}, its dataplane resource says otherwise")
        brought: Dataplane = decode_json("Dataplane", {k: v for k, v in document.items() if k not in META_FIELDS})
        meta = Meta(Key("Dataplane", request.mesh, request.name))
        violations = tuple(definition("Dataplane").validate(Resource(meta, brought)))
        if violations:
            raise InvalidResource(violations)
        return brought


def _covers(name: str, host: str) -> bool:
    """Whether a certificate's name holds for a host; ``*.example.com`` holds for one label more."""
    if name.startswith("*."):
        return host.partition(".")[2].lower() == name[2:].lower()
    return name.lower() == host.lower()


def _services_mode(mesh: Mesh) -> MeshServicesMode:
    services = mesh.mesh_services
    return services.mode if services is not None else MeshServicesMode.DISABLED


def _without_port(authority: str) -> str:
    """``cp.example:5678`` is ``cp.example``, ``[::1]:5678`` is ``::1``."""
    if authority.startswith("["):
        return authority[1:].partition("]")[0]
    return authority.rpartition(":")[0] if authority.count(":") == 1 else authority


async def _ipv4_only(host: str) -> bool:
    """Whether a DNS name resolves to IPv4 addresses only; Envoy then need not ask for IPv6."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        if host == "localhost":
            return False
        try:
            found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
        except OSError:
            return False
        return all(family == socket.AF_INET for family, *_ in found)
    return False
