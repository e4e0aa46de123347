"""Roots and leaves: what is in them, who trusts them, and what is refused."""

import ssl
import time
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from kuma.core.errors import InvalidResource
from kuma.core.identity import secret_data
from kuma.core.identity.spiffe import identity_digest, subject_names
from kuma.core.model.resource import Key
from kuma.cp.ca.authorities import Authorities
from kuma.cp.ca.authority import Pair, fingerprint, load_authority, new_root, print_key, read_certificates
from kuma.cp.ca.builtin import (
    BuiltinBackend,
    builtin_puts,
    builtin_secrets,
    create_builtin_root,
    missing_builtin_puts,
    validate_builtin,
)
from kuma.cp.ca.leaf import issue_leaf
from kuma.cp.ca.provided import DataSource, ProvidedBackend, check_provided, validate_provided
from kuma.cp.store.memory import MemoryStore
from kuma.cp.store.port import CONTROL_PLANE, Delete, Put

NOW = datetime.now(UTC).replace(microsecond=0)
DAY = timedelta(days=1)
NAMES = subject_names("default", [{"kuma.io/service": "web", "version": "1"}])
CA_1 = BuiltinBackend("ca-1")


def _root(name="default", lifetime=10 * DAY, now=NOW, key=None):
    return new_root(common_name=name, unit="Mesh", uri=f"spiffe://{name}", lifetime=lifetime, now=now, key=key)


def _extension(certificate, kind):
    return certificate.extensions.get_extension_for_class(kind).value


async def _store_with_mesh(*batch):
    store = MemoryStore()
    await store.write([Put(Key("Mesh", "", "default"), b"{}"), *batch], author=CONTROL_PLANE, now=NOW)
    return store


def _shake_hands(tmp_path, server, client, trusted):
    """A real TLS handshake in memory, both sides showing a certificate; raises ssl.SSLError if one refuses."""
    contexts = []
    for name, purpose, leaf in (("s", ssl.PROTOCOL_TLS_SERVER, server), ("c", ssl.PROTOCOL_TLS_CLIENT, client)):
        context = ssl.SSLContext(purpose)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(cadata=trusted.decode())
        (tmp_path / name).write_bytes(leaf.chain_pem + leaf.key_pem)
        context.load_cert_chain(tmp_path / name)
        contexts.append(context)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = [
        contexts[0].wrap_bio(to_server, to_client, server_side=True),
        contexts[1].wrap_bio(to_client, to_server),
    ]
    for _ in range(10):
        for side in sides:
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    sides[0].read(0)
    return [side.getpeercert() for side in sides]


async def test_a_builtin_root_is_what_a_kuma_user_expects():
    """Names, ten years, and P-256 as everything we issue."""
    root = await create_builtin_root("default", CA_1, now=NOW)
    certificate = read_certificates(root.certificate)[0]
    assert [one.value for one in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)] == ["default"]
    assert certificate.subject.rfc4514_string() == "CN=default,OU=Mesh,O=Kuma"
    names = _extension(certificate, x509.SubjectAlternativeName)
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == ["spiffe://default"]
    assert certificate.not_valid_before_utc == NOW - timedelta(seconds=10)
    assert certificate.not_valid_after_utc == NOW + 3650 * DAY
    assert certificate.serial_number > 0
    assert _extension(certificate, x509.BasicConstraints).ca
    usage = _extension(certificate, x509.KeyUsage)
    assert (usage.key_cert_sign, usage.crl_sign, usage.digital_signature) == (True, True, False)
    assert isinstance(certificate.public_key().curve, ec.SECP256R1)


async def test_a_builtin_root_is_rsa_only_where_asked_for():
    """`conf.caCert.RSAbits`, and its own lifetime."""
    backend = BuiltinBackend("ca-1", rsa_bits=2048, root_lifetime=DAY)
    certificate = read_certificates((await create_builtin_root("default", backend, now=NOW)).certificate)[0]
    assert certificate.public_key().key_size == 2048
    assert isinstance(certificate.public_key(), rsa.RSAPublicKey)
    assert certificate.not_valid_after_utc == NOW + DAY


