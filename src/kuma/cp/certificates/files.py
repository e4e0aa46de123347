"""A certificate that is in memory, for libraries that read files only."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from kuma.cp.certificates.server import ServerTls


@contextmanager
def as_files(tls: ServerTls) -> Iterator[tuple[str, str]]:
    """
    Paths of the chain and of its key, both in PEM, while the block runs.

    They lead into memory of this process: nothing is written to a disk, and what is read is what was checked.
    """
    with ExitStack() as opened:
        yield _in_memory(opened, tls.chain), _in_memory(opened, tls.key)


def _in_memory(opened: ExitStack, content: bytes) -> str:
    handle = os.memfd_create("certificate", os.MFD_CLOEXEC)
    opened.callback(os.close, handle)
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(handle, rest) :]
    return f"/proc/self/fd/{handle}"
