"""A store with nothing in it, and one with the mesh ``default``."""

import pytest

from kuma.cp.resources import Resources
from kuma.cp.store.memory import MemoryStore
from kuma.cp.store.port import Put
from tests.unit.cp.resources.user import MESH, NOW, User


@pytest.fixture
def newcomer() -> User:
    """A user of a control plane without any mesh."""
    store = MemoryStore()
    return User(store, Resources(store, lambda: NOW))


@pytest.fixture
async def user(newcomer: User) -> User:
    """A user of a control plane with an empty mesh ``default``."""
    await newcomer.as_control_plane(Put(MESH, b"{}"))
    return newcomer
