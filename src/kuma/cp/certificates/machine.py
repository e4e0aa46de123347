"""The names and addresses of this machine, for the control plane's own certificate.

Linux only: addresses come from the kernel's routing socket, because asking a resolver for them may be slow, wrong, or
ask strangers.
"""

from __future__ import annotations

import ipaddress
import socket
import struct
from collections.abc import Iterator
from typing import Final

_HEADER: Final = struct.Struct("=IHHII")  # nlmsghdr: length, type, flags, sequence, port
_ADDRESS: Final = struct.Struct("=BBBBI")  # ifaddrmsg: family, prefix, flags, scope, interface
_ATTRIBUTE: Final = struct.Struct("=HH")  # rtattr: length, type
_RTM_NEWADDR, _RTM_GETADDR, _NLMSG_DONE, _NLMSG_ERROR = 20, 22, 3, 2
_REQUEST_DUMP: Final = 0x301
_IFA_ADDRESS, _IFA_LOCAL = 1, 2
_LOOPBACK: Final = ("127.0.0.1", "::1")


def host_name() -> str:
    """What the machine calls itself."""
    return socket.gethostname()


def addresses() -> tuple[str, ...]:
    """All addresses of all interfaces, sorted; the loopback ones if the kernel tells no more."""
    try:
        found = set(_dump())
    except (OSError, struct.error):
        found = set()
    return tuple(sorted(found | set(_LOOPBACK), key=lambda one: (":" in one, ipaddress.ip_address(one).packed)))


def _dump() -> Iterator[str]:
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE) as kernel:
        kernel.settimeout(2)
        kernel.bind((0, 0))
        length = _HEADER.size + _ADDRESS.size
        kernel.send(
            _HEADER.pack(length, _RTM_GETADDR, _REQUEST_DUMP, 1, 0) + _ADDRESS.pack(socket.AF_UNSPEC, 0, 0, 0, 0)
        )
        while True:
            for kind, body in messages(kernel.recv(1 << 16)):
                if kind == _NLMSG_ERROR:
                    raise OSError("the kernel refused to list its addresses")
                if kind == _NLMSG_DONE:
                    return
                if kind == _RTM_NEWADDR and (address := address_in(body)):
                    yield address


def messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Split what the routing socket sent into messages: type and body."""
    while len(data) >= _HEADER.size:
        length, kind, *_ = _HEADER.unpack_from(data)
        if not _HEADER.size <= length <= len(data):
            return
        yield kind, data[_HEADER.size : length]
        data = data[_aligned(length) :]


def address_in(body: bytes) -> str:
    """The address an RTM_NEWADDR message tells of, "" if it has none."""
    family, *_ = _ADDRESS.unpack_from(body)
    size = {socket.AF_INET: 4, socket.AF_INET6: 16}.get(family)
    values: dict[int, bytes] = {}
    rest = body[_ADDRESS.size :]
    while len(rest) >= _ATTRIBUTE.size:
        length, kind = _ATTRIBUTE.unpack_from(rest)
        if not _ATTRIBUTE.size <= length <= len(rest):
            break
        values[kind] = rest[_ATTRIBUTE.size : length]
        rest = rest[_aligned(length) :]
    # On a point-to-point interface "address" is the other end; "local" is always ours.
    raw = values.get(_IFA_LOCAL, values.get(_IFA_ADDRESS, b""))
    return ipaddress.ip_address(raw).compressed if len(raw) == size else ""


def _aligned(length: int) -> int:
    return (length + 3) & ~3
