from datetime import timedelta

import pytest
from cryptography import x509

from kuma.core.errors import InvalidResource
from kuma.core.model.codec import decode_json
from kuma.core.model.resource import Meta, Resource
from kuma.core.snapshot.proxy import proxy_of
from kuma.cp.ca.authorities import Authorities
from kuma.cp.ca.authority import load_authority, new_root
from kuma.cp.reconcile.identities import ADMIN_LIFETIME, Identities
from kuma.envoy_api.envoy.extensions.transport_sockets.tls.v3.secret_pb2 import Secret
from tests.unit.cp.reconcile.control import NOW, control, key

MTLS = {
    "enabledBackend": "ca-1",
    "backends": [{"name": "ca-1", "type": "builtin", "dpCert": {"rotation": {"expiration": "1h"}}}],
}


def proxy(*services, name="web", **tags):
    """A proxy that offers services."""
    inbounds = [
        {"port": 8080 + number, "tags": {"kuma.io/service": one, **tags}} for number, one in enumerate(services)
    ]
    spec = decode_json("Dataplane", {"networking": {"address": "10.0.0.1", "inbound": inbounds}})
    return proxy_of(Resource(Meta(key(name)), spec))


@pytest.fixture
async def issuing():
    """Identities, and how a mesh with mTLS issues."""
    async with control() as cp:
        await cp.mesh(mtls=MTLS)
        await cp.reached()
        root = new_root(common_name="admin", unit="test", uri="", lifetime=timedelta(days=1000), now=NOW)
        identities = Identities(Authorities(cp.store), load_authority(root, "admin"))
        yield identities, cp.meshes.state("default").issuing


def leaf(certificate):
    """The certificate a secret holds."""
    secret = Secret.FromString(certificate.secret.body)
    return x509.load_pem_x509_certificate(secret.tls_certificate.certificate_chain.inline_bytes)


def uris(certificate):
    """The URI SANs of a certificate, in order."""
    names = leaf(certificate).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return names.get_values_for_type(x509.UniformResourceIdentifier)


async def test_a_certificate_names_services_and_tags(issuing):
    """One SPIFFE id per service, one URI per tag; it lasts as long as the backend says."""
    identities, how = issuing

    made = await identities.identity(proxy("web", "api", version="v1"), how, None, "", NOW)

    assert uris(made) == [
        "spiffe://default/api",
        "spiffe://default/web",
        "kuma://kuma.io/service/api",
        "kuma://kuma.io/service/web",
        "kuma://version/v1",
    ]
    assert made.not_after - NOW <= timedelta(hours=1)
    assert made.backend == "ca-1"


async def test_a_certificate_is_kept_until_half_of_its_life_is_over(issuing):
    """Then another is issued, although the old one still holds."""
    identities, how = issuing
    first = await identities.identity(proxy("web"), how, None, "", NOW)

    early, late = first.renew_at - timedelta(seconds=1), first.renew_at
    assert await identities.identity(proxy("web"), how, first, "", early) is first
    second = await identities.identity(proxy("web"), how, first, "", late)

    assert second is not first
    assert late < first.not_after
    assert second.secret.version != first.secret.version


async def test_other_services_need_another_certificate(issuing):
    """At once: the proxy would be refused where it is called by its new name."""
    identities, how = issuing
    first = await identities.identity(proxy("web"), how, None, "", NOW)

    second = await identities.identity(proxy("web", "api"), how, first, "", NOW)

    assert "spiffe://default/api" in uris(second)


async def test_a_certificate_is_recognised_by_the_version_the_proxy_brings_back(issuing):
    """After a restart the key is known to nobody but the proxy, which is sent nothing."""
    identities, how = issuing
    issued = await identities.identity(proxy("web"), how, None, "", NOW)

    known = await identities.identity(proxy("web"), how, None, issued.secret.version, NOW)

    assert known.secret.held
    assert known.secret == issued.secret
    assert (known.not_after, known.backend) == (issued.not_after.replace(microsecond=0), "ca-1")


@pytest.mark.parametrize("version", ["", "x", "a.b.c", "...", "d.1.99999999999999999999", "é.1.2", "a" * 500])
async def test_a_version_that_is_not_ours_is_no_certificate(issuing, version):
    """Whatever a proxy says it holds: it is sent a new one."""
    identities, how = issuing

    assert not (await identities.identity(proxy("web"), how, None, version, NOW)).secret.held


async def test_a_version_of_another_identity_is_no_certificate(issuing):
    """A proxy cannot keep what it was given for something else."""
    identities, how = issuing
    other = await identities.identity(proxy("other"), how, None, "", NOW)

    assert not (await identities.identity(proxy("web"), how, None, other.secret.version, NOW)).secret.held


async def test_a_proxy_without_a_name_gets_no_certificate(issuing):
    """The text says what to add."""
    identities, how = issuing
    nameless = decode_json("Dataplane", {"networking": {"address": "10.0.0.1", "inbound": [{"port": 80}]}})

    with pytest.raises(InvalidResource, match="no inbound has the tag"):
        await identities.identity(proxy_of(Resource(Meta(key("x")), nameless)), how, None, "", NOW)


async def test_the_admin_certificate_is_for_an_address(issuing):
    """It is kept, recognised and replaced like any other."""
    identities, _ = issuing
    made = identities.admin("10.0.0.1", None, "", NOW)

    assert made.not_after == NOW + ADMIN_LIFETIME
    assert identities.admin("10.0.0.1", made, "", NOW) is made
    assert identities.admin("10.0.0.1", None, made.secret.version, NOW).secret.held
    assert identities.admin("10.0.0.2", made, "", NOW) is not made
