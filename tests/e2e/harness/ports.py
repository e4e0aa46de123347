"""Free ports of the loopback address, never handed out twice and never the system's to give to a client socket."""

from __future__ import annotations

import itertools
import os
import random
import socket
from collections.abc import Iterator
from typing import Final

_FIRST: Final = 12_000
_PER_WORKER: Final = 2_500
_WORKERS: Final = 8  # 12000…31999: below the range from which Linux picks ports of outgoing connections


def free_port() -> int:
    """A port nobody listens on now, and no other test will be given."""
    return next(_PORTS)


def _candidates() -> Iterator[int]:
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % _WORKERS
    first = _FIRST + worker * _PER_WORKER
    # Two runs on one machine should not march through the range in step.
    start = random.SystemRandom().randrange(_PER_WORKER)
    for offset in itertools.count(start):
        port = first + offset % _PER_WORKER
        if _is_free(port):
            yield port


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        try:
            probe.bind(("0.0.0.0", port))
        except OSError:
            return False
    return True


_PORTS: Final = _candidates()
