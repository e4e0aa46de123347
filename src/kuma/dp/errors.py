"""What stops kuma-dp on purpose. All belong to the tree of ``kuma.core.errors``.

MeshError
├─ ConfigInvalid            a flag, variable or file is wrong (from the core)
├─ ControlPlaneUnverified   whoever answers cannot be proved to be the control plane; nothing was sent
├─ JoinRefused              the control plane answered, and trying again would not help
├─ JoinTimedOut             the control plane could not be joined in the time given
└─ EnvoyUnusable            Envoy cannot be found or started
"""

from __future__ import annotations

from kuma.core.errors import MeshError


class ControlPlaneUnverified(MeshError):
    """Whoever answers cannot be proved to be the control plane. The token has not left this machine."""


class JoinRefused(MeshError):
    """The control plane refuses this proxy, in its own words."""


class JoinTimedOut(MeshError):
    """The control plane could not be joined in the time given."""


class EnvoyUnusable(MeshError):
    """Envoy cannot be found or started."""
