"""Discovery responses as bytes, shared between proxies that are sent the same thing.

A response carries nothing about the proxy it goes to, and a nonce is only ever compared with the one response a
stream has in flight for a type; so one message, nonce included, serves every proxy that moves through the same
change, from the second on. Two things are never shared: secrets, because each proxy has its own key, and a message
whose nonce the stream was sent last, because a late word on the former would pass for an answer to the latter. One
``Wire`` belongs to one control plane process.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from hashlib import blake2b
from operator import attrgetter
from typing import Final, NamedTuple

from kuma.core.xds.names import SECRET
from kuma.core.xds.resources import XdsResource
from kuma.envoy_api.envoy.config.core.v3.base_pb2 import ControlPlane
from kuma.envoy_api.envoy.service.discovery.v3.discovery_pb2 import DeltaDiscoveryResponse, DiscoveryResponse

_IDENTITY: Final = attrgetter("name", "version")
"""What tells a resource of a type from all others."""
_SHARED_MESSAGES: Final = 64
_SHARED_BYTES: Final = 8 * 1024 * 1024
"""Room for shared messages; the endpoints of a mesh of some thousand proxies are a message of a megabyte."""


class Encoded(NamedTuple):
    """A response; ``version`` is that of the resources in it together."""

    nonce: str
    version: str
    message: bytes


def set_version(resources: Iterable[XdsResource]) -> str:
    """The version of a whole set: equal sets have equal versions, whatever their order."""
    digest = blake2b(digest_size=8)
    for text in sorted(f"{resource.name}\0{resource.version}\0" for resource in resources):
        digest.update(text.encode())
    return digest.hexdigest()


class Wire:
    """Encodes responses. ``identifier`` names this control plane instance to Envoy."""

    def __init__(self, identifier: str) -> None:
        self._control_plane = ControlPlane(identifier=identifier)
        self._nonces = 0
        self._shared: OrderedDict[object, Encoded | None] = OrderedDict()
        """None: asked for once."""
        self._shared_bytes = 0

    def delta(
        self, type_url: str, changed: tuple[XdsResource, ...], removed: tuple[str, ...], last_nonce: str = ""
    ) -> Encoded:
        """A DeltaDiscoveryResponse; the nonce is not ``last_nonce``, the stream's last one."""

        def make() -> Encoded:
            return self._delta(type_url, changed, removed)

        if type_url == SECRET:
            return make()
        return self._share((type_url, tuple(map(_IDENTITY, changed)), removed), make, last_nonce)

    def sotw(self, type_url: str, resources: tuple[XdsResource, ...], last_nonce: str = "") -> Encoded:
        """A DiscoveryResponse; the nonce is not ``last_nonce``, the stream's last one."""

        def make() -> Encoded:
            return self._sotw(type_url, resources)

        if type_url == SECRET:
            return make()
        return self._share((type_url, tuple(map(_IDENTITY, resources))), make, last_nonce)

    def _delta(self, type_url: str, changed: tuple[XdsResource, ...], removed: tuple[str, ...]) -> Encoded:
        nonce = self._next_nonce()
        rest = DeltaDiscoveryResponse(
            type_url=type_url, nonce=nonce, removed_resources=removed, control_plane=self._control_plane
        )
        message = b"".join((*(resource.delta_frame for resource in changed), rest.SerializeToString()))
        return Encoded(nonce, set_version(changed), message)

    def _sotw(self, type_url: str, resources: tuple[XdsResource, ...]) -> Encoded:
        nonce, version = self._next_nonce(), set_version(resources)
        rest = DiscoveryResponse(
            type_url=type_url, nonce=nonce, version_info=version, control_plane=self._control_plane
        )
        message = b"".join((*(resource.sotw_frame for resource in resources), rest.SerializeToString()))
        return Encoded(nonce, version, message)

    def _next_nonce(self) -> str:
        self._nonces += 1
        return str(self._nonces)

    def _share(self, key: object, make: Callable[[], Encoded], last_nonce: str) -> Encoded:
        asked_before = key in self._shared
        found = self._shared.pop(key, None)
        if found is not None and found.nonce != last_nonce:
            self._shared[key] = found
            return found
        made = make()
        self._shared_bytes -= _size(found)
        # What one proxy alone is sent is not asked for again, and need not be kept.
        self._shared[key] = made if asked_before and _size(made) <= _SHARED_BYTES else None
        self._shared_bytes += _size(self._shared[key])
        while len(self._shared) > _SHARED_MESSAGES or self._shared_bytes > _SHARED_BYTES:
            _, forgotten = self._shared.popitem(last=False)
            self._shared_bytes -= _size(forgotten)
        return made


def _size(encoded: Encoded | None) -> int:
    return 0 if encoded is None else len(encoded.message)