def test_impossible_builtin_settings_are_named():
    """Both at once, where the user wrote them."""
    wrong = BuiltinBackend("ca-1", rsa_bits=1024, root_lifetime=timedelta(0))
    assert [one.field for one in validate_builtin(wrong)] == ["conf.caCert.RSAbits", "conf.caCert.expiration"]
    assert not list(validate_builtin(CA_1))


async def test_a_builtin_root_is_made_once_and_goes_with_its_mesh():
    """Two Secrets owned by the Mesh, in the Mesh's own batch; never made again while they are there."""
    store = await _store_with_mesh()
    puts = await missing_builtin_puts(store, "default", CA_1, now=NOW)
    assert [put.key.name for put in puts] == ["default.ca-builtin-cert-ca-1", "default.ca-builtin-key-ca-1"]
    await store.write(puts, author=CONTROL_PLANE, now=NOW)
    assert await missing_builtin_puts(store, "default", CA_1, now=NOW) == ()
    await store.write([Delete(Key("Mesh", "", "default"))], author=CONTROL_PLANE, now=NOW)
    assert await store.list("Secret") == ()


async def test_half_a_builtin_root_is_not_replaced():
    """A lost key is for its owner to restore: a new root would cut off every proxy."""
    certificate, _ = builtin_puts("default", "ca-1", _root())
    store = await _store_with_mesh(certificate)
    with pytest.raises(InvalidResource, match=r'not "default\.ca-builtin-key-ca-1"; restore'):
        await missing_builtin_puts(store, "default", CA_1, now=NOW)


def test_a_leaf_is_what_a_kuma_user_expects():
    """SANs, usages, start and end; no subject; a serial of 128 bits."""
    authority = load_authority(_root(), "ca-1")
    issued = issue_leaf(authority, NAMES, now=NOW)
    leaf = read_certificates(issued.chain_pem)[0]
    names = _extension(leaf, x509.SubjectAlternativeName).get_values_for_type(x509.UniformResourceIdentifier)
    assert names == ["spiffe://default/web", "kuma://kuma.io/service/web", "kuma://version/1"]
    assert not leaf.subject.rdns
    usage = _extension(leaf, x509.KeyUsage)
    assert usage.digital_signature
    assert usage.key_encipherment
    assert usage.key_agreement
    assert not usage.key_cert_sign
    assert set(_extension(leaf, x509.ExtendedKeyUsage)) == {
        ExtendedKeyUsageOID.SERVER_AUTH,
        ExtendedKeyUsageOID.CLIENT_AUTH,
    }
    assert not _extension(leaf, x509.BasicConstraints).ca
    assert (issued.not_before, issued.not_after) == (NOW - timedelta(seconds=10), NOW + DAY)
    assert leaf.serial_number == issued.serial
    assert issued.serial.bit_length() == 128
    assert issued.backend == "ca-1"
    assert issued.digest == identity_digest(authority.fingerprint, NAMES, DAY)
    assert issued.renew_at < NOW + DAY / 2
    assert "PRIVATE" not in repr(issued)


