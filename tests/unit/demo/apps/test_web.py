"""The front end, with what it calls on real ports."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from kuma.demo.apps.web import Call, Shop, page


class _Once:
    """Answers each connection with the same bytes."""

    def __init__(self, answer: bytes) -> None:
        self._answer = answer
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with connection:
                connection.recv(4096)
                connection.sendall(self._answer)

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


@pytest.fixture
def answering() -> Iterator:
    """Makes services; they end with the test."""
    made: list[_Once] = []

    def make(answer: bytes) -> int:
        made.append(_Once(answer))
        return made[-1].port

    yield make
    for one in made:
        one.close()


def _http(status: str, body: str) -> bytes:
    return f"HTTP/1.1 {status}\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n{body}".encode()


GREETING = _http("200 OK", '{"instance": "api-2", "caller": "spiffe://default/web"}')


def test_both_answer(answering):
    """The instance, the caller as the API saw it, and the number of the visit."""
    api, kv = Shop(answering(GREETING), answering(b"42\n")).visit()

    assert (api.answer, api.caller, api.error) == ("api-2", "spiffe://default/web", "")
    assert (kv.answer, kv.error) == ("42", "")
    assert api.seconds > 0


@pytest.mark.parametrize(
    "greeting, line, errors",
    [
        (_http("403 Forbidden", "RBAC: access denied"), b"1\n", ("403 RBAC: access denied", "")),
        (_http("200 OK", "[]"), b"1\n", ("the answer is not what the API says", "")),
        (GREETING, b"", ("", "the connection was closed without an answer")),
        (GREETING, b"ERR say INCR key or GET key\n", ("", "ERR say INCR key or GET key")),
    ],
)
def test_each_failure_is_told_beside_the_other_result(answering, greeting, line, errors):
    """One service that fails does not hide what the other did."""
    calls = Shop(answering(greeting), answering(line)).visit()

    assert tuple(call.error for call in calls) == errors


def test_nobody_listens(answering):
    """The system's own words."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]

    api, kv = Shop(port, port).visit()

    assert api.error == kv.error == "Connection refused"


def test_the_page_escapes_what_others_say():
    """A service cannot put markup into the page."""
    shown = page((Call("api", 0.1, "<script>", ""), Call("kv", 0.1, error="<b>")))

    assert "<script>" not in shown
    assert "&lt;b&gt;" in shown
    assert "without mutual TLS" in shown
