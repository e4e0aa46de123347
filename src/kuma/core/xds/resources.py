"""Envoy resources as bytes: made once, shared by every proxy that gets them.

A ``Layer`` is a set of resources that belong together (a proxy's own listeners, the outbounds of a class of proxies,
the endpoints of a mesh). ``Desired`` is all that one proxy should have: a few layers. Layers are shared objects, so
"what changed for this proxy?" is answered by comparing pointers first, and each pair of layers is compared once for
all proxies that move from one to the other.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from types import MappingProxyType
from typing import Final

from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import Message

from kuma.envoy_api.envoy.service.discovery.v3.discovery_pb2 import Resource as ResourceFrame

_RESOURCES_FIELD: Final = b"\x12"
"""Tag of field 2, length-delimited: ``resources`` in both DiscoveryResponse and DeltaDiscoveryResponse."""


def varint(value: int) -> bytes:
    """A non-negative number as a protobuf varint."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


class XdsResource:
    """
    One Envoy resource, serialised.

    ``version`` is a hash of the bytes unless given: equal bytes mean an equal version, also after a restart and on
    another replica. ``body`` is empty for a resource the proxy already holds and that cannot be made again
    (a certificate issued before a restart); such a resource is ``held`` and never sent.

    ``awaits`` is what a cluster is used only with: the endpoints of this name, of its own unless given; "" for none.
    ``leads_to`` are the clusters that a listener sends traffic to.

    Frames are kept once they were asked for twice: what is one proxy's own is sent once, and need not be there twice.
    """

    __slots__ = ("_delta", "_framed", "_sotw", "awaits", "body", "held", "leads_to", "name", "type_url", "version")

    def __init__(
        self,
        type_url: str,
        name: str,
        body: bytes,
        version: str = "",
        *,
        held: bool = False,
        awaits: str | None = None,
        leads_to: frozenset[str] = frozenset(),
    ) -> None:
        self.type_url = type_url
        self.name = name
        self.body = body
        self.version = version or blake2b(body, digest_size=8).hexdigest()
        self.held = held
        self.awaits = name if awaits is None else awaits
        self.leads_to = leads_to
        self._delta: bytes | None = None
        self._sotw: bytes | None = None
        self._framed = False

    @classmethod
    def of(
        cls,
        type_url: str,
        name: str,
        message: Message,
        version: str = "",
        *,
        awaits: str | None = None,
        leads_to: frozenset[str] = frozenset(),
    ) -> XdsResource:
        """Serialise a message deterministically."""
        body = message.SerializeToString(deterministic=True)
        return cls(type_url, name, body, version, awaits=awaits, leads_to=leads_to)

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if not isinstance(other, XdsResource):
            return NotImplemented
        return (self.type_url, self.name, self.version) == (other.type_url, other.name, other.version)

    def __hash__(self) -> int:
        return hash((self.name, self.version))

    def __repr__(self) -> str:
        return f"XdsResource({self.name!r}, version={self.version!r})"

    @property
    def delta_frame(self) -> bytes:
        """The ``resources`` field of a DeltaDiscoveryResponse."""
        if self._delta is not None:
            return self._delta
        value = AnyMessage(type_url=self.type_url, value=self.body)
        made = _in_field(ResourceFrame(name=self.name, version=self.version, resource=value))
        if self._framed:
            self._delta = made
        self._framed = True
        return made

    @property
    def sotw_frame(self) -> bytes:
        """The ``resources`` field of a DiscoveryResponse."""
        if self._sotw is not None:
            return self._sotw
        made = _in_field(AnyMessage(type_url=self.type_url, value=self.body))
        if self._framed:
            self._sotw = made
        self._framed = True
        return made


def _in_field(message: Message) -> bytes:
    frame = message.SerializeToString()
    return _RESOURCES_FIELD + varint(len(frame)) + frame


ByName = Mapping[str, XdsResource]
_NONE: Final[ByName] = MappingProxyType({})


class Layer:
    """Resources that belong together, by type and name. Frozen; compared by identity."""

    __slots__ = ("_by_type",)

    def __init__(self, by_type: Mapping[str, ByName]) -> None:
        self._by_type = {type_url: by_name for type_url, by_name in by_type.items() if by_name}

    @classmethod
    def of(cls, resources: Iterable[XdsResource]) -> Layer:
        """A layer of these resources; of two with one name and type the later stays."""
        by_type: dict[str, dict[str, XdsResource]] = {}
        for resource in resources:
            by_type.setdefault(resource.type_url, {})[resource.name] = resource
        return cls(by_type)

    def by_name(self, type_url: str) -> ByName:
        """The layer's resources of one type; not to be changed."""
        return self._by_type.get(type_url, _NONE)

    def types(self) -> Iterable[str]:
        """The types of which the layer has resources."""
        return self._by_type.keys()


EMPTY: Final = Layer({})


@dataclass(frozen=True, slots=True)
class LayerDelta:
    """What must be sent to go from one layer to another, for one type."""

    changed: tuple[XdsResource, ...] = ()
    removed: tuple[str, ...] = ()


_NO_DELTA: Final = LayerDelta()


class LayerDeltas:
    """
    Differences between layers, each pair computed once while it is in use.

    Holding a pair keeps its identity valid, and its resources in memory: so only those used last are held. A pair of
    the mesh's endpoints is asked for by every stream and stays; one of a proxy's own layers is asked for once.
    """

    def __init__(self, capacity: int = 64) -> None:
        self._capacity = capacity
        self._known: OrderedDict[tuple[int, int], tuple[Layer, Layer, dict[str, LayerDelta]]] = OrderedDict()

    def between(self, old: Layer, new: Layer, type_url: str) -> LayerDelta:
        """The difference for one type."""
        if old is new:
            return _NO_DELTA
        key = (id(old), id(new))
        entry = self._known.get(key)
        if entry is not None:
            self._known.move_to_end(key)
        else:
            entry = self._known[key] = (old, new, {})
            if len(self._known) > self._capacity:
                self._known.popitem(last=False)
        found = entry[2].get(type_url)
        if found is None:
            found = entry[2][type_url] = layer_delta(old.by_name(type_url), new.by_name(type_url))
        return found


def layer_delta(old: ByName, new: ByName) -> LayerDelta:
    """What was added or has another version, and which names are gone."""
    if old is new:
        return _NO_DELTA
    changed = tuple(
        resource
        for name, resource in new.items()
        if (before := old.get(name)) is not resource and (before is None or before.version != resource.version)
    )
    removed = tuple(name for name in old if name not in new)
    return LayerDelta(changed, removed) if changed or removed else _NO_DELTA


@dataclass(frozen=True, slots=True, eq=False)
class Desired:
    """
    All that one proxy should have at a store revision.

    Names are unique across layers: who makes a ``Desired`` sees to it. Two of one proxy have the same number of
    layers, and a resource stays in the layer at its position.
    """

    layers: tuple[Layer, ...]
    revision: int = 0

    def get(self, type_url: str, name: str) -> XdsResource | None:
        """One resource."""
        for layer in self.layers:
            found = layer.by_name(type_url).get(name)
            if found is not None:
                return found
        return None

    def of_type(self, type_url: str) -> Iterator[XdsResource]:
        """All resources of a type."""
        for layer in self.layers:
            yield from layer.by_name(type_url).values()

    def names(self, type_url: str) -> set[str]:
        """The names of all resources of a type."""
        return {name for layer in self.layers for name in layer.by_name(type_url)}
