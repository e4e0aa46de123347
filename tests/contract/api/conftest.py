import pytest

from tests.contract.api.control_plane import control_plane


@pytest.fixture
async def cp():
    """A control plane with the mesh ``default`` and its initial policies."""
    return await control_plane()


@pytest.fixture
async def client(cp):
    """A caller on the machine of the control plane: the administrator."""
    async with cp.client() as client:
        yield client
