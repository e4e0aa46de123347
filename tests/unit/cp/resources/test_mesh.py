"""Meshes: what they start with, how their authorities change, and when they may go."""

import base64
import re
from datetime import timedelta

import pytest
import yaml

from kuma.core.identity import secret_data
from kuma.core.model.resource import Key
from kuma.cp.ca.authority import new_root
from kuma.cp.resources import Resources
from kuma.cp.store.port import Delete, Put
from kuma.cp.tokens.material import read_private_key
from tests.unit.cp.resources.user import MESH, NOW, User, builtin, dataplane, mesh, permission, told

POLICIES = ("MeshTimeout", "MeshCircuitBreaker", "MeshRetry", "MeshTrafficPermission")
EVERYTHING = {"skipCreatingInitialPolicies": ["*"]}


async def policies(user: User, of: str = "default") -> list[str]:
    """Names of all policies of a mesh."""
    return [name for kind in POLICIES for name in await user.names(kind, of)]


def root(*, ends_in: timedelta = timedelta(days=1)) -> tuple[str, str]:
    """A certificate and a key of the user's own, as text."""
    pair = new_root(common_name="mine", unit="", uri="", lifetime=ends_in, now=NOW)
    return pair.certificate.decode(), pair.key.decode()


def provided(certificate: str, key: str, name: str = "mine") -> dict:
    """A backend with the user's own root."""
    conf = {"cert": {"inlineString": certificate}, "key": {"inlineString": key}}
    return {"name": name, "type": "provided", "conf": conf}


def insight(backend: str, *, online: bool = True, name: str = "web-1") -> Put:
    """What the control plane knows about a proxy with a certificate."""
    end = "" if online else ',"disconnectTime":"2026-11-23T11:00:00Z"'
    spec = f'{{"subscriptions":[{{"connectTime":"2026-11-23T10:00:00Z"{end}}}],"mTLS":{{"issuedBackend":"{backend}"}}}}'
    return Put(Key("DataplaneInsight", "default", name), spec.encode(), owner=MESH, unlogged=True)


async def test_a_new_mesh_comes_whole_in_one_batch(newcomer):
    """The mesh, its policies, the key of its tokens and its roots become durable together and are owned by it."""
    await newcomer.put(mesh(mtls=builtin("ca-1", "ca-2")))

    records = (await newcomer.store.contents()).records
    assert [record.key.name for record in records if record.key.kind == "Secret"] == [
        "dataplane-token-signing-key-default-1",
        "default.ca-builtin-cert-ca-1",
        "default.ca-builtin-cert-ca-2",
        "default.ca-builtin-key-ca-1",
        "default.ca-builtin-key-ca-2",
    ]
    assert len(await policies(newcomer)) == 4
    assert {record.owner for record in records} == {None, MESH}
    assert len({record.created for record in records}) == 1
    signing_key = await newcomer.store.get(Key("Secret", "default", "dataplane-token-signing-key-default-1"))
    assert read_private_key(secret_data.decode(signing_key.spec)).key_size == 2048


async def test_a_default_policy_that_was_deleted_stays_deleted(newcomer):
    """Applying the mesh again does not bring it back."""
    await newcomer.put(mesh())
    await newcomer.delete("MeshRetry", "mesh-retry-all-default")

    await newcomer.put(mesh(networking={"outbound": {"passthrough": False}}))

    assert await newcomer.names("MeshRetry") == []


async def test_a_refused_mesh_leaves_nothing_behind(newcomer):
    """Neither policies nor keys of a mesh that did not come to be."""
    await newcomer.refused(mesh(mtls={"backends": [provided("no", "no")]}))

    assert (await newcomer.store.contents()).records == ()


async def test_a_builtin_root_is_made_when_its_backend_is_first_listed(user):
    """And is never replaced: certificates in use hang on it."""
    await user.put(mesh(mtls=builtin("ca-1")))
    key = Key("Secret", "default", "default.ca-builtin-cert-ca-1")
    first = await user.store.get(key)

    await user.put(mesh(mtls=builtin("ca-1", "ca-2")))
    await user.put(mesh())
    await user.put(mesh(mtls=builtin("ca-1")))

    assert await user.store.get(key) == first
    assert "default.ca-builtin-cert-ca-2" in await user.names("Secret")


async def test_a_lost_root_is_made_anew_by_applying_the_mesh_again(user):
    """Also where the document itself did not change."""
    document = mesh(mtls=builtin("ca-1"))
    await user.put(document)
    secrets = await user.names("Secret")
    await user.as_control_plane(*(Delete(Key("Secret", "default", name)) for name in secrets))

    await user.put(document)

    assert await user.names("Secret") == secrets


