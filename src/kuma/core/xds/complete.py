"""Complete Envoy resources before they are serialised: what policies see that patch what every other policy made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from kuma.envoy_api.envoy.config.cluster.v3.cluster_pb2 import Cluster
from kuma.envoy_api.envoy.config.listener.v3.listener_pb2 import Listener

INBOUND: Final = "inbound"
OUTBOUND: Final = "outbound"
ADMIN: Final = "admin"

R = TypeVar("R", bound=Cluster | Listener)


@dataclass(frozen=True, slots=True)
class Originated(Generic[R]):
    """A resource and the part of the control plane it comes from (``inbound``, ``outbound``, …)."""

    origin: str
    message: R


@dataclass(frozen=True, slots=True)
class Resources:
    """
    Resources of a proxy. Nothing in them is changed; whoever patches makes new ones.

    A proxy's resources come in parts: its own, and those it shares with its class. What is added whole goes to its
    own (``takes_additions``), so that it is there once.
    """

    clusters: tuple[Originated[Cluster], ...] = ()
    listeners: tuple[Originated[Listener], ...] = ()
    takes_additions: bool = True
