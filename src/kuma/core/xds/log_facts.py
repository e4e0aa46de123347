"""What access logs say about the proxy that writes them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from kuma.core.xds.sockets import access_log_pipe

_UNKNOWN: Final = "unknown"


@dataclass(frozen=True, slots=True)
class LogFacts:
    """
    Facts of one proxy; the defaults are those of a proxy nothing is known of.

    ``service`` is the first ``kuma.io/service`` of the proxy, ``workload`` the identifier (KRI) of its Workload.
    ``workdir`` is where its kuma-dp keeps its files.
    ``ipv6``: whether names of collectors may resolve to IPv6 addresses.
    """

    name: str = _UNKNOWN
    mesh: str = "default"
    address: str = "127.0.0.1"
    service: str = _UNKNOWN
    zone: str = ""
    workload: str = ""
    workdir: str = "/tmp"  # noqa: S108 - Kuma's default
    ipv6: bool = False

    @property
    def stream_path(self) -> str:
        """The FIFO on which kuma-dp takes log lines that are to leave over TCP."""
        return access_log_pipe(self.workdir, self.name, self.mesh)


UNKNOWN_PROXY: Final = LogFacts()
