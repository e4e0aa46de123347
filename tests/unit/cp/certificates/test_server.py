"""The control plane's own certificate: who issues it, when it is replaced, and who trusts it."""

import ssl
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from kuma.core.errors import ConfigInvalid, InvalidResource
from kuma.core.identity import secret_data
from kuma.core.model.resource import Key
from kuma.cp.ca.authority import fingerprint, load_authority, new_root, read_certificates, sign_server_leaf
from kuma.cp.certificates.server import LEAF_LIFETIME, ensure_server_tls, own_server_tls
from kuma.cp.certificates.stored import CONTROL_PLANE_CA, ENVOY_ADMIN_CA, ensure_stored_authority, new_stored_authority
from kuma.cp.store.memory import MemoryStore
from kuma.cp.store.port import CONTROL_PLANE, Put

NOW = datetime.now(UTC).replace(microsecond=0)
DAY = timedelta(days=1)
NAMES = {"hosts": ("cp.example.com", "box"), "addresses": ("10.0.0.5", "127.0.0.1", "::1")}


@pytest.fixture
async def authority():
    """The authority of a control plane that starts for the first time."""
    return await ensure_stored_authority(MemoryStore(), CONTROL_PLANE_CA, now=NOW)


def _names(tls):
    leaf = read_certificates(tls.cert_file.read_bytes())[0]
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return names.get_values_for_type(x509.DNSName), [str(one) for one in names.get_values_for_type(x509.IPAddress)]


def _connect(tls, host):
    """A TLS handshake in memory by a client that trusts `ca_pem` and demands this name."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(tls.cert_file, tls.key_file)
    client = ssl.create_default_context(cadata=tls.ca_pem.decode())
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = [
        client.wrap_bio(to_client, to_server, server_hostname=host),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    for _ in range(10):
        for side in sides:
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    return sides[0].getpeercert()


async def test_replicas_share_one_authority():
    """It is in the store: whoever starts first makes it, and the fingerprint in tokens fits all."""
    store = MemoryStore()
    first = await ensure_stored_authority(store, CONTROL_PLANE_CA, now=NOW)
    second = await ensure_stored_authority(store, CONTROL_PLANE_CA, now=NOW + DAY)
    assert first.fingerprint == second.fingerprint
    assert first.fingerprint.startswith("sha256:")
    assert len(first.fingerprint) == 7 + 64
    admin = await ensure_stored_authority(store, ENVOY_ADMIN_CA, now=NOW)
    assert admin.fingerprint != first.fingerprint
    assert [record.key.name for record in await store.list("GlobalSecret")] == ["envoy-admin-ca", "kuma-cp-ca"]


async def test_of_two_replicas_that_start_at_once_one_wins():
    """The other takes over what it finds."""

    class Late(MemoryStore):
        hidden = True

        async def find(self, key):
            if self.hidden:
                self.hidden = False
                await self.write([new_stored_authority(key.name, now=NOW)], author=CONTROL_PLANE, now=NOW)
                return None
            return await super().find(key)

    store = Late()
    loaded = await ensure_stored_authority(store, CONTROL_PLANE_CA, now=NOW)
    record = await store.get(Key("GlobalSecret", "", CONTROL_PLANE_CA))
    assert loaded.pem in secret_data.decode(record.spec)


async def test_an_authority_that_cannot_be_read_is_not_replaced():
    """Tokens and files name it: its owner decides."""
    store = MemoryStore()
    put = Put(Key("GlobalSecret", "", CONTROL_PLANE_CA), secret_data.encode(b"hunter2"))
    await store.write([put], author=CONTROL_PLANE, now=NOW)
    with pytest.raises(InvalidResource, match='"kuma-cp-ca" holds no certificate with its key') as caught:
        await ensure_stored_authority(store, CONTROL_PLANE_CA, now=NOW)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("host", ["localhost", "cp.example.com", "box", "10.0.0.5", "::1"])
async def test_every_name_of_the_machine_is_trusted(tmp_path, authority, host):
    """A client that has the CA connects by host name, by localhost and by each address."""
    tls = await ensure_server_tls(tmp_path, authority, now=NOW, **NAMES)
    assert _connect(tls, host)


async def test_another_name_is_not_trusted(tmp_path, authority):
    """The certificate is for this machine only."""
    tls = await ensure_server_tls(tmp_path, authority, now=NOW, **NAMES)
    with pytest.raises(ssl.SSLCertVerificationError):
        _connect(tls, "other.example.com")


async def test_the_files_are_complete_and_private(tmp_path, authority):
    """Leaf and CA in one file, its key, the CA alone; readable by their owner only."""
    tls = await ensure_server_tls(tmp_path / "new" / "dir", authority, now=NOW, **NAMES)
    leaf, ca = read_certificates(tls.cert_file.read_bytes())
    assert fingerprint(ca) == tls.fingerprint == authority.fingerprint
    assert not leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    folder = tls.cert_file.parent
    assert (folder / "ca.crt").read_bytes() == tls.ca_pem == authority.pem
    assert sorted(path.name for path in folder.iterdir()) == ["ca.crt", "kuma-cp.crt", "kuma-cp.key"]
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}
    assert folder.stat().st_mode & 0o777 == 0o700
    assert tls.renew_at < NOW + LEAF_LIFETIME / 2


async def test_a_key_in_the_work_directory_that_others_could_read_is_closed(tmp_path, authority):
    """Also one that is still right, and one that the operator put there."""
    for _ in range(2):
        tls = await ensure_server_tls(tmp_path, authority, now=NOW, **NAMES)
        tls.key_file.chmod(0o644)
    await ensure_server_tls(tmp_path, authority, now=NOW, **NAMES)
    assert tls.key_file.stat().st_mode & 0o777 == 0o600


async def test_a_restart_keeps_the_certificate(tmp_path, authority):
    """Whatever the order in which the machine tells its names."""
    first = await ensure_server_tls(tmp_path, authority, now=NOW, **NAMES)
    before = first.cert_file.read_bytes()
    again = {"hosts": ("BOX", "cp.example.com.", "::1"), "addresses": ("127.0.0.1", "10.0.0.5", "10.0.0.5")}
    second = await ensure_server_tls(tmp_path, authority, now=NOW + 30 * DAY, **again)
    assert second == first
    assert second.cert_file.read_bytes() == before


async def test_a_new_certificate_when_it_is_needed(tmp_path, authority):
    """New names, half of its life over, another store, or a key that does not fit."""
    shown = set()

    async def reissued(ca=authority, now=NOW, **names):
        tls = await ensure_server_tls(tmp_path, ca, now=now, **(NAMES | names))
        shown.add(tls.cert_file.read_bytes())
        return tls

    await reissued()
    tls = await reissued(hosts=("moved",))
    assert _names(tls) == (["localhost", "moved"], ["10.0.0.5", "127.0.0.1", "::1"])
    tls = await reissued(hosts=("moved",), now=tls.renew_at)
    other = await ensure_stored_authority(MemoryStore(), CONTROL_PLANE_CA, now=NOW)
    tls = await reissued(other)
    assert tls.fingerprint == other.fingerprint
    assert (tmp_path / "ca.crt").read_bytes() == other.pem
    stray = sign_server_leaf(other, hosts=["x"], addresses=[], lifetime=DAY, now=NOW)
    tls.key_file.write_bytes(stray.key)
    tls = await reissued(other)
    assert _connect(tls, "box")
    assert len(shown) == 5


def _own_files(folder, certificate, key):
    folder.mkdir(exist_ok=True)
    (folder / "kuma-cp.crt").write_bytes(certificate)
    (folder / "kuma-cp.key").write_bytes(key)
    return folder / "kuma-cp.crt", folder / "kuma-cp.key"


async def test_the_operators_pair_in_the_work_directory_is_respected(tmp_path, authority):
    """Also the self-signed one that Kuma left there: its users' proxies trust it."""
    kumas = new_root(common_name="localhost", unit="x", uri="", lifetime=DAY, now=NOW)
    _own_files(tmp_path, kumas.certificate, kumas.key)
    tls = await ensure_server_tls(tmp_path, authority, now=NOW, **NAMES)
    assert tls.cert_file.read_bytes() == kumas.certificate
    assert tls.ca_pem == kumas.certificate
    assert tls.fingerprint == fingerprint(read_certificates(kumas.certificate)[0])
    assert tls.renew_at is None


