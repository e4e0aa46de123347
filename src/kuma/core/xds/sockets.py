"""Where the Unix sockets and pipes of a proxy lie. The control plane and kuma-dp each compute these paths."""

from __future__ import annotations

from typing import Final

_LONGEST: Final = 98
"""A socket's path has room for 108 bytes; Kuma cuts before ``.sock`` here."""


def socket_path(workdir: str, name: str) -> str:
    """A socket in the work directory of a proxy; a long path is cut."""
    path = f"{workdir}/{name}" if workdir else name
    return path.encode()[:_LONGEST].decode(errors="ignore") + ".sock"


def access_log_pipe(workdir: str, name: str, mesh: str) -> str:
    """The FIFO on which kuma-dp takes log lines that are to leave over TCP; named like a socket, as in Kuma."""
    return socket_path(workdir, f"kuma-al-{name}-{mesh}")
