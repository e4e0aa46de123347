"""Facts about the machine this proxy runs on."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Final

_SYSTEM_CAS: Final = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/tls/cacert.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
)
_MEMORY_LIMITS: Final = ("sys/fs/cgroup/memory.max", "sys/fs/cgroup/memory.limit_in_bytes")
_UNLIMITED: Final = 1 << 60
"""cgroup v1 says "no limit" by a number near 2^63."""


def system_ca_path() -> str:
    """The system's bundle of CA certificates; empty when there is none at the usual places."""
    return next((path for path in _SYSTEM_CAS if Path(path).is_file()), "")


def memory_limit(root: Path = Path("/")) -> int:
    """Bytes this container may use; 0 when not limited or not known."""
    for name in _MEMORY_LIMITS:
        try:
            text = (root / name).read_text("ascii").strip()
        except (OSError, ValueError):
            continue
        if text.isdigit() and int(text) < _UNLIMITED:
            return int(text)
    return 0


def has_ipv6() -> bool:
    """Whether the machine has the IPv6 loopback address."""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True
