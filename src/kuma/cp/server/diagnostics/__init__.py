"""Diagnostics on 5680: readiness, liveness, metrics, and log levels that can be changed while running.

``diagnostics`` makes the ASGI application; ``kuma.cp.server.listening`` serves it.
"""

from kuma.cp.server.diagnostics.application import Diagnostics
from kuma.cp.server.diagnostics.levels import LogLevels

__all__ = ["Diagnostics", "LogLevels"]
