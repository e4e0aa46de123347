"""What the two HTTP services share: a server on a loopback port that keeps connections open."""

from __future__ import annotations

from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar, Final, TypeVar

_IDLE_SECONDS: Final = 60

A = TypeVar("A")


class Handler(BaseHTTPRequestHandler):
    """Answers one connection; subclasses answer ``do_GET``."""

    protocol_version = "HTTP/1.1"
    timeout = _IDLE_SECONDS
    server_version = "kuma-demo"
    sys_version = ""
    app: ClassVar[Any]

    def answer(self, status: int, content_type: str, text: str) -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("content-type", f"{content_type}; charset=utf-8")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Twenty requests a second are no news."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


def serve(handler: type[Handler], app: object, port: int) -> None:
    """Serve until the process is ended."""
    bound = type(handler.__name__, (handler,), {"app": app})
    with _Server(("127.0.0.1", port), bound) as server:
        server.serve_forever()
