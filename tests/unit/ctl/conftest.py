"""A small real HTTP server with canned answers, and kumactl pointed at it."""

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from click.testing import CliRunner, Result

from kuma.core.version import COMPATIBLE_VERSION, PRODUCT
from kuma.ctl.cli import root
from kuma.ctl.session import Session

INDEX = {"product": PRODUCT, "version": COMPATIBLE_VERSION, "hostname": "cp"}
NOW = 1_700_000_000.0  # 2023-11-14T22:13:20Z


@dataclass
class Asked:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    connection: int

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class ControlPlaneDouble:
    """Answers what it was told to answer; anything else is the API's 404."""

    url: str = ""
    answers: dict[tuple[str, str], tuple[int, bytes, dict[str, str]]] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)

    def answer(
        self, method: str, path: str, body: Any, status: int = 200, headers: dict[str, str] | None = None
    ) -> None:
        content = body if isinstance(body, bytes) else json.dumps(body, indent=1).encode()
        self.answers[method, path] = (status, content, headers or {"content-type": "application/json"})

    def refuse(self, method: str, path: str, status: int, title: str, detail: str, **fields: str) -> None:
        body = {
            "status": status,
            "title": title,
            "detail": detail,
            "invalid_parameters": [{"field": key, "reason": reason} for key, reason in fields.items()],
        }
        self.answer(method, path, body, status)

    def requests(self) -> list[str]:
        """What was asked, without the question for the version that comes first."""
        return [f"{asked.method} {asked.path}" for asked in self.asked if asked.path != "/"]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    double: ControlPlaneDouble

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        headers = {key.lower(): value for key, value in self.headers.items()}
        self.double.asked.append(Asked(self.command, self.path, headers, body, self.client_address[1]))
        default = (404, b"404: Page Not Found", {"content-type": "text/plain"})
        status, content, headers = self.double.answers.get((self.command, self.path), default)
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        with contextlib.suppress(OSError):  # a client may have had enough
            self.wfile.write(content)

    do_GET = do_PUT = do_POST = do_DELETE = _serve  # noqa: N815 - the base class's names

    def log_message(self, *args: Any) -> None:
        pass


class _Server(ThreadingHTTPServer):
    def handle_error(self, *args: Any) -> None:
        """Clients that break a connection are part of the tests."""


def serve(wrap: Callable[[ThreadingHTTPServer], None] = lambda _: None) -> Iterator[ControlPlaneDouble]:
    """A control plane on a free port of loopback, until the generator is closed."""
    double = ControlPlaneDouble()
    handler = type("Handler", (_Handler,), {"double": double})
    server = _Server(("127.0.0.1", 0), handler)
    wrap(server)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    double.url = f"http://127.0.0.1:{server.server_port}"
    double.answer("GET", "/", INDEX)
    try:
        yield double
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def cp() -> Iterator[ControlPlaneDouble]:
    """A control plane on plain HTTP."""
    yield from serve()


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A user's home without a configuration file."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def bare(home) -> Callable[..., Result]:
    """The kumactl of a user who never used it."""

    def run(*args: str, given: str | bytes | None = None) -> Result:
        session = Session(clock=lambda: NOW)
        return CliRunner().invoke(root, [str(arg) for arg in args], input=given, obj=session)

    return run


@pytest.fixture
def kumactl(cp, bare, home) -> Callable[..., Result]:
    """A kumactl whose active control plane is the double."""
    folder = home / ".kumactl"
    folder.mkdir()
    (folder / "config").write_text(
        f"controlPlanes: [{{name: test, coordinates: {{apiServer: {{url: '{cp.url}'}}}}}}]\n"
        "contexts: [{name: test, controlPlane: test}]\ncurrentContext: test\n"
    )
    return bare
