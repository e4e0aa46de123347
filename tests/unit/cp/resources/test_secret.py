"""Secrets that an authority needs."""

import pytest

from kuma.core.errors import InvalidResource
from kuma.core.identity import secret_data
from kuma.core.model.resource import Key
from tests.unit.cp.resources.user import builtin, mesh, secret, told


def text(name: str, backend: str) -> str:
    """What a user is told, word for word Kuma's."""
    return (
        f'The secret "{name}" that you are trying to remove is currently in use in Mesh "default" in mTLS backend '
        f'"{backend}". Please remove the reference from the "{backend}" backend before removing the secret.'
    )


async def refused(user, name):
    """The error of deleting a secret."""
    with pytest.raises(InvalidResource) as caught:
        await user.delete("Secret", name)
    assert caught.value.title == "Could not delete a resource"
    return told(caught.value)


async def test_a_secret_of_a_provided_authority_stays_until_its_backend_goes(user):
    """Whether the backend is enabled or only listed."""
    conf = {"cert": {"secret": "my-cert"}, "key": {"secret": "my-key"}}
    backend = {"name": "mine", "type": "provided", "conf": conf}
    for name in ("my-cert", "my-key", "other"):
        await user.put(secret(name))
    await user.put(mesh(mtls={"backends": [backend], "skipValidation": True}))

    assert await refused(user, "my-cert") == [("name", text("my-cert", "mine"))]
    assert await refused(user, "my-key") == [("name", text("my-key", "mine"))]
    await user.delete("Secret", "other")

    await user.put(mesh())
    await user.delete("Secret", "my-cert")


async def test_the_root_of_a_builtin_authority_stays_too(user):
    """Without it no proxy gets a certificate."""
    await user.put(mesh(mtls=builtin("ca-1")))

    for name in ("default.ca-builtin-cert-ca-1", "default.ca-builtin-key-ca-1"):
        assert await refused(user, name) == [("name", text(name, "ca-1"))]


async def test_data_is_base64(user):
    """Anything else is refused without repeating it."""
    error = await user.refused(secret("s", "not base64!"))

    assert told(error) == [("data", "must be base64 encoded")]
    await user.put(secret("s"))
    assert secret_data.decode((await user.store.get(Key("Secret", "default", "s"))).spec) == b"test"


async def test_a_global_secret_belongs_to_no_mesh(newcomer):
    """It can be written before there is any mesh."""
    await newcomer.put({"type": "GlobalSecret", "name": "g", "data": "dGVzdA=="})

    found = await newcomer.get("GlobalSecret", "g")
    assert found.spec.data == b"test"
    assert found.meta.labels == {"kuma.io/env": "universal", "kuma.io/origin": "zone", "kuma.io/zone": "default"}
    await newcomer.delete("GlobalSecret", "g")
