"""Dataplanes whose address is a DNS name: Envoy needs an IP, so the control plane resolves it and keeps looking.

DNS tells of no change, hence the names in use (and only they) are looked up again every ``general.dnsCacheTTL``. A
name that cannot be resolved now keeps the address it had; one that never could leaves its proxy out of the mesh.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from typing import Final

import structlog

from kuma.core.model.resource import Key, Resource
from kuma.core.resources.dataplane import facts
from kuma.core.resources.dataplane.spec import Dataplane
from kuma.core.units import is_ip

_AT_ONCE: Final = 20
Resolve = Callable[[str], Awaitable[str | None]]

log = structlog.get_logger("dns")


async def lookup(name: str) -> str | None:
    """The first address of a name by the system's resolver, IPv4 before IPv6; None when there is none."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return None
    addresses = sorted(found, key=lambda one: one[0] != socket.AF_INET)
    return str(addresses[0][4][0]) if addresses else None


class Addresses:
    """Resolves the addresses of Dataplanes and remembers them; asking never waits."""

    def __init__(self, ttl: timedelta, resolve: Resolve = lookup) -> None:
        self._ttl = ttl.total_seconds()
        self._resolve = resolve
        self._known: dict[str, str] = {}
        self._users: dict[str, set[Key]] = {}
        self._names: dict[Key, tuple[str, ...]] = {}
        self._new: dict[str, None] = {}
        self._asked = asyncio.Event()

    def resolved(self, resource: Resource[Dataplane]) -> Resource[Dataplane] | None:
        """
        The Dataplane with IP addresses; the same object when it has no names.

        None when a name has no address yet: it is being looked up, and ``run`` tells when it has one.
        """
        written = facts.networking(resource.spec)
        names = tuple(name for name in (written.address, written.advertised_address) if name and not is_ip(name))
        self._use(resource.meta.key, names)
        if not names:
            return resource
        unknown = [name for name in names if name not in self._known]
        if unknown:
            self._new.update(dict.fromkeys(unknown))
            self._asked.set()
            return None
        address = self._known.get(written.address, written.address)
        advertised = self._known.get(written.advertised_address, written.advertised_address)
        networking = written.model_copy(update={"address": address, "advertised_address": advertised})
        return replace(resource, spec=resource.spec.model_copy(update={"networking": networking}))

    def forget(self, key: Key) -> None:
        """A Dataplane is gone."""
        self._use(key, ())

    async def run(self, changed: Callable[[frozenset[Key]], Awaitable[None]]) -> None:
        """Look names up until cancelled; tell which Dataplanes have another address than before."""
        while True:
            try:
                async with asyncio.timeout(self._ttl):
                    await self._asked.wait()
            except TimeoutError:
                self._new.update(dict.fromkeys(self._users))
            self._asked.clear()
            names, self._new = tuple(self._new), {}
            moved: set[str] = set()
            for start in range(0, len(names), _AT_ONCE):
                some = names[start : start + _AT_ONCE]
                found = await asyncio.gather(*(self._resolve(name) for name in some))
                moved.update(name for name, address in zip(some, found, strict=True) if self._note(name, address))
            touched = frozenset(key for name in moved for key in self._users.get(name, ()))
            if touched:
                await changed(touched)

    def _note(self, name: str, address: str | None) -> bool:
        """Whether an answer is news."""
        if name not in self._users:
            return False
        if address is None:
            if name not in self._known:
                users = ", ".join(sorted(key.name for key in self._users[name]))
                log.warning("dataplanes are left out: their address has no IP", name=name, dataplanes=users)
            return False
        news = self._known.get(name) != address
        self._known[name] = address
        return news

    def _use(self, key: Key, names: tuple[str, ...]) -> None:
        before = self._names.pop(key, ())
        if names:
            self._names[key] = names
            for name in names:
                self._users.setdefault(name, set()).add(key)
        for name in before:
            if name not in names:
                self._users[name].discard(key)
                if not self._users[name]:
                    del self._users[name]
                    self._known.pop(name, None)
