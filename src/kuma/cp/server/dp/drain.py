"""``POST /drain``: what kuma-dp says before it ends its Envoy, so that nobody sends this proxy new work.

The request is the proxy's node id, and in a second line which run of kuma-dp it is, with its token as on its streams.
Answers: 204 when every connected proxy knows, 202 while they are being told (kuma-dp asks again), else the reason.
Kuma's control plane answers 404; there, as with a control plane that cannot be reached, callers learn from Envoy's next
health report.
"""

from __future__ import annotations

import asyncio
from typing import Final

import structlog

from kuma.core.errors import BadRequest, Conflict, InvalidToken, MeshError, NotFound, TooLarge
from kuma.core.model.resource import Key
from kuma.core.xds.node import ProxyType, split_id
from kuma.cp.reconcile.draining import Draining
from kuma.cp.reconcile.registration import Registration
from kuma.cp.server.dp.grpc import Exchange, Scope, credential
from kuma.cp.server.dp.http import TEXT, body

PATH: Final = "/drain"
_MAX_BYTES: Final = 1024
_READ_SECONDS: Final = 10

log = structlog.get_logger("drain")


class DrainServer:
    """Answers proxies that are about to end."""

    def __init__(self, registration: Registration, draining: Draining) -> None:
        self._registration = registration
        self._draining = draining

    async def serve(self, scope: Scope, exchange: Exchange) -> None:
        """One request."""
        try:
            async with asyncio.timeout(_READ_SECONDS):
                text = await body(exchange, _MAX_BYTES)
            node, _, run = text.decode(errors="replace").partition("\n")
            mesh, name = split_id(node, ProxyType.DATAPLANE)
            key = Key("Dataplane", mesh, name)
            await self._registration.recognise(key, credential(scope), run)
            known = await self._draining.begin(key)
        except InvalidToken as error:
            log.warning("drain refused", address=scope.client, reason=str(error))
            exchange.response_bytes(401, TEXT, f"authentication failed: {error}".encode())
        except (BadRequest, TooLarge) as error:
            exchange.response_bytes(400, TEXT, str(error).encode())
        except Conflict as error:
            exchange.response_bytes(409, TEXT, str(error).encode())
        except NotFound as error:
            exchange.response_bytes(404, TEXT, str(error).encode())
        except TimeoutError:
            exchange.response_empty(408, [])
        except MeshError as error:
            log.error("drain failed", address=scope.client, reason=str(error))
            exchange.response_empty(500, [])
        else:
            exchange.response_empty(204 if known else 202, [])
