"""The web front end: each visit asks the API for a greeting and counts itself in the key-value store.

Both are called on loopback ports where this service's proxy listens; where they really are, and that the way there is
encrypted, the front end does not know. A browser gets a page. Who accepts ``application/json`` gets what each call
took and how it ended: that is what the demo measures.
"""

from __future__ import annotations

import argparse
import html
import http.client
import json
import socket
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Final

from kuma.demo.apps.serving import Handler, serve

_SECONDS: Final = 5
_LONGEST_ANSWER: Final = 4096


@dataclass(frozen=True, slots=True)
class Call:
    """One call to another service; ``error`` is empty when it succeeded."""

    to: str
    seconds: float
    answer: str = ""
    caller: str = ""
    error: str = ""


class CallFailed(Exception):
    """The other service did not answer as it should; the text says how."""


@dataclass(frozen=True, slots=True)
class Shop:
    """Where the services that the front end needs are called."""

    api_port: int
    kv_port: int

    def visit(self) -> tuple[Call, Call]:
        return _timed("api", self._greeting), _timed("kv", self._count)

    def _greeting(self) -> tuple[str, str]:
        """The instance that answers, and who it says called."""
        connection = http.client.HTTPConnection("127.0.0.1", self.api_port, timeout=_SECONDS)
        try:
            connection.request("GET", "/greeting", headers={"host": "api"})
            response = connection.getresponse()
            text = response.read(_LONGEST_ANSWER).decode(errors="replace")
        finally:
            connection.close()
        if response.status != 200:
            raise CallFailed(f"{response.status} {text.strip()[:120]}")
        greeting = json.loads(text)
        return str(greeting["instance"]), str(greeting["caller"])

    def _count(self) -> tuple[str, str]:
        """Which visit this is."""
        with socket.create_connection(("127.0.0.1", self.kv_port), _SECONDS) as connection:
            connection.sendall(b"INCR visits\n")
            with connection.makefile("r", encoding="ascii", errors="replace") as lines:
                line = lines.readline(_LONGEST_ANSWER).strip()
        if not line:
            raise CallFailed("the connection was closed without an answer")
        if not line.isdecimal():
            raise CallFailed(line[:120])
        return line, ""


def _timed(to: str, call: Callable[[], tuple[str, str]]) -> Call:
    begun = time.perf_counter()
    answer = caller = error = ""
    try:
        answer, caller = call()
    except CallFailed as failure:
        error = str(failure)
    except TimeoutError:
        error = f"no answer within {_SECONDS} s"
    except (OSError, http.client.HTTPException) as failure:
        error = getattr(failure, "strerror", "") or str(failure) or type(failure).__name__
    except (ValueError, LookupError, TypeError):
        error = "the answer is not what the API says"
    return Call(to, time.perf_counter() - begun, answer, caller, error)


def page(calls: tuple[Call, Call]) -> str:
    """What a person sees."""
    api, kv = calls
    greeting = f"answered by <b>{html.escape(api.answer)}</b>" if not api.error else html.escape(f"failed: {api.error}")
    identity = f"who was called by <b>{html.escape(api.caller)}</b>" if api.caller else "without mutual TLS"
    visits = f"visit <b>{html.escape(kv.answer)}</b>" if not kv.error else html.escape(f"not counted: {kv.error}")
    return (
        "<!doctype html><meta charset=utf-8><meta http-equiv=refresh content=1><title>kuma-demo</title>"
        "<style>body{font:1.3rem/2 system-ui;max-width:44rem;margin:4rem auto}</style>"
        f"<h1>A shop in a mesh</h1><p>API: {greeting}, {identity}<p>Store: {visits}"
    )


class Web(Handler):
    """``app`` is the shop."""

    def do_GET(self) -> None:  # noqa: N802 - the name http.server calls
        if self.path != "/":
            self.answer(404, "text/plain", "there is only /\n")
            return
        calls = self.app.visit()
        status = 502 if any(call.error for call in calls) else 200
        if "application/json" in self.headers.get("accept", ""):
            self.answer(status, "application/json", json.dumps({"calls": [asdict(call) for call in calls]}))
        else:
            self.answer(status, "text/html", page(calls))


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    for name in ("--port", "--api-port", "--kv-port"):
        arguments.add_argument(name, type=int, required=True)
    given = arguments.parse_args()
    serve(Web, Shop(given.api_port, given.kv_port), given.port)


if __name__ == "__main__":
    main()
