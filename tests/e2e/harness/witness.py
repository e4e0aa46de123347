"""A service that remembers what reached it, so that a test can tell what proxies did to requests on their way."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Witness:
    """
    An HTTP/1.1 service that says its name and remembers the requests that reached it.

    Paths that end with ``/slow`` are not answered, those that end with ``/flaky`` well only every third time.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.seen: list[tuple[str, Mapping[str, str]]] = []
        self._ended = threading.Event()
        witness = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                witness.seen.append((self.path, {key.lower(): value for key, value in self.headers.items()}))
                if self.path.endswith("/slow"):
                    witness._ended.wait(30)  # its own handler
                times = sum(path == self.path for path, _ in witness.seen)
                self.send_response(500 if self.path.endswith("/flaky") and times % 3 else 200)
                for key, value in (("content-length", str(len(name))), ("x-secret", "s"), ("x-kept", "k")):
                    self.send_header(key, value)
                self.end_headers()
                self.wfile.write(name.encode())

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers.get("content-length", 0)))
                self.do_GET()

            def log_message(self, format: str, *args: object) -> None:  # the name is the base class's
                """Tests are quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.handle_error = lambda request, client_address: None  # type: ignore[method-assign] # callers may leave
        self.port: int = self._server.server_port
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self._ended.set()
        self._server.shutdown()
        self._server.server_close()
