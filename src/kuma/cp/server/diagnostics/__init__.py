"""Diagnostics on 5680: readiness, liveness, metrics, and log levels that can be changed while running.

``application`` is the ASGI application, which ``kuma.cp.server.listening`` serves. This package imports nothing:
logging needs ``levels`` long before a server is needed, also to say that none can be started.
"""
