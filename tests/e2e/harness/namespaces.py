"""Two hosts with a cable between them: network namespaces that a test makes, on this machine, and removes again.

Nothing else is on that network, so default ports are free there and no packet goes anywhere else. A host is used in two
ways: programs are started on it (``prefix``), and connections are opened from it (``open``), by this very process.
"""

from __future__ import annotations

import ctypes
import itertools
import os
import re
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_FOLDER: Final = Path("/run/netns")
_NAME: Final = re.compile(r"kuma-(\d+)-\d+-(near|far)")
_CLONE_NEWNET: Final = 0x40000000
_count: Final = itertools.count(1)


class NoNetwork(Exception):
    """Nobody can make network namespaces here; the text says why."""


@dataclass(frozen=True, slots=True)
class Host:
    """One end of the cable."""

    name: str
    address: str
    address6: str

    @property
    def prefix(self) -> tuple[str, ...]:
        """What goes before a command to run it on this host."""
        return ("ip", "netns", "exec", self.name)

    def open(self, address: tuple[str, int], timeout: float = 20) -> socket.socket:
        """A TCP connection from this host, as ``socket.create_connection`` makes it."""
        return self._made_here(lambda: socket.create_connection(address, timeout))

    def listen(self, address: tuple[str, int]) -> socket.socket:
        """A TCP socket that listens on this host."""
        return self._made_here(lambda: socket.create_server(address))

    def _made_here(self, make: Callable[[], socket.socket]) -> socket.socket:
        made: list[socket.socket | OSError] = []

        def work() -> None:
            try:
                self._enter()
                made.append(make())
            except OSError as error:
                made.append(error)

        # A thread may be in another namespace than its process; a socket stays in the one that it was made in.
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        [found] = made
        if isinstance(found, OSError):
            raise found
        return found

    def _enter(self) -> None:
        library = ctypes.CDLL(None, use_errno=True)
        with (_FOLDER / self.name).open("rb") as namespace:
            if library.setns(namespace.fileno(), _CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), f"cannot enter the network namespace {self.name}")


class Network:
    """
    Two hosts; ``near`` is where a control plane runs, ``far`` is where others call from.

    Raises:
        NoNetwork: they cannot be made here.
    """

    def __init__(self) -> None:
        if shutil.which("ip") is None:
            raise NoNetwork("network namespaces need the program ip (Debian: iproute2)")
        if os.geteuid() != 0:
            raise NoNetwork("network namespaces can be made by root only")
        _sweep()
        tag = f"kuma-{os.getpid()}-{next(_count)}"
        self.near = Host(f"{tag}-near", "10.99.7.1", "fd99:7::1")
        self.far = Host(f"{tag}-far", "10.99.7.2", "fd99:7::2")
        try:
            self._make()
        except NoNetwork:
            self.close()
            raise

    def _make(self) -> None:
        for host in (self.near, self.far):
            _ip("netns", "add", host.name)
        ends = ("eth0", "netns", self.near.name, "type", "veth", "peer", "name", "eth0", "netns", self.far.name)
        _ip("link", "add", *ends)
        for host in (self.near, self.far):
            for link in ("lo", "eth0"):
                _ip("-n", host.name, "link", "set", link, "up")
            _ip("-n", host.name, "address", "add", f"{host.address}/30", "dev", "eth0")
            if socket.has_ipv6:
                _ip("-n", host.name, "address", "add", f"{host.address6}/64", "dev", "eth0", "nodad")

    def close(self) -> None:
        """Remove both; what still runs there keeps running and reaches nothing."""
        for host in (self.near, self.far):
            _delete(host.name)


def _ip(*arguments: str) -> None:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, timeout=20, check=False)
    if done.returncode:
        raise NoNetwork(f"ip {' '.join(arguments)}: {done.stderr.strip()}")


def _delete(name: str) -> None:
    if (_FOLDER / name).exists():
        subprocess.run(["ip", "netns", "delete", name], capture_output=True, timeout=20, check=False)


def _sweep() -> None:
    """Remove what test runs that were killed left behind."""
    for name in _names():
        found = _NAME.fullmatch(name)
        if found and not Path(f"/proc/{found[1]}").exists():
            _delete(name)


def _names() -> Sequence[str]:
    return [path.name for path in _FOLDER.iterdir()] if _FOLDER.is_dir() else []
