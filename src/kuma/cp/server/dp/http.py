"""Plain HTTP on the data plane port, beside gRPC: request bodies within their limit."""

from __future__ import annotations

from typing import Final

from kuma.core.errors import TooLarge
from kuma.cp.server.dp.grpc import Exchange

TEXT: Final = [("content-type", "text/plain; charset=utf-8")]


async def body(exchange: Exchange, limit: int) -> bytes:
    """
    A request body, read no further than its limit.

    Raises:
        TooLarge: over the limit.
    """
    received = bytearray()
    async for chunk in exchange:
        if not chunk:
            break  # the connection is lost, see grpc.messages
        received += chunk
        if len(received) > limit:
            raise TooLarge(f"this request may have at most {limit} bytes")
    return bytes(received)
