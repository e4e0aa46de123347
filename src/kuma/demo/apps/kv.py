"""The key-value store: counters over TCP, one line in, one line out.

``INCR key`` adds one and answers the new value, ``GET key`` answers the value, both as a decimal number; anything else
is answered by a line that begins with ``ERR``.
"""

from __future__ import annotations

import argparse
import socketserver
import threading
from collections.abc import Callable
from typing import Final

_LONGEST_LINE: Final = 256
_MOST_KEYS: Final = 1000
_IDLE_SECONDS: Final = 60


class Counters:
    """Numbers by key; safe to use from several threads."""

    def __init__(self) -> None:
        self._values: dict[str, int] = {}
        self._lock = threading.Lock()

    def reply(self, line: str) -> str:
        """The answer to one line."""
        match line.split():
            case ["INCR", key]:
                with self._lock:
                    if key not in self._values and len(self._values) >= _MOST_KEYS:
                        return f"ERR there are {_MOST_KEYS} keys already"
                    self._values[key] = self._values.get(key, 0) + 1
                    return str(self._values[key])
            case ["GET", key]:
                with self._lock:
                    return str(self._values.get(key, 0))
        return "ERR say INCR key or GET key"


class _Connection(socketserver.StreamRequestHandler):
    timeout = _IDLE_SECONDS
    reply: Callable[[str], str]

    def handle(self) -> None:
        try:
            while line := self.rfile.readline(_LONGEST_LINE + 1):
                if len(line) > _LONGEST_LINE:
                    self.wfile.write(b"ERR the line is too long\n")
                    return
                self.wfile.write(self.reply(line.decode(errors="replace")).encode() + b"\n")
        except OSError:
            pass  # the client went away or was silent for too long


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--port", type=int, required=True)
    port = arguments.parse_args().port
    connection = type("Connection", (_Connection,), {"reply": staticmethod(Counters().reply)})
    with _Server(("127.0.0.1", port), connection) as server:
        server.serve_forever()


if __name__ == "__main__":
    main()
