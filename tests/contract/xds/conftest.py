import asyncio

import pytest
import uvloop

from tests.contract.xds.stack import Proxy, dataplane, node, running


def pytest_asyncio_loop_factories(item):
    """Tests of the listener run on the loop of kuma-cp: the standard library's loses connections as a listener ends."""
    if item.path.name == "test_certificates.py":
        return {"uvloop": uvloop.new_event_loop}
    return {"asyncio": asyncio.new_event_loop}


@pytest.fixture
async def stack(tmp_path):
    """A running data plane server with the mesh ``default``."""
    async with running(tmp_path) as made:
        yield made


@pytest.fixture(params=[True, False], ids=["delta", "sotw"])
def delta(request):
    """Both dialects, one after the other."""
    return request.param


@pytest.fixture
def proxy(stack, delta):
    """Makes proxies of the dialect under test; by default with a token of their own."""

    async def make(name, service, *outbounds, token=None, **fields):
        resource = dataplane(name, service, *outbounds, **fields)
        return Proxy(stack, node(name, resource), await stack.token(name) if token is None else token, delta)

    return make