async def test_the_operators_own_files(tmp_path):
    """With the CA in the chain its fingerprint can go into tokens; without it, there is none."""
    company = load_authority(new_root(common_name="company", unit="x", uri="", lifetime=DAY, now=NOW))
    pair = sign_server_leaf(company, hosts=["cp"], addresses=[], lifetime=DAY, now=NOW)
    tls = await own_server_tls(*_own_files(tmp_path, pair.certificate, pair.key))
    assert (tls.ca_pem, tls.fingerprint) == (company.pem, company.fingerprint)
    assert _connect(tls, "cp")
    leaf = read_certificates(pair.certificate)[0].public_bytes(serialization.Encoding.PEM)
    tls = await own_server_tls(*_own_files(tmp_path, leaf, pair.key))
    assert (tls.ca_pem, tls.fingerprint) == (b"", None)
    stranger = new_root(common_name="stranger", unit="x", uri="", lifetime=DAY, now=NOW)
    tls = await own_server_tls(*_own_files(tmp_path, leaf + stranger.certificate, pair.key))
    assert tls.fingerprint is None


async def test_unusable_files_of_the_operator_stop_the_start(tmp_path):
    """Naming the file, and never what is in it."""
    one, two = (new_root(common_name="x", unit="x", uri="", lifetime=DAY, now=NOW) for _ in range(2))
    for certificate, key, words in (
        (one.certificate, two.key, r"kuma-cp\.key is not the key of the certificate in .*kuma-cp\.crt"),
        (b"hunter2", one.key, r"kuma-cp\.crt cannot be used: it is not a certificate"),
        (one.certificate, b"hunter2", r"kuma-cp\.key cannot be used: it is not a private key"),
    ):
        with pytest.raises(ConfigInvalid, match=words) as caught:
            await own_server_tls(*_own_files(tmp_path, certificate, key))
        assert "hunter2" not in str(caught.value)
    with pytest.raises(ConfigInvalid, match=r"none\.crt: No such file"):
        await own_server_tls(tmp_path / "none.crt", tmp_path / "none.key")


async def test_a_work_directory_that_is_none_stops_the_start(tmp_path, authority):
    """With the setting that names it."""
    (tmp_path / "file").write_text("x")
    with pytest.raises(ConfigInvalid, match="KUMA_GENERAL_WORK_DIR"):
        await ensure_server_tls(tmp_path / "file", authority, now=NOW, **NAMES)
    (tmp_path / "kuma-cp.crt").write_text("x")
    (tmp_path / "kuma-cp.key").write_text("x")
    with pytest.raises(ConfigInvalid, match="mend it, or delete it for a new one"):
        await ensure_server_tls(tmp_path, authority, now=NOW, **NAMES)
