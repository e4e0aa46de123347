"""Clients of the small services. Each call opens a connection of its own, as the unluckiest client would."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import grpc  # type: ignore[import-untyped] # grpcio ships no types
import httpx2

from tests.e2e.harness.applications import STREAM, UNARY

_SECONDS: Final = 10


class CallFailed(AssertionError):
    """A call got no answer, or one that is no success."""


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """A successful or refused HTTP call."""

    status: int
    body: str
    headers: Mapping[str, str]


def http1_answer(
    port: int,
    path: str = "/",
    headers: Mapping[str, str] | None = None,
    *,
    method: str = "GET",
    seconds: float = _SECONDS,
) -> HttpAnswer:
    """Any answer to an HTTP/1.1 request."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=seconds)
    try:
        connection.request(method, path, headers={"connection": "close", **(headers or {})})
        response = connection.getresponse()
        found = {name.lower(): value for name, value in response.getheaders()}
        return HttpAnswer(response.status, response.read().decode(errors="replace"), found)
    except (OSError, http.client.HTTPException) as error:
        raise CallFailed(f"{type(error).__name__}: {error}") from error
    finally:
        connection.close()


def http1(port: int) -> str:
    """Which instance answers over HTTP/1.1."""
    return _successful(http1_answer(port))


def http2_answer(port: int) -> HttpAnswer:
    """Any answer over HTTP/2 without TLS."""
    try:
        with httpx2.Client(http1=False, http2=True, timeout=_SECONDS, trust_env=False, verify=False) as client:
            response = client.get(f"http://127.0.0.1:{port}/")
            assert response.http_version == "HTTP/2"
            return HttpAnswer(response.status_code, response.text, dict(response.headers))
    except httpx2.HTTPError as error:
        raise CallFailed(f"{type(error).__name__}: {error}") from error


def http2(port: int) -> str:
    """Which instance answers over HTTP/2."""
    return _successful(http2_answer(port))


def _successful(answer: HttpAnswer) -> str:
    if answer.status != 200:
        raise CallFailed(f"{answer.status} {answer.body[:200]}")
    return answer.body


def tcp(port: int, text: str = "hello") -> str:
    """Which instance answers to raw bytes; two exchanges on one connection."""
    try:
        with socket.create_connection(("127.0.0.1", port), _SECONDS) as connection:
            names = {_exchange(connection, text) for text in (text, text[::-1])}
    except OSError as error:
        raise CallFailed(f"{type(error).__name__}: {error}") from error
    if len(names) != 1:
        raise CallFailed(f"one connection was answered by {names}")
    return names.pop()


def _exchange(connection: socket.socket, text: str) -> str:
    connection.sendall(text.encode())
    answer = b""
    while not answer.endswith(b":" + text.encode()):
        chunk = connection.recv(4096)
        if not chunk:
            raise CallFailed(f"the connection was closed after {answer!r}")
        answer += chunk
    return answer.decode().partition(":")[0]


def grpc_unary(port: int) -> str:
    """Which instance answers a unary call."""
    with _channel(port) as channel:
        return _names([_called(channel.unary_unary(UNARY), b"ping")])


def grpc_stream(port: int) -> str:
    """Which instance answers a call with three messages."""
    with _channel(port) as channel:
        try:
            answers = list(channel.unary_stream(STREAM)(b"ping", timeout=_SECONDS))
        except grpc.RpcError as error:
            raise CallFailed(_told(error)) from error
    if len(answers) != 3:
        raise CallFailed(f"{len(answers)} of 3 messages came")
    return _names(answers)


def _channel(port: int) -> grpc.Channel:
    options = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0)]
    return grpc.insecure_channel(f"127.0.0.1:{port}", options=options)


def _called(method: grpc.UnaryUnaryMultiCallable, request: bytes) -> bytes:
    try:
        answer: bytes = method(request, timeout=_SECONDS)
    except grpc.RpcError as error:
        raise CallFailed(_told(error)) from error
    return answer


def _told(error: grpc.RpcError) -> str:
    return f"{error.code().name}: {error.details()}" if isinstance(error, grpc.Call) else str(error)


def _names(answers: list[bytes]) -> str:
    names = {answer.decode().partition(":")[0] for answer in answers}
    assert len(names) == 1, names
    return names.pop()
