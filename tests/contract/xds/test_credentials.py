"""What proxies show as tokens, over the wire: forged, oversized, several at once."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from contextlib import suppress

import grpc

from kuma.core.model.resource import Key
from kuma.core.xds.names import CLUSTER
from kuma.cp.server.dp import ads
from kuma.envoy_api.envoy.service.discovery.v3.discovery_pb2 import DeltaDiscoveryRequest
from tests.contract.api.hostile_tokens import HUGE, hostile
from tests.contract.xds.stack import PATIENCE, Proxy, dataplane, node

AT_MOST = 5.0
"""Seconds for one refusal, with the making of its connection, on a busy machine."""


async def refused(stack, *tokens):
    """How a stream ends that shows these tokens."""
    async with stack.channel() as channel:
        metadata = tuple(("authorization", token) for token in tokens)
        call = channel.stream_stream(ads.DELTA_PATH)(metadata=metadata)
        with suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):  # it may have ended already
            await call.write(first_request())
        async with asyncio.timeout(PATIENCE):
            return await call.code(), await call.details()


def first_request():
    """The first request of a proxy that brings its Dataplane."""
    first = DeltaDiscoveryRequest(node=node("web-1", dataplane("web-1", "web")), type_url=CLUSTER)
    return first.SerializeToString()


async def test_no_hostile_token_lets_a_proxy_in(stack):
    """Each is refused with a reason and leaves no Dataplane; what is too large for a header is cut off before."""
    good = await stack.token("web-1")
    key = await stack.store.get(Key("Secret", "default", "dataplane-token-signing-key-default-1"))
    pem = base64.b64decode(json.loads(key.spec)["data"])
    for name, token in hostile(good, pem):
        if not token.isascii() or not token.isprintable():
            continue
        started = time.perf_counter()
        status, text = await refused(stack, token)
        assert time.perf_counter() - started < AT_MOST, name
        if len(token) < HUGE:
            assert status == grpc.StatusCode.UNAUTHENTICATED, (name, status, text)
            assert text.startswith("authentication failed: "), (name, text)
        else:
            assert status not in (grpc.StatusCode.OK, grpc.StatusCode.UNKNOWN), (name, status)
        assert await stack.store.find(Key("Dataplane", "default", "web-1")) is None, name

    async with Proxy(stack, node("web-1", dataplane("web-1", "web")), good, delta=True).connected():
        pass


async def test_a_token_of_the_largest_header_is_refused_with_the_limit(stack):
    """It fits into a header, so its sender can be told."""
    status, text = await refused(stack, "a" * 40_000)

    assert status == grpc.StatusCode.UNAUTHENTICATED
    assert text == "authentication failed: could not parse token: it is longer than 16384 bytes"


async def test_several_tokens_at_once_are_refused(stack):
    """It would not be clear who asks; also if all of them are good."""
    good = await stack.token("web-1")
    for tokens in ((good, good), (good, "x"), ("x", good)):
        status, text = await refused(stack, *tokens)
        assert (status, text) == (
            grpc.StatusCode.INVALID_ARGUMENT,
            "authentication failed: the request carries more than one authorization",
        )
