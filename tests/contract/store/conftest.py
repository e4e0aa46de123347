import pytest

from tests.contract.store.implementations import IMPLEMENTATIONS


@pytest.fixture(params=IMPLEMENTATIONS, ids=lambda implementation: implementation.name)
def implementation(request):
    """One after the other, all of them."""
    return request.param


@pytest.fixture(params=[i for i in IMPLEMENTATIONS if i.durable], ids=lambda implementation: implementation.name)
def durable(request):
    """Those that keep what they have over a restart."""
    return request.param


@pytest.fixture
async def store(implementation, tmp_path):
    """An empty store of the implementation under test."""
    async with implementation.opened(tmp_path) as opened:
        yield opened
