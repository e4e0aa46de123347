import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kuma.core.errors import BadRequest, TooLarge
from kuma.cp.server.dp import grpc


class Headers:
    """Request headers."""

    def __init__(self, *pairs):
        self.pairs = list(pairs)

    def get(self, key, default=None):
        return next((value for name, value in self.pairs if name == key), default)

    def items(self):
        return self.pairs


class Scope:
    """A request."""

    def __init__(self, *headers, version="2"):
        self.headers, self.http_version = Headers(*headers), version


class Exchange:
    """Gives chunks, keeps answers."""

    def __init__(self, *chunks):
        self.chunks, self.answers = chunks, []

    async def __aiter__(self):
        for chunk in self.chunks:
            yield chunk

    def response_empty(self, status, headers):
        self.answers.append((status, dict(headers)))


async def read(*chunks):
    """The messages in what the network gave."""
    return [message async for message in grpc.messages(Exchange(*chunks))]


@given(st.lists(st.binary(max_size=40), max_size=5), st.lists(st.integers(1, 30)))
async def test_messages_arrive_whole_however_they_are_cut(messages, sizes):
    """The network cuts where it likes."""
    rest = b"".join(map(grpc.frame, messages))
    chunks = []
    for size in sizes:
        chunks.append(rest[:size])
        rest = rest[size:]

    assert await read(*filter(None, chunks), *filter(None, [rest])) == messages


async def test_a_message_that_never_ends_is_not_given():
    """Half a message at the end of a stream is no message."""
    assert await read(grpc.frame(b"whole"), grpc.frame(b"half")[:-1]) == [b"whole"]


async def test_a_lost_connection_ends_the_messages():
    """Granian tells of it by an empty chunk."""
    assert await read(grpc.frame(b"a"), b"", grpc.frame(b"b")) == [b"a"]


async def test_a_message_over_the_limit_is_refused_before_it_is_read():
    """By what its prefix announces."""
    with pytest.raises(TooLarge, match="at most 4194304 are accepted"):
        await read(struct.pack(">BI", 0, grpc.MAX_MESSAGE_BYTES + 1))


async def test_compressed_messages_are_refused():
    """We never offer to read them."""
    with pytest.raises(BadRequest, match="compressed"):
        await read(struct.pack(">BI", 1, 1) + b"x")


@pytest.mark.parametrize(
    ("version", "kind", "expected"),
    [
        ("2", "application/grpc", True),
        ("2", "application/grpc+proto", True),
        ("2", "application/json", False),
        ("1.1", "application/grpc", False),
    ],
)
def test_what_is_grpc(version, kind, expected):
    """HTTP/2 with its content type."""
    assert grpc.is_grpc(Scope(("content-type", kind), version=version)) is expected


def test_one_credential_or_none():
    """Two would leave open who asks."""
    assert grpc.credential(Scope()) == ""
    assert grpc.credential(Scope(("authorization", "token"))) == "token"
    with pytest.raises(BadRequest, match="more than one authorization"):
        grpc.credential(Scope(("authorization", "a"), ("authorization", "b")))


def test_a_refusal_fits_into_a_header():
    """Line breaks and other characters are escaped, the length is bounded; the text stays readable."""
    exchange = Exchange()
    grpc.refuse(exchange, grpc.UNAUTHENTICATED, "no: 50% of\r\nx-evil: 1 é" + "x" * 5000)

    [(status, headers)] = exchange.answers
    assert (status, headers["grpc-status"]) == (200, "16")
    assert headers["grpc-message"].startswith("no: 50%25 of%0D%0Ax-evil: 1 %C3%A9x")
    assert len(headers["grpc-message"]) < 2100