@pytest.mark.parametrize(
    "backend, field, reason",
    [
        ({"name": "", "type": "builtin"}, "mtls.backends[0].name", "has to be a name of"),
        ({"name": "a/b", "type": "builtin"}, "mtls.backends[0].name", "has to be a name of"),
        ({"name": "x" * 129, "type": "builtin"}, "mtls.backends[0].name", "has to be a name of"),
        (
            {"name": "a", "type": "builtin", "conf": {"caCert": {"RSAbits": 1024}}},
            "mtls.backends[0].conf.caCert.RSAbits",
            "has to be between 2048 and 4096",
        ),
        (
            {"name": "a", "type": "builtin", "conf": {"caCert": {"expiration": "10 years"}}},
            "mtls.backends[0].conf.caCert.expiration",
            "has to be a valid format",
        ),
    ],
)
async def test_a_backend_of_which_nothing_could_be_made_is_refused(user, backend, field, reason):
    """Also with skipValidation: what is stored has to work later."""
    error = await user.refused(mesh(mtls={"backends": [backend], "skipValidation": True}))

    assert error.title == "Failed to update a resource"
    assert [(found.field, found.reason[: len(reason)]) for found in error.violations] == [(field, reason)]


async def test_a_provided_root_has_to_be_able_to_sign(user):
    """All that is wrong with it is told, and where; skipValidation is the user's own risk."""
    certificate, _ = root()
    _, key = root()
    broken = {"backends": [provided(certificate, key)]}

    error = await user.refused(mesh(mtls=broken))

    assert told(error) == [("mtls.backends[0].conf.key", "is not the key of the certificate in conf.cert")]
    await user.put(mesh(mtls={**broken, "skipValidation": True}))
    assert (await user.refused(mesh(mtls=broken))).violations == error.violations


async def test_a_provided_root_may_lie_in_a_secret(user):
    """The secret has to be there first, and the error says so."""
    certificate, key = root()
    conf = {"cert": {"secret": "my-cert"}, "key": {"inlineString": key}}
    document = mesh(mtls={"backends": [{"name": "mine", "type": "provided", "conf": conf}]})
    assert told(await user.refused(document)) == [
        ("mtls.backends[0].conf.cert", 'Secret "my-cert" does not exist in mesh "default"; create it first')
    ]

    data = base64.b64encode(certificate.encode()).decode()
    await user.put({"type": "Secret", "mesh": "default", "name": "my-cert", "data": data})

    assert (await user.put(document)).created is False


async def test_a_root_that_has_ended_does_not_keep_its_successor_out(newcomer):
    """Unchanged backends are not judged again: otherwise an expired authority could never be replaced."""
    clock = [NOW]
    user = User(newcomer.store, Resources(newcomer.store, lambda: clock[0]))
    old = provided(*root(ends_in=timedelta(hours=1)))
    await user.put(mesh(mtls={"enabledBackend": "mine", "backends": [old]}))
    clock[0] += timedelta(hours=2)

    await user.put(mesh(mtls={"enabledBackend": "mine", "backends": [old, {"name": "ca-2", "type": "builtin"}]}))
    await user.put(mesh(mtls={"enabledBackend": "ca-2", "backends": [old, {"name": "ca-2", "type": "builtin"}]}))

    back = mesh(mtls={"enabledBackend": "mine", "backends": [old, {"name": "ca-2", "type": "builtin"}]})
    assert [found.field for found in (await user.refused(back)).violations] == ["mtls.backends[0].conf.cert"]


async def test_the_authority_can_be_changed_while_mtls_is_on(user):
    """To one listed before, or in the same write."""
    await user.put(mesh(mtls=builtin("ca-1")))

    assert (await user.put(mesh(mtls=builtin("ca-1", "ca-2", enabled="ca-2")))).warnings == ()
    assert (await user.put(mesh(mtls=builtin("ca-1", "ca-2", enabled="ca-1")))).warnings == ()


async def test_an_authority_whose_certificates_are_in_use_stays(user):
    """Removing it would cut proxies off; the error names them and the way out."""
    await user.put(mesh(mtls=builtin("ca-1", "ca-2")))
    await user.as_control_plane(insight("ca-1"))

    error = await user.refused(mesh(mtls=builtin("ca-2")))

    reason = (
        'backend "ca-1" cannot be removed yet: proxy "web-1" still shows a certificate from it. Enable another '
        "backend, and remove this one when every proxy has a certificate from the other"
    )
    assert told(error) == [("mtls.backends", reason)]
    await user.as_control_plane(insight("ca-1", name="web-2"))
    error = await user.refused(mesh(mtls=builtin("ca-2")))
    assert '2 proxies ("web-1" and others) still show a certificate' in error.violations[0].reason


