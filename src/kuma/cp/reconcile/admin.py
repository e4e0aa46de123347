"""The admin interface of a connected proxy's Envoy, as the control plane reaches it.

A proxy listens for it on its own address with mutual TLS; only a certificate of the control plane is let in. On the
control plane's own host, where a proxy has a loopback address, the admin socket itself is used.
"""

from __future__ import annotations

import ssl
import tempfile
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import httpx2
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import ExtendedKeyUsageOID

from kuma.core.errors import BadRequest
from kuma.core.model.resource import Resource
from kuma.core.resources.dataplane import facts
from kuma.core.resources.dataplane.spec import Dataplane
from kuma.core.xds.admin import CLIENT_NAME
from kuma.core.xds.names import host_port
from kuma.core.xds.view import AdminView
from kuma.cp.ca.authority import CertificateAuthority, print_key, sign_leaf
from kuma.cp.reconcile.streams import Streams

_TIMEOUT_SECONDS: Final = 10.0
_CLIENT_LIFETIME: Final = timedelta(hours=1)
_MAX_ANSWER: Final = 256 * 1024 * 1024
Clock = Callable[[], datetime]


class EnvoyAdminClient:
    """Fetches from admin interfaces. ``authority`` is the CA behind all of them."""

    def __init__(self, streams: Streams, authority: CertificateAuthority, clock: Clock) -> None:
        self._streams = streams
        self._authority = authority
        self._clock = clock
        self._context: tuple[ssl.SSLContext, datetime] | None = None

    async def fetch(self, dataplane: Resource[Dataplane], path: str) -> tuple[str, bytes]:
        """
        GET a path: content type and body.

        Raises:
            BadRequest: the proxy is not connected here, has no admin interface, or does not answer.
        """
        stream = self._streams.get(dataplane.meta.key)
        name = dataplane.meta.name
        if stream is None:
            raise BadRequest(
                f'the proxy "{name}" is not connected to this control plane, so its Envoy cannot be asked; '
                f'see "kumactl inspect dataplanes" and the log of its kuma-dp'
            )
        if stream.traits.admin is None:
            raise BadRequest(f'the proxy "{name}" has no admin interface: it was started with admin port 0')
        # The plan has the address that the proxy listens on; what a user wrote may be a DNS name.
        known = stream.plan.proxy.resource if stream.plan is not None else dataplane
        address = facts.networking(known.spec).address
        try:
            return await self._get(stream.traits.admin, address, path)
        except (httpx2.HTTPError, OSError) as error:
            raise BadRequest(f'the admin interface of the proxy "{name}" does not answer: {error!r}') from error

    async def _get(self, admin: AdminView, address: str, path: str) -> tuple[str, bytes]:
        if address != admin.admin_address:
            base, transport = f"https://{host_port(address, admin.port)}", httpx2.AsyncHTTPTransport(verify=self._tls())
        elif admin.socket_path:
            base, transport = "http://localhost", httpx2.AsyncHTTPTransport(uds=admin.socket_path)
        else:
            base, transport = f"http://{host_port(admin.admin_address, admin.port)}", httpx2.AsyncHTTPTransport()
        async with (
            httpx2.AsyncClient(transport=transport, timeout=_TIMEOUT_SECONDS, trust_env=False) as client,
            client.stream("GET", base + path) as answer,
        ):
            body = bytearray()
            async for chunk in answer.aiter_bytes():
                body += chunk
                if len(body) > _MAX_ANSWER:
                    raise BadRequest(f"the answer of the proxy's admin interface is over {_MAX_ANSWER} bytes")
            return answer.headers.get("content-type", "text/plain"), bytes(body)

    def _tls(self) -> ssl.SSLContext:
        """A context with a fresh client certificate; it is made again before the certificate ends."""
        now = self._clock()
        if self._context is not None and self._context[1] > now:
            return self._context[0]
        ends = now + _CLIENT_LIFETIME
        usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
        leaf, key = sign_leaf(self._authority, [x509.DNSName(CLIENT_NAME)], usage, not_after=ends, now=now)
        context = ssl.create_default_context(cadata=self._authority.pem.decode())
        with tempfile.TemporaryDirectory(prefix="kuma-cp-") as folder:
            # The ssl module loads keys from files only; the folder is readable by us alone and gone at once.
            pair = Path(folder) / "client.pem"
            pair.touch(mode=0o600)
            pair.write_bytes(leaf.public_bytes(serialization.Encoding.PEM) + print_key(key))
            context.load_cert_chain(pair)
        self._context = (context, now + _CLIENT_LIFETIME / 2)
        return context
