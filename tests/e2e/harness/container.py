"""A container as far as its network goes: a host of its own, whose ports an engine publishes on the machine's loopback.

There is no container engine in the tests. ``published`` is what one does for ``-p``: connections come in on the
machine's own address and reach the container from the bridge, so nobody is local there. ``docker_for`` is a program
``docker`` that knows ``ps`` and ``exec``, for commands of a page that are to be run as they stand.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.e2e.harness.namespaces import Network

CONTAINER_ID: Final = "4f1d9c0b7a26"
_DOCKER: Final = """#!/bin/bash
# What the page needs of Docker; the container is the network namespace {namespace}.
case "$1" in
    ps)
        echo 'CONTAINER ID   IMAGE     COMMAND         STATUS         NAMES'
        echo '{id}   kuma-cp   "kuma-cp run"   Up 2 minutes   kuma-cp'
        ;;
    exec)
        shift
        [ "$1" = -it ] && shift && terminal=yes
        [ "$1" = {id} ] || {{ echo "Error: No such container: $1" >&2; exit 1; }}
        shift
        if [ -n "$terminal" ]; then
            ip netns exec {namespace} "$@" | sed 's/$/\\r/' # a terminal ends lines so
        else
            ip netns exec {namespace} "$@"
        fi
        ;;
    *)
        echo "docker: '$1' is not played here" >&2
        exit 125
        ;;
esac
"""


def docker_for(network: Network, folder: Path) -> Path:
    """A folder with the program ``docker``; the container is the near host."""
    folder.mkdir()
    program = folder / "docker"
    program.write_text(_DOCKER.format(namespace=network.near.name, id=CONTAINER_ID))
    program.chmod(0o755)
    return folder


@contextmanager
def published(network: Network, *ports: int) -> Iterator[None]:
    """While ports of the near host, the container, are published on the loopback address of the far one."""
    listening = [network.far.listen(("127.0.0.1", port)) for port in ports]
    threads = [
        threading.Thread(target=_accept, args=(network, own, port), daemon=True)
        for own, port in zip(listening, ports, strict=True)
    ]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        for own in listening:
            with contextlib.suppress(OSError):
                own.shutdown(socket.SHUT_RDWR)  # wakes the one that accepts
            own.close()
        for thread in threads:
            thread.join(timeout=10)


def _accept(network: Network, own: socket.socket, port: int) -> None:
    relays = []
    while True:
        try:
            outer, _ = own.accept()
        except OSError:
            break
        relays.append(threading.Thread(target=_relay, args=(network, outer, port), daemon=True))
        relays[-1].start()
    for relay in relays:
        relay.join(timeout=10)


def _relay(network: Network, outer: socket.socket, port: int) -> None:
    with outer, contextlib.suppress(OSError), network.far.open((network.near.address, port)) as inner:
        back = threading.Thread(target=_pass_on, args=(inner, outer), daemon=True)
        back.start()
        _pass_on(outer, inner)
        back.join(timeout=10)


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)
