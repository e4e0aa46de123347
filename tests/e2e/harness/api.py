"""The REST API, called as a script would: plain requests, plain answers."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, headers and body of a response."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode(errors="replace")

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True, slots=True)
class Api:
    """
    One HTTP server on a port of the loopback address.

    ``host`` is another address of it; ``open`` makes the connection, from wherever.
    """

    port: int
    timeout: float = 20
    host: str = "127.0.0.1"
    open: Callable[[tuple[str, int], float], socket.socket] = socket.create_connection

    def request(
        self, method: str, path: str, body: bytes | str | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        connection = http.client.HTTPConnection(self.host, self.port, timeout=self.timeout)
        try:
            connection.sock = self.open((self.host, self.port), self.timeout)
            content = body.encode(errors="surrogatepass") if isinstance(body, str) else body
            connection.request(method, path, body=content, headers=dict(headers or {}))
            response = connection.getresponse()
            return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
        except http.client.HTTPException as error:
            raise ConnectionError(f"{method} {path[:80]}: {type(error).__name__}: {error}") from error
        finally:
            connection.close()

    def get(self, path: str) -> Any:
        """
        The JSON at a path.

        Raises:
            AssertionError: the answer is no success.
        """
        answer = self.request("GET", path, headers={"accept": "application/json"})
        assert answer.status == 200, f"GET {path}: {answer.status} {answer.text[:500]}"
        return answer.json

    def put(self, path: str, document: Mapping[str, Any]) -> Answer:
        """Create or replace; any status is an answer."""
        return self.request("PUT", path, json.dumps(document), {"content-type": "application/json"})

    def post(self, path: str, document: Mapping[str, Any]) -> Answer:
        return self.request("POST", path, json.dumps(document), {"content-type": "application/json"})

    def delete(self, path: str) -> Answer:
        return self.request("DELETE", path)
