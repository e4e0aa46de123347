"""Secrets that the control plane itself reads: what may become of them."""

import base64
from datetime import timedelta

import pytest

from kuma.core.errors import InvalidResource
from kuma.core.identity import secret_data
from kuma.core.model.resource import Key
from kuma.cp.ca.authority import Pair, new_root
from kuma.cp.certificates.stored import new_stored_authority
from kuma.cp.store.port import Put
from kuma.cp.tokens.material import generate_signing_key
from tests.unit.cp.resources.user import MESH, NOW, builtin, mesh, secret, told


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


def holding(name: str, value: bytes, kind: str = "Secret") -> dict:
    """A secret with this value."""
    document = secret(name, base64.b64encode(value).decode()) | {"type": kind}
    return {field: text for field, text in document.items() if kind == "Secret" or field != "mesh"}


def root(ends_in: timedelta = timedelta(days=1)) -> Pair:
    """A certificate authority of the user's own."""
    return new_root(common_name="mine", unit="", uri="", lifetime=ends_in, now=NOW)


async def with_own_authority(user, *, skip_validation: bool = False) -> Pair:
    """Mesh ``default`` has an authority whose certificate and key lie in two secrets."""
    pair = root()
    await user.put(holding("my-cert", pair.certificate))
    await user.put(holding("my-key", pair.key))
    conf = {"cert": {"secret": "my-cert"}, "key": {"secret": "my-key"}}
    mtls = {"backends": [{"name": "mine", "type": "provided", "conf": conf}], "skipValidation": skip_validation}
    await user.put(mesh(mtls=mtls))
    return pair


@pytest.mark.parametrize(
    "name, value, reason",
    [
        ("my-cert", b"a", 'cannot be the certificate of the mTLS backend "mine": it is not a certificate in PEM'),
        ("my-cert", b"", 'cannot be the certificate of the mTLS backend "mine": it is not a certificate in PEM'),
        ("my-key", b"a", 'cannot be the key of the mTLS backend "mine": it is not a private key in PEM'),
        ("my-key", b"", 'cannot be the key of the mTLS backend "mine": it is not a private key in PEM'),
    ],
)
async def test_a_secret_of_an_authority_takes_nothing_that_it_cannot_use(user, name, value, reason):
    """The mesh would have no certificates to give from its next change on."""
    await with_own_authority(user)

    [(field, told_reason)] = told(await user.refused(holding(name, value)))

    assert (field, told_reason[: len(reason)]) == ("data", reason)


async def test_an_authority_that_has_ended_cannot_take_the_place_of_one_that_holds(user):
    """As a Mesh would not take it either."""
    await with_own_authority(user)
    ended = new_root(common_name="mine", unit="", uri="", lifetime=timedelta(days=1), now=NOW - timedelta(days=9))

    [(_, reason)] = told(await user.refused(holding("my-cert", ended.certificate)))

    assert 'the certificate of the mTLS backend "mine": ended at' in reason


async def test_an_authority_is_replaced_secret_by_secret(user):
    """Between the two the mesh keeps its last CA, and whoever applied the first is told."""
    await with_own_authority(user)
    successor = root()

    first = await user.put(holding("my-cert", successor.certificate))
    second = await user.put(holding("my-key", successor.key))

    told_first = 'mTLS backend "mine" keeps its last CA: conf.key is not the key of the certificate in conf.cert'
    assert (first.warnings, second.warnings) == ((told_first,), ())


async def test_certificate_and_key_may_lie_in_one_secret(user):
    """Then they are judged together."""
    pair = root()
    await user.put(holding("both", pair.certificate + pair.key))
    conf = {"cert": {"secret": "both"}, "key": {"secret": "both"}}
    await user.put(mesh(mtls={"backends": [{"name": "mine", "type": "provided", "conf": conf}]}))
    mixed = holding("both", pair.certificate + root().key)

    assert [field for field, _ in told(await user.refused(mixed))] == ["data"]


async def test_whoever_skips_the_validation_of_a_mesh_skips_that_of_its_secrets(user):
    """As when the Mesh was applied."""
    await with_own_authority(user, skip_validation=True)

    await user.put(holding("my-cert", b"a"))


async def test_what_is_stored_can_be_applied_again_whatever_it_is(user):
    """An authority that has ended since must not keep a folder of documents from being applied."""
    await with_own_authority(user)
    await user.as_control_plane(Put(Key("Secret", "default", "my-cert"), secret_data.encode(b"old"), owner=MESH))

    assert not (await user.put(holding("my-cert", b"old"))).created


async def test_the_root_of_a_builtin_authority_takes_only_another_root(user):
    """Someone may bring back a root from a backup, and no rubbish."""
    await user.put(mesh(mtls=builtin("ca-1")))
    backup = root()

    assert [field for field, _ in told(await user.refused(holding("default.ca-builtin-key-ca-1", b"a")))] == ["data"]
    await user.put(holding("default.ca-builtin-cert-ca-1", backup.certificate))
    assert (await user.put(holding("default.ca-builtin-key-ca-1", backup.key))).warnings == ()


@pytest.mark.parametrize(
    "kind, name",
    [
        ("GlobalSecret", "user-token-signing-key-2"),
        ("GlobalSecret", "zone-token-signing-key-1"),
        ("GlobalSecret", "user-token-signing-key"),
        ("Secret", "dataplane-token-signing-key-default-2"),
    ],
)
async def test_a_key_that_cannot_sign_is_refused(user, kind, name):
    """It would be the newest one, and no token could be issued any more."""
    [(field, reason)] = told(await user.refused(holding(name, b"a", kind)))

    assert field == "data"
    assert reason.startswith("is no key that signs tokens, which is what a secret of this name is for: ")
    await user.put(holding(name, await generate_signing_key(), kind))


@pytest.mark.parametrize("name", ["dataplane-token-signing-key-other-1", "user-token-signing-key-1", "signing-key-1"])
async def test_only_names_of_keys_that_count_are_keys(user, name):
    """Nobody reads a key of another mesh here: it may hold anything."""
    await user.put(holding(name, b"a"))


@pytest.mark.parametrize("name", ["kuma-cp-ca", "envoy-admin-ca"])
async def test_an_authority_of_the_control_plane_cannot_be_deleted_but_replaced(newcomer, name):
    """Without it the next start would make another, and whoever trusts the first would be lost without a word."""
    await newcomer.as_control_plane(new_stored_authority(name, now=NOW))

    with pytest.raises(InvalidResource) as caught:
        await newcomer.delete("GlobalSecret", name)
    [(_, reason)] = told(caught.value)
    assert "apply a GlobalSecret of this name with another certificate of a CA and its key" in reason

    pair = root()
    [(field, reason)] = told(await newcomer.refused(holding(name, pair.certificate, "GlobalSecret")))
    assert (field, reason.split(":")[0]) == (
        "data",
        "has to be the certificate of a CA and its key, PEM, one after the other",
    )
    [warning] = (await newcomer.put(holding(name, pair.certificate + pair.key, "GlobalSecret"))).warnings
    assert warning.startswith("it counts from the next start of kuma-cp; then ")
