"""ADS: one task pair per stream between the socket and ``reconcile.streams``."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from itertools import count
from typing import Final

import structlog
from granian.rsgi import ProtocolClosed  # type: ignore[attr-defined]  # re-exported without a mark

from kuma.core.errors import MeshError
from kuma.core.snapshot.plan import Traits
from kuma.core.xds.names import KAFKA_BROKER
from kuma.core.xds.node import FEATURE_REUSE_PORT, ProxyNode
from kuma.core.xds.session import Command, Opened, Session
from kuma.cp.reconcile.credentials import Credentials
from kuma.cp.reconcile.insights import Insights
from kuma.cp.reconcile.registration import Admitted, Refused, Registration
from kuma.cp.reconcile.stream import Stream
from kuma.cp.reconcile.streams import Streams
from kuma.cp.reconcile.turns import Turns
from kuma.cp.server.dp import grpc
from kuma.cp.server.dp.proxies import admin_view
from kuma.cp.server.dp.refusals import Refusals

SOTW_PATH: Final = "/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources"
DELTA_PATH: Final = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources"
_ADMITTED_AT_ONCE: Final = 16
"""Proxies let in at a time: when all come at once, the loop must still turn quickly for others."""
_HEARD_PER_TURN: Final = 2
"""Requests taken in each turn of the loop, for the same reason."""
_FIRST_REQUEST_SECONDS: Final = 30

log = structlog.get_logger("xds")


class _Ended(Exception):
    """The stream was ended from this side; unwinds the task that waits for the proxy."""


class AdsServer:
    """Serves ADS streams. ``admin_ca`` is the PEM of the CA behind the admin interface of proxies."""

    def __init__(
        self,
        streams: Streams,
        registration: Registration,
        credentials: Credentials,
        insights: Insights,
        admin_ca: bytes,
        instance: str,
    ) -> None:
        self._streams = streams
        self._registration = registration
        self._credentials = credentials
        self._insights = insights
        self._admin_ca = admin_ca
        self._instance = instance
        self._admissions = asyncio.Semaphore(_ADMITTED_AT_ONCE)
        self._turns = Turns(_HEARD_PER_TURN)
        self._refusals = Refusals()
        self._ids = count(1)

    async def serve(self, scope: grpc.Scope, exchange: grpc.Exchange, *, delta: bool) -> None:
        """One stream, from its first request to its end."""
        incoming = aiter(grpc.messages(exchange))
        session = self._streams.session(delta=delta)
        asked = ""
        try:
            async with asyncio.timeout(_FIRST_REQUEST_SECONDS):
                first = await anext(incoming)
            owner = object()
            # Read before it waits: when all come at once, their first requests would fill the memory meanwhile.
            await self._turns.next()
            node, commands = _introduction(session, first)
            del first
            asked = node.id
            async with self._admissions:
                announce = self._streams.announcing(session)
                admitted = await self._registration.admit(node, grpc.credential(scope), owner, scope.client, announce)
        except StopAsyncIteration:
            return
        except TimeoutError:
            grpc.refuse(exchange, grpc.UNAVAILABLE, f"no discovery request within {_FIRST_REQUEST_SECONDS} seconds")
            return
        except Refused as error:
            self._refusals.tell("proxy refused", node=asked, address=scope.client, reason=str(error))
            grpc.refuse(exchange, grpc.UNAUTHENTICATED, str(error))
            return
        except MeshError as error:
            self._refusals.tell("discovery stream refused", node=asked, address=scope.client, reason=str(error))
            grpc.refuse(exchange, grpc.INVALID_ARGUMENT, str(error))
            return
        try:
            stream = self._stream(session, admitted, node, scope.client)
            del node  # with the text of the proxy's Dataplane
            log.info(
                "proxy connected", mesh=stream.key.mesh, dataplane=stream.key.name, address=scope.client, delta=delta
            )
            held = self._credentials.held(admitted.key, admitted.credential, stream.end)
            with held, grpc.accepted(exchange) as response:
                await self._run(stream, commands, incoming, response)
        finally:
            self._registration.leave(admitted, owner)
            log.info("proxy disconnected", mesh=admitted.key.mesh, dataplane=admitted.key.name, address=scope.client)

    def _stream(self, session: Session, admitted: Admitted, node: ProxyNode, peer: str) -> Stream:
        observation = self._insights.open(
            admitted.key, f"{self._instance}-{next(self._ids)}", node.versions, registered=admitted.registered
        )
        return Stream(admitted.key, session, self._traits(node), observation, peer, admitted.revision)

    async def _run(
        self, stream: Stream, commands: list[Command], incoming: AsyncIterator[bytes], response: grpc.Response
    ) -> None:
        """Until either side ends: the proxy closes, breaks the protocol or is gone, or the stream is ended here."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(_send(stream, response), name=f"ads send {stream.key.name}")
                await self._streams.start(stream, commands)
                async for message in incoming:
                    await self._turns.next()
                    await self._streams.received(stream, message)
                stream.end()
        except* MeshError as errors:
            log.warning("discovery stream ended", dataplane=stream.key.name, reason=str(errors.exceptions[0]))
        except* (_Ended, ProtocolClosed):
            pass
        finally:
            self._streams.finish(stream)

    def _traits(self, node: ProxyNode) -> Traits:
        return Traits(
            admin=admin_view(node, self._admin_ca),
            reuse_port=FEATURE_REUSE_PORT in node.features,
            ipv6=node.ipv6,
            kafka_filter=KAFKA_BROKER in node.extensions,
            workdir=node.workdir,
        )


def _introduction(session: Session, first: bytes) -> tuple[ProxyNode, list[Command]]:
    """
    Who opened the stream, and what else its first request leads to.

    The request itself, 60 kB with an Envoy's list of extensions and 300 kB once parsed, is let go of here and not when
    the stream ends.

    Raises:
        BadRequest: not a discovery request, or a node that makes no sense.
    """
    commands = session.receive(first)
    opened = next(command for command in commands if isinstance(command, Opened))
    return ProxyNode.parse(opened.node), [command for command in commands if command is not opened]


async def _send(stream: Stream, response: grpc.Response) -> None:
    """Empty the outbox whenever there is something in it, until the stream ends."""
    while True:
        await stream.wake.wait()
        stream.wake.clear()
        waiting, stream.outbox = stream.outbox, []
        for message in waiting:
            await response.send(message)
        if stream.ended:
            raise _Ended
