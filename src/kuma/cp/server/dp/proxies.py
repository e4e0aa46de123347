"""What the data plane server needs to know of a proxy from its node."""

from __future__ import annotations

from typing import Final

from kuma.core.xds.node import ProxyNode
from kuma.core.xds.view import AdminView

_EVERYWHERE: Final = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104 - read, not bound
"""What an admin interface that listens everywhere is called on its own host."""


def admin_view(node: ProxyNode, trusted_ca: bytes) -> AdminView | None:
    """How the admin interface is reached, None for a proxy that has none."""
    if not node.admin_port or not node.readiness_port:
        return None
    return AdminView(
        port=node.admin_port,
        admin_address=_EVERYWHERE.get(node.admin_address, node.admin_address),
        socket_path=node.admin_socket,
        readiness_port=node.readiness_port,
        trusted_ca=trusted_ca,
    )
