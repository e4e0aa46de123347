"""A control plane that only knows how to answer ``POST /bootstrap``, over real TLS, on loopback."""

from __future__ import annotations

import asyncio
import hashlib
import json
import ssl
import tempfile
import threading
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Self

import trustme
import yaml

Answer = tuple[int, bytes]
AUTHORITY = trustme.CA()
OTHER_AUTHORITY = trustme.CA()


def pem(authority: trustme.CA = AUTHORITY) -> str:
    """The authority's certificate."""
    return authority.cert_pem.bytes().decode()


def fingerprint(authority: trustme.CA = AUTHORITY) -> str:
    """As the control plane writes it into tokens."""
    return "sha256:" + hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem(authority))).hexdigest()


def token(**claims: object) -> str:
    """A token; nobody here checks the signature."""
    parts = [{"alg": "RS256", "kid": "1", "typ": "JWT"}, {"Name": "", "Mesh": "default"} | claims]
    encoded = [urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts]
    return ".".join([*encoded, "c2lnbmF0dXJl"])


def plain_bootstrap(request: dict) -> bytes:
    """A configuration for an Envoy that talks to nobody; its admin interface is on a socket in the work directory."""
    path = f"{request['workdir']}/kuma-envoy-admin.sock"
    return yaml.safe_dump({"admin": {"address": {"pipe": {"path": path, "mode": 0o600}}}}).encode()


def accepted(bootstrap: bytes) -> Answer:
    """What the control plane answers to a proxy that may join."""
    sidecar = {"networking": {"address": "127.0.0.1", "corefileTemplate": None}, "metrics": {"aggregate": []}}
    answer = {"bootstrap": b64encode(bootstrap).decode(), "kumaSidecarConfiguration": sidecar}
    return 200, json.dumps(answer).encode()


async def finished(writer: asyncio.StreamWriter) -> None:
    """Close a connection, and be sure it is closed when the test ends."""
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()


class ControlPlane:
    """Answers as told, and remembers what it was asked."""

    def __init__(
        self,
        respond: Callable[[dict], Answer] = lambda request: accepted(plain_bootstrap(request)),
        *,
        authority: trustme.CA = AUTHORITY,
        shown: trustme.CA | None = None,
        host: str = "localhost",
        tls: bool = True,
    ) -> None:
        self.respond = respond
        self.requests: list[dict] = []
        self.farewell: Callable[[str, str], Answer] = lambda _node, _token: (404, b"404: Page Not Found")
        """What a draining proxy is answered; Kuma's own control plane does not know the path."""
        self.bytes_received = 0
        control_plane = self

        class Handler(BaseHTTPRequestHandler):
            timeout = 5

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                control_plane.bytes_received += len(body)
                status, answer = self._answer(body)
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def _answer(self, body: bytes) -> Answer:
                if self.path == "/drain":
                    return control_plane.farewell(body.decode(), self.headers.get("authorization", ""))
                if self.path != "/bootstrap":
                    return 404, b"404: Page Not Found"
                control_plane.requests.append(json.loads(body))
                return control_plane.respond(control_plane.requests[-1])

            def log_message(self, *_: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            def handle_error(self, *_: object) -> None:
                pass  # clients that break off are what some tests are about

        self._server = Server(("127.0.0.1", 0), Handler)
        if tls:
            self._server.socket = _context(authority, shown or authority, host).wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def _context(authority: trustme.CA, shown: trustme.CA, host: str) -> ssl.SSLContext:
    """A server certificate for the host, and a chain that ends in the CA that is shown."""
    leaf = authority.issue_cert(host)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory() as folder:
        chain = Path(folder, "chain.pem")
        key = Path(folder, "key.pem")
        chain.write_bytes(leaf.cert_chain_pems[0].bytes() + shown.cert_pem.bytes())
        key.write_bytes(leaf.private_key_pem.bytes())
        context.load_cert_chain(chain, key)
    return context
