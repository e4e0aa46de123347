"""Whether a request was made by someone at this very machine, directly: then its caller is the administrator.

Everything here errs towards "no". A caller that fails is anonymous, which is not an error. What each rule stops:

* the peer's address: callers from elsewhere;
* headers that proxies add: callers from elsewhere behind a proxy that runs here;
* Host (and the authority of an absolute request line): a page whose name was rebound to 127.0.0.1;
* Sec-Fetch-Site and Origin: a page of another site, open in a browser that runs here.

A header that must be unique and is not, or that cannot be read without doubt, counts against the caller: two programs
may then have understood it differently.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from kuma.core.units import ip_of

_PROXY_HEADERS: Final = frozenset({"forwarded", "x-real-ip", "via"})
_PROXY_HEADER_PREFIX: Final = "x-forwarded-"
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_AUTHORITY: Final = re.compile(r"(?P<host>\[[0-9a-fA-F:.]{2,45}\]|[a-zA-Z0-9.-]{1,253})(:(?P<port>[0-9]{1,5}))?")
_ABSOLUTE: Final = re.compile(r"(?P<scheme>https?)://(?P<authority>[^/?#]*)(?P<rest>.*)", re.IGNORECASE | re.DOTALL)
_SAME_SITE: Final = frozenset({"same-origin", "none"})

Authority = tuple[str, int]


@dataclass(frozen=True, slots=True)
class RequestFacts:
    """
    What a decision about the caller may rest on.

    ``peer`` is the address of the socket's other end, without port. ``headers`` are as received, repeated ones
    repeated; HTTP/2's ``:authority`` counts as ``host``. ``target`` is the request line's target as received.
    """

    peer: str
    headers: Sequence[tuple[str, str]]
    target: str = "/"
    scheme: str = "http"

    def values(self, name: str) -> tuple[str, ...]:
        """Every value of a header, in order; ``name`` in lower case."""
        return tuple(value for key, value in self.headers if key.lower() == name)


def localhost_user(facts: RequestFacts) -> bool:
    """Whether all rules hold, so that this caller is the administrator."""
    if not _is_loopback_peer(facts.peer) or _came_through_proxy(facts):
        return False
    authority = _requested_authority(facts)
    if authority is None:
        return False
    if not _SAME_SITE.issuperset(facts.values("sec-fetch-site")):
        return False
    return _is_same_origin(facts.values("origin"), authority)


def _is_loopback_peer(peer: str) -> bool:
    return peer == "localhost" or (peer.isascii() and _loopback_ip(peer) is not None)


def _came_through_proxy(facts: RequestFacts) -> bool:
    names = (name.lower() for name, _ in facts.headers)
    return any(name in _PROXY_HEADERS or name.startswith(_PROXY_HEADER_PREFIX) for name in names)


def _requested_authority(facts: RequestFacts) -> Authority | None:
    """The loopback host and port the caller asked for; None if it asked for another, for several, or for none."""
    hosts = facts.values("host")
    authority = _loopback_authority(hosts[0], facts.scheme) if len(hosts) == 1 else None
    if facts.target.startswith("/") or facts.target == "*":
        return authority
    absolute = _ABSOLUTE.fullmatch(facts.target)
    if absolute is None:
        return None
    asked = _loopback_authority(absolute["authority"], absolute["scheme"].lower())
    return authority if asked == authority else None


def _is_same_origin(origins: Sequence[str], authority: Authority) -> bool:
    if not origins:
        return True
    match = _ABSOLUTE.fullmatch(origins[0])
    if len(origins) > 1 or match is None or match["rest"]:
        return False
    return _loopback_authority(match["authority"], match["scheme"].lower()) == authority


def _loopback_authority(text: str, scheme: str) -> Authority | None:
    """``host[:port]`` in one canonical form, None unless the host is this machine."""
    match = _AUTHORITY.fullmatch(text) if text.isascii() else None
    if match is None:
        return None
    port = int(match["port"]) if match["port"] else _DEFAULT_PORTS.get(scheme, 0)
    if not 0 < port <= 65535:
        return None
    bracketed = match["host"].startswith("[")
    host = match["host"].strip("[]").lower().removesuffix(".")
    if host == "localhost":
        return host, port
    address = _loopback_ip(host)
    if address is None or bracketed != (":" in host):
        return None
    return address, port


def _loopback_ip(text: str) -> str | None:
    """The canonical text of a loopback address; IPv4 within IPv6 is IPv4."""
    address = ip_of(text)
    return address.compressed if address is not None and address.is_loopback else None
