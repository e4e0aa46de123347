"""gRPC messages are cut out of what arrives, however it is split, and a lost connection ends them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from itertools import chain, repeat
from typing import Any

import pytest

from kuma.core.errors import BadRequest, TooLarge
from kuma.cp.server.dp import grpc


class Arriving:
    """A request body that arrives in these pieces."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = iter(pieces)

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        try:
            return next(self._pieces)
        except StopIteration:
            raise StopAsyncIteration from None


async def received(pieces: Iterable[bytes]) -> list[bytes]:
    """All messages of a request."""
    exchange: Any = Arriving(pieces)
    return [message async for message in grpc.messages(exchange)]


@pytest.mark.parametrize("size", [1, 2, 5, 7, 1000])
async def test_messages_arrive_whole_however_they_are_split(size):
    """Pieces of any size give the same messages, the empty one too."""
    sent = [b"first", b"", b"x" * 300]
    whole = b"".join(map(grpc.frame, sent))

    assert await received(whole[at : at + size] for at in range(0, len(whole), size)) == sent


async def test_lost_connection_ends_the_messages():
    """The server gives empty pieces for ever once a connection is lost; that is an end, not a busy loop."""
    assert await received(chain([grpc.frame(b"last")], repeat(b""))) == [b"last"]


async def test_message_over_the_limit_is_refused_before_it_is_read():
    """Its announced length is enough."""
    with pytest.raises(TooLarge):
        await received([b"\x00" + (grpc.MAX_MESSAGE_BYTES + 1).to_bytes(4, "big")])


async def test_compressed_message_is_refused():
    """Compression was never offered."""
    with pytest.raises(BadRequest):
        await received([b"\x01\x00\x00\x00\x01x"])