@pytest.mark.parametrize("bits", [None, 2048])
def test_two_proxies_of_a_mesh_trust_each_other(tmp_path, bits):
    """With a P-256 or an RSA root: each sees the other's SPIFFE id."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=bits) if bits else None
    authority = load_authority(_root(key=key))
    one, two = (issue_leaf(authority, [f"spiffe://default/{name}"], now=NOW) for name in ("web", "db"))
    seen = _shake_hands(tmp_path, one, two, authority.pem)
    assert [peer["subjectAltName"] for peer in seen] == [
        (("URI", "spiffe://default/db"),),
        (("URI", "spiffe://default/web"),),
    ]


def test_proxies_of_different_roots_meet_where_both_are_trusted(tmp_path):
    """That is how a root is replaced without a failed request."""
    old, new = load_authority(_root()), load_authority(_root())
    one, two = (issue_leaf(authority, NAMES, now=NOW) for authority in (old, new))
    _shake_hands(tmp_path, one, two, old.pem + new.pem)
    with pytest.raises(ssl.SSLError):
        _shake_hands(tmp_path, one, two, new.pem)


def test_an_intermediate_authority_sends_its_chain(tmp_path):
    """A provided CA below a company's root: peers that trust the root accept its leaves."""
    root = load_authority(_root("company"))
    key = ec.generate_private_key(ec.SECP384R1())
    middle = (
        x509.CertificateBuilder(
            subject_name=x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "middle")]),
            issuer_name=root.certificate.subject,
        )
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(NOW - DAY)
        .not_valid_after(NOW + DAY)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(root.key, hashes.SHA256())
    )
    pair = Pair(middle.public_bytes(serialization.Encoding.PEM), print_key(key))
    assert not list(validate_provided(pair, now=NOW))
    leaf = issue_leaf(load_authority(pair), NAMES, now=NOW)
    assert len(read_certificates(leaf.chain_pem)) == 2
    _shake_hands(tmp_path, leaf, leaf, root.pem)


def test_a_leaf_never_outlives_its_root():
    """It ends with the root; and a root that is over issues nothing."""
    authority = load_authority(_root(lifetime=timedelta(hours=1)), "ca-1")
    assert issue_leaf(authority, NAMES, now=NOW).not_after == authority.not_after
    with pytest.raises(InvalidResource, match=r'root of backend "ca-1" holds from .*; add a backend'):
        issue_leaf(authority, NAMES, now=NOW + timedelta(hours=1))


def test_a_name_that_cannot_stand_in_a_certificate_is_refused():
    """As the user's mistake, not as a crash."""
    with pytest.raises(InvalidResource, match="not ASCII"):
        issue_leaf(load_authority(_root()), ["spiffe://default/wéb"], now=NOW)


def test_a_leaf_costs_well_under_a_millisecond():
    """A thousand proxies that join at once are served within a second by one core; the limit here is generous."""
    authority = load_authority(_root())
    issue_leaf(authority, NAMES, now=NOW)
    started = time.process_time()
    for _ in range(100):
        issue_leaf(authority, NAMES, now=NOW)
    assert (time.process_time() - started) / 100 < 0.001


