"""One HTTP connection for many requests, from whichever host, as a program that asks a lot keeps it."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Callable, Mapping

from tests.e2e.harness.api import Answer


class Line:
    """Opened again when the server has closed it."""

    def __init__(
        self,
        open: Callable[[tuple[str, int], float], socket.socket],
        host: str,
        port: int,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self._open = open
        self._address = (host, port)
        self._headers = dict(headers or {})
        self._connection = http.client.HTTPConnection(host, port, timeout=20)

    def request(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        if self._connection.sock is None:
            self._connection.sock = self._open(self._address, 20)
            self._connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # as http.client does itself
        self._connection.request(method, path, body, {**self._headers, **(headers or {})})
        response = self._connection.getresponse()
        answer = Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
        if response.will_close:
            self.close()
        return answer

    def close(self) -> None:
        self._connection.close()
