"""One connected proxy: its ADS stream with its session, plan, certificates and observation."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from kuma.core.model.resource import Key
from kuma.core.snapshot.mesh import MeshSettings, MeshSnapshot
from kuma.core.snapshot.plan import Plan, Traits
from kuma.core.snapshot.proxy import Proxy
from kuma.core.xds.resources import EMPTY, Layer
from kuma.core.xds.session import Session
from kuma.cp.reconcile.identities import Certificate
from kuma.cp.reconcile.insights import Observation
from kuma.cp.reconcile.meshes import Issuing


@dataclass(slots=True, eq=False)
class Stream:
    """One ADS stream after its proxy was admitted."""

    key: Key
    session: Session
    traits: Traits
    observation: Observation
    peer: str
    admitted: int
    """Store revision that the proxy's Dataplane is in."""
    outbox: list[bytes] = field(default_factory=list)
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    plan: Plan | None = None
    secrets: Layer = EMPTY
    held: dict[str, str] = field(default_factory=dict)
    """Versions of secrets that the proxy says it has; a name is here once it was asked for."""
    certificates: dict[str, Certificate] = field(default_factory=dict)
    certified: tuple[Proxy, Issuing | None] | None = None
    """What its certificates were found right for; None: they have to be looked at."""
    uncertified: bool = False
    """Its first certificate could not be made, and is tried again in a moment."""
    joining: bool = False
    """Its Envoy has just started and does not listen yet."""
    drains: bool = False
    """It is about to end: that it listens no longer means that it is sent traffic."""
    rejections: dict[str, str] = field(default_factory=dict)
    """Envoy's word on the last response of a type, where it refused it."""
    problem: str = ""
    """Why the proxy keeps what it had, empty when all is well."""
    blamed: tuple[Key, ...] = ()
    """The policies that ask for what cannot be done, where that is the problem."""
    problem_in: MeshSnapshot | None = None
    """The last snapshot in which it was so."""
    sent_at: dict[str, float] = field(default_factory=dict)
    """Per type, when the change in its last response became known."""
    judged: tuple[Certificate | None, MeshSettings] | None = None
    """For which certificate and settings the proxy was found to serve."""
    ended: bool = False

    def end(self) -> None:
        """Close the stream from this side."""
        self.ended = True
        self.wake.set()