def _pair(*, ca=True, sign=True, now=NOW, lifetime=DAY, key=None, other_key=None):
    key = key or ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "x")])
    usage = x509.KeyUsage(
        digital_signature=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=sign,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
    certificate = (
        x509.CertificateBuilder(subject_name=name, issuer_name=name, public_key=key.public_key(), serial_number=1)
        .not_valid_before(now)
        .not_valid_after(now + lifetime)
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .sign(key, None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256())
    )
    return Pair(certificate.public_bytes(serialization.Encoding.PEM), print_key(other_key or key))


@pytest.mark.parametrize(
    "pair, fields, words",
    [
        pytest.param(_pair(), [], "", id="good"),
        pytest.param(_pair(ca=False), ["conf.cert"], "is not a CA", id="no CA"),
        pytest.param(_pair(sign=False), ["conf.cert"], "keyCertSign has to be set", id="may not sign"),
        pytest.param(_pair(now=NOW - 2 * DAY), ["conf.cert"], "ended at", id="over"),
        pytest.param(_pair(now=NOW + DAY), ["conf.cert"], "starts only at", id="not yet"),
        pytest.param(_pair(other_key=ec.generate_private_key(ec.SECP256R1())), ["conf.key"], "not the key", id="key"),
        pytest.param(_pair(key=ed25519.Ed25519PrivateKey.generate()), ["conf.key"], "neither an EC key", id="key type"),
        pytest.param(Pair(b"", b""), ["conf.cert", "conf.key"], "not a certificate in PEM", id="empty"),
        pytest.param(Pair(b"x" * 300_000, b"x" * 300_000), ["conf.cert", "conf.key"], "longer than", id="too long"),
        pytest.param(
            _pair(ca=False, sign=False, now=NOW - 2 * DAY, other_key=ec.generate_private_key(ec.SECP256R1())),
            ["conf.key", "conf.cert", "conf.cert", "conf.cert"],
            "",
            id="everything",
        ),
    ],
)
def test_a_provided_authority_is_checked_for_everything_at_once(pair, fields, words):
    """Each fault has its field and its words."""
    violations = list(validate_provided(pair, now=NOW))
    assert [one.field for one in violations] == fields
    assert words in "; ".join(one.reason for one in violations)


async def test_a_provided_authority_comes_from_every_kind_of_data_source(tmp_path):
    """Secret, file, inline and inlineString, mixed as the user likes."""
    root = _root()
    (tmp_path / "ca.key").write_bytes(root.key)
    store = await _store_with_mesh(Put(Key("Secret", "default", "c"), secret_data.encode(root.certificate)))
    for cert, key in (
        (DataSource(secret="c"), DataSource(file=str(tmp_path / "ca.key"))),
        (DataSource(inline=root.certificate), DataSource(inline_string=root.key.decode())),
    ):
        backend = ProvidedBackend("ca-2", cert, key)
        assert await check_provided(store, "default", backend, now=NOW) == ()
        authority = await Authorities(store).authority("default", backend)
        assert authority.fingerprint == fingerprint(read_certificates(root.certificate)[0])


@pytest.mark.parametrize(
    "source, words",
    [
        (None, "has to be defined"),
        (DataSource(), "exactly one of secret, file, inline and inlineString"),
        (DataSource(secret="a", inline=b"b"), "exactly one of"),
        (DataSource(secret="nope"), 'Secret "nope" does not exist in mesh "default"; create it first'),
        (DataSource(file="/nonexistent/ca.crt"), "No such file or directory"),
        (DataSource(file="/dev/zero"), "not a regular file"),
        (DataSource(file="/a\0b"), "cannot read the file"),
    ],
)
async def test_a_data_source_that_gives_nothing_says_why(source, words):
    """At the field of the source."""
    backend = ProvidedBackend("ca-2", source, DataSource(inline=b"x"))
    violations = await check_provided(await _store_with_mesh(), "default", backend, now=NOW)
    assert [one.field for one in violations] == ["conf.cert"]
    assert words in violations[0].reason


async def test_authorities_are_loaded_once_and_again_after_a_change():
    """No polling: what the store says has changed is read again, and nothing else."""
    store = await _store_with_mesh(*builtin_puts("default", "ca-1", _root()))
    authorities = Authorities(store)
    first = await authorities.authority("default", CA_1)
    assert await authorities.authority("default", CA_1) is first
    other = Put(Key("Mesh", "", "demo"), b"{}")
    authorities.observe(await store.write([other], author=CONTROL_PLANE, now=NOW))
    assert await authorities.authority("default", CA_1) is first
    root = _root()
    batch = [
        Put(key, secret_data.encode(value), owner=Key("Mesh", "", "default"))
        for key, value in zip(builtin_secrets("default", "ca-1"), (root.certificate, root.key), strict=True)
    ]
    authorities.observe(await store.write(batch, author=CONTROL_PLANE, now=NOW))
    second = await authorities.authority("default", CA_1)
    assert second.fingerprint != first.fingerprint
    assert await authorities.trust_bundle("default", [CA_1]) == second.pem


async def test_an_authority_that_cannot_be_loaded_names_its_secret():
    """And never shows what is in it."""
    store = await _store_with_mesh()
    with pytest.raises(InvalidResource, match=r'backend "ca-1": Secret "default\.ca-builtin-cert-ca-1" does not exist'):
        await Authorities(store).authority("default", CA_1)
    mixed = Pair(_root().certificate, _root().key)
    await store.write(builtin_puts("default", "ca-1", mixed), author=CONTROL_PLANE, now=NOW)
    with pytest.raises(InvalidResource, match='backend "ca-1": the key is not the key of the certificate'):
        await Authorities(store).authority("default", CA_1)
