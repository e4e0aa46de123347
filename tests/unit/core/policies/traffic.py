"""Traffic through a real Envoy: an application that answers, and clients with and without a certificate."""

import socket
import ssl
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread


class _Hello(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.send_response(200)
        self.send_header("content-length", "5")
        self.end_headers()
        self.wfile.write(b"hello")

    def log_message(self, *_):
        """Tests are quiet."""


@contextmanager
def application() -> Iterator[int]:
    """An application that answers every request; the port it listens on."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Hello)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class Answer:
    """Status and headers of a response."""

    def __init__(self, head: bytes) -> None:
        first, *lines = head.decode().split("\r\n\r\n", 1)[0].split("\r\n")
        self.status = int(first.split()[1])
        self.headers = [tuple(line.lower().split(": ", 1)) for line in lines]

    def all(self, name: str) -> list[str]:
        """Every value of a header."""
        return [value for key, value in self.headers if key == name]


def get(port: int, path: str = "/", headers: dict[str, str] | None = None, authority=None, uris=()) -> Answer:
    """One request; with URIs it is made with a certificate that carries them."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
    request = f"GET {path} HTTP/1.1\r\nhost: backend\r\n{lines}connection: close\r\n\r\n"
    with ExitStack() as stack:
        line: socket.socket = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=20))
        if uris:
            context = ssl.create_default_context(cafile=str(authority.root))
            context.check_hostname = False
            context.load_cert_chain(*authority.certificate(*uris))
            line = stack.enter_context(context.wrap_socket(line, server_hostname="backend.mesh"))
        line.sendall(request.encode())
        return Answer(line.recv(65536))
