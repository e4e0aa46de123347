"""Small services that say which instance answered: HTTP/1.1 and HTTP/2 on one port, raw TCP, gRPC.

They run in threads of the test, so that starting one costs nothing and stopping one is immediate.
"""

from __future__ import annotations

import contextlib
import socket
import socketserver
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Final, Protocol, Self

import grpc  # type: ignore[import-untyped] # grpcio ships no types
import h2.config
import h2.connection
import h2.events
import h2.exceptions

from tests.e2e.harness.ports import free_port

UNARY: Final = "/test.Echo/Once"
STREAM: Final = "/test.Echo/Thrice"
_PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_BUFFER: Final = 65536


class Application(Protocol):
    """Something that listens on a port of the loopback address."""

    name: str
    port: int

    def close(self) -> None:
        """End it; open connections end too."""


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128
    block_on_close = False

    def __init__(self, port: int, serve: Callable[[socket.socket], None]) -> None:
        self._serve = serve
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        super().__init__(("127.0.0.1", port), socketserver.BaseRequestHandler)
        # The short poll is how long `shutdown` may take.
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    def finish_request(self, request: object, client_address: object) -> None:
        assert isinstance(request, socket.socket)
        with self._lock:
            self._open.add(request)
        try:
            request.settimeout(60)
            self._serve(request)
        except OSError:
            pass  # the other end went away, or we did
        finally:
            with self._lock:
                self._open.discard(request)

    def end(self) -> None:
        self.shutdown()
        self.server_close()
        with self._lock:
            still_open = list(self._open)
        for connection in still_open:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


class _Restartable:
    """A server that can be ended and started again on its port."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.port = free_port()
        self._server: _Server | None = None
        self.start()

    def serve(self, connection: socket.socket) -> None:
        raise NotImplementedError

    def start(self) -> Self:
        self._server = _Server(self.port, self.serve)
        return self

    def close(self) -> None:
        if self._server:
            self._server.end()
            self._server = None


class TcpEcho(_Restartable):
    """Answers each chunk with its name and the chunk: ``name:chunk``."""

    def serve(self, connection: socket.socket) -> None:
        while chunk := connection.recv(_BUFFER):
            connection.sendall(self.name.encode() + b":" + chunk)


class HttpEcho(_Restartable):
    """Answers every request with its name; HTTP/1.1 or HTTP/2, whichever the client begins with.

    The header ``x-protocol`` of the answer says which, and ``x-seen-identity`` repeats what the proxy tells about
    the caller's certificate.
    """

    def serve(self, connection: socket.socket) -> None:
        start = b""
        while len(start) < len(_PREFACE) and _PREFACE.startswith(start):
            chunk = connection.recv(_BUFFER)
            if not chunk:
                return
            start += chunk
        if start.startswith(_PREFACE):
            self._serve_http2(connection, start)
        else:
            self._serve_http1(connection, start)

    def _serve_http1(self, connection: socket.socket, received: bytes) -> None:
        for head in _heads(connection, received):
            seen = _header(head, "x-forwarded-client-cert")
            body = self.name.encode()
            lines = (
                "HTTP/1.1 200 OK",
                f"content-length: {len(body)}",
                "x-protocol: HTTP/1.1",
                f"x-instance: {self.name}",
                f"x-seen-identity: {seen}",
            )
            connection.sendall("\r\n".join((*lines, "", "")).encode() + body)

    def _serve_http2(self, connection: socket.socket, received: bytes) -> None:
        state = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding="utf-8"))
        state.initiate_connection()
        connection.sendall(state.data_to_send())
        while received:
            try:
                events = state.receive_data(received)
            except h2.exceptions.ProtocolError:
                return
            for event in events:
                if isinstance(event, h2.events.RequestReceived) and event.stream_id:
                    headers = {str(k): str(v) for k, v in event.headers or ()}
                    answer = [
                        (":status", "200"),
                        ("x-protocol", "HTTP/2"),
                        ("x-instance", self.name),
                        ("x-seen-identity", headers.get("x-forwarded-client-cert", "")),
                    ]
                    state.send_headers(event.stream_id, answer)
                    state.send_data(event.stream_id, self.name.encode(), end_stream=True)
                elif isinstance(event, h2.events.DataReceived):
                    state.acknowledge_received_data(event.flow_controlled_length or 0, event.stream_id or 0)
            connection.sendall(state.data_to_send())
            received = connection.recv(_BUFFER)


def _heads(connection: socket.socket, received: bytes) -> Iterator[str]:
    """The heads of the requests on a connection; bodies are read and dropped."""
    while True:
        while b"\r\n\r\n" not in received:
            chunk = connection.recv(_BUFFER)
            if not chunk:
                return
            received += chunk
        raw, _, received = received.partition(b"\r\n\r\n")
        head = raw.decode("latin-1")
        missing = int(_header(head, "content-length") or 0) - len(received)
        while missing > 0:
            chunk = connection.recv(_BUFFER)
            if not chunk:
                return
            received += chunk
            missing -= len(chunk)
        received = received[int(_header(head, "content-length") or 0) :]
        yield head


def _header(head: str, name: str) -> str:
    for line in head.split("\r\n")[1:]:
        key, _, value = line.partition(":")
        if key.strip().lower() == name:
            return value.strip()
    return ""


class GrpcEcho:
    """A unary method and one that streams three answers; each is ``name:request``."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.port = free_port()
        self._server = grpc.server(ThreadPoolExecutor(4), options=[("grpc.so_reuseport", 0)])
        self._server.add_generic_rpc_handlers((_Methods(name),))
        self._server.add_insecure_port(f"127.0.0.1:{self.port}")
        self._server.start()

    def close(self) -> None:
        self._server.stop(grace=None).wait(5)


class _Methods(grpc.GenericRpcHandler):  # type: ignore[misc] # grpcio ships no types
    def __init__(self, name: str) -> None:
        self._name = name.encode()

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> object:
        match handler_call_details.method:
            case "/test.Echo/Once":
                return grpc.unary_unary_rpc_method_handler(lambda request, _: self._name + b":" + request)
            case "/test.Echo/Thrice":
                return grpc.unary_stream_rpc_method_handler(
                    lambda request, _: (self._name + b":" + request for _ in range(3))
                )
        return None