async def test_an_authority_may_go_once_no_connected_proxy_needs_it(user):
    """Proxies that left do not hold it back, nor do those with a certificate from another."""
    await user.put(mesh(mtls=builtin("ca-1", "ca-2")))
    await user.as_control_plane(insight("ca-2"), insight("ca-1", online=False, name="gone"))

    await user.put(mesh(mtls=builtin("ca-2")))


async def test_an_authority_in_use_is_not_exchanged_under_its_name(user):
    """Another type under the same name is another authority."""
    await user.put(mesh(mtls=builtin("ca-1")))
    await user.as_control_plane(insight("ca-1"))
    exchanged = mesh(mtls={"enabledBackend": "ca-1", "backends": [provided(*root(), name="ca-1")]})

    assert [found.field for found in (await user.refused(exchanged)).violations] == ["mtls.backends"]


async def test_mtls_may_be_switched_off_at_any_time(user):
    """With or without leaving the backends in the list."""
    await user.put(mesh(mtls=builtin("ca-1")))
    await user.as_control_plane(insight("ca-1"))

    await user.put(mesh(mtls={"backends": []}))
    await user.put(mesh())


async def test_what_proxies_had_before_mtls_was_off_does_not_matter(user):
    """Their certificates are gone, whatever was last seen of them."""
    await user.put(mesh(mtls=builtin("ca-1")))
    await user.as_control_plane(insight("ca-1"))
    await user.put(mesh(mtls={"backends": [{"name": "ca-1", "type": "builtin"}]}))

    await user.put(mesh(mtls=builtin("ca-2")))


async def test_switching_mtls_on_without_any_permission_warns(user):
    """Traffic would stop; the warning says what to apply, and that works."""
    [warning] = (await user.put(mesh(mtls=builtin("ca-1")))).warnings

    assert "all traffic between its proxies will be denied" in warning
    suggested = yaml.safe_load(re.search(r"apply (.*)$", warning)[1])
    assert (await user.put(suggested)).warnings == ()
    assert suggested == permission()


async def test_switching_mtls_on_is_silent_where_it_is_permitted_or_was_on(user):
    """A warning that comes without need is not read."""
    await user.put(mesh(mtls=builtin("ca-1")))
    assert (await user.put(mesh(mtls=builtin("ca-1"), networking={"outbound": {"passthrough": False}}))).warnings == ()
    await user.put(mesh())
    await user.put(permission())

    assert (await user.put(mesh(mtls=builtin("ca-1")))).warnings == ()


async def test_a_mesh_with_proxies_cannot_be_deleted(user):
    """Unless the operator allows it for the whole control plane."""
    await user.put(dataplane())

    with pytest.raises(Exception, match="still some dataplanes attached") as caught:
        await user.delete("Mesh", "default")
    assert (caught.value.title, caught.value.violations[0].field) == ("Could not delete a resource", "mesh")

    await User(user.store, Resources(user.store, lambda: NOW, unsafe_delete=True)).delete("Mesh", "default")
    assert (await user.store.contents()).records == ()


async def test_the_name_of_a_mesh_is_short_and_better_a_dns_label(newcomer):
    """Too long is refused; other than a label is accepted with a warning."""
    long = "m" * 64
    assert told(await newcomer.refused(mesh(long))) == [("name", "cannot be longer than 63 characters")]

    [warning] = (await newcomer.put(mesh("my.mesh", **EVERYTHING))).warnings

    assert warning.startswith("Invalid Mesh resource name: 'my.mesh'")


async def test_defaults_of_metrics_are_stored_with_the_mesh(user):
    """What a user leaves out of a Prometheus backend is written out."""
    metrics = {"enabledBackend": "p", "backends": [{"name": "p", "type": "prometheus"}]}
    await user.put(mesh(metrics=metrics))

    stored = (await user.get("Mesh", "default")).spec.to_json()

    assert stored["metrics"]["backends"][0]["conf"]["port"] == 5670


async def test_labels_of_a_mesh_are_the_users_alone(user):
    """Nothing is computed for a mesh."""
    await user.put(mesh(labels={"team": "a"}))

    assert (await user.get("Mesh", "default")).meta.labels == {"team": "a"}
