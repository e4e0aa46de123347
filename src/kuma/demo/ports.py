"""Free ports of the loopback address, for as long as the demo lasts.

Ports are taken in blocks, and the first port of a block is listened on as its lock: two demos on one host never try
the same block. All lie below the range from which Linux picks ports of outgoing connections.
"""

from __future__ import annotations

import random
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from kuma.demo.errors import NoPorts

_FIRST: Final = 20_000
_BLOCK: Final = 50
_BLOCKS: Final = 200


@contextmanager
def reserved(count: int, chance: random.Random) -> Iterator[tuple[int, ...]]:
    """
    Free ports that no other demo will take while the context lasts.

    Raises:
        NoPorts: there is no block with so many.
    """
    blocks = list(range(_BLOCKS))
    chance.shuffle(blocks)
    for block in blocks:
        base = _FIRST + block * _BLOCK
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as lock:
            try:
                lock.bind(("127.0.0.1", base))
                lock.listen(1)
            except OSError:
                continue
            free = [port for port in range(base + 1, base + _BLOCK) if _is_free(port)]
            if len(free) >= count:
                yield tuple(free[:count])
                return
    raise NoPorts(
        f"no {count} free ports were found between {_FIRST} and {_FIRST + _BLOCK * _BLOCKS}; "
        "see with 'ss -ltn' which programs hold them"
    )


def _is_free(port: int) -> bool:
    """Whether nobody listens on any address of the host; the control plane listens on all."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # ports of closed connections are free
        try:
            probe.bind(("", port))
        except OSError:
            return False
    return True
