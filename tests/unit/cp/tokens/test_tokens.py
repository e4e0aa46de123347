"""Tokens from issue to refusal, on a real store with real keys."""

import asyncio
import base64
import hmac
import json
import time
from datetime import UTC, datetime, timedelta
from itertools import count

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from kuma.core.errors import BadRequest, Conflict, InvalidResource, InvalidToken, SigningKeyNotFound
from kuma.core.identity import secret_data
from kuma.core.identity.claims import DataplaneClaims, UserClaims, ZoneClaims, registered
from kuma.core.model.resource import Key
from kuma.cp.store.memory import MemoryStore
from kuma.cp.store.port import CONTROL_PLANE, Delete, Put
from kuma.cp.tokens.issuer import TokenIssuer
from kuma.cp.tokens.keys import SigningKeys, create_signing_key, ensure_signing_key, new_signing_key
from kuma.cp.tokens.kinds import TokenKind
from kuma.cp.tokens.material import StaticKey, print_private_key, read_public_key
from kuma.cp.tokens.verifier import TokenVerifier, Trust

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
KEYS = [print_private_key(rsa.generate_private_key(public_exponent=65537, key_size=2048)) for _ in range(2)]


class Plane:
    """A store with the mesh `default`, and everything about tokens on top of it."""

    def __init__(self, **options):
        self.store = MemoryStore()
        self.keys = SigningKeys(self.store)
        serial = count(1)
        self.issuer = TokenIssuer(self.keys, new_id=lambda: f"id-{next(serial)}", enabled=options.pop("enabled", {}))
        self.verifier = TokenVerifier(self.keys, **options)

    async def put(self, kind, mesh, name, value):
        await self.write(Put(Key(kind, mesh, name), secret_data.encode(value)))

    async def write(self, *batch):
        self.keys.observe(await self.store.write(batch, author=CONTROL_PLANE, now=NOW))

    async def with_keys(self, *meshes):
        await self.put("GlobalSecret", "", "user-token-signing-key-1", KEYS[0])
        await self.put("GlobalSecret", "", "zone-token-signing-key-1", KEYS[0])
        for mesh, key in zip(meshes, KEYS, strict=False):
            await self.put("Secret", mesh, f"dataplane-token-signing-key-{mesh}-1", key)
        return self

    async def user_token(self, name="john", valid_for=HOUR):
        return await self.issuer.issue_user_token(UserClaims(name, ("team-a",)), valid_for=valid_for, now=NOW)

    async def refusal(self, token, now=NOW):
        with pytest.raises(InvalidToken) as caught:
            await self.verifier.verify_user(token, now=now)
        return str(caught.value)


def _parts(token):
    header, payload, _ = token.split(".")
    return [json.loads(base64.urlsafe_b64decode(part + "==")) for part in (header, payload)]


async def test_what_is_issued_is_accepted():
    """Each kind says on arrival what was asked for, and revocation can name it."""
    plane = await Plane().with_keys("default")
    user = await plane.verifier.verify_user(await plane.user_token(), now=NOW)
    assert (user.claims, user.kid, user.lifetime.jti) == (UserClaims("john", ("team-a",)), "1", "id-1")
    proxy = DataplaneClaims("dp", "default", {"kuma.io/service": ("web",)}, ca_fingerprint="sha256:00")
    token = await plane.issuer.issue_dataplane_token(proxy, now=NOW)
    assert (await plane.verifier.verify_dataplane(token, mesh="default", now=NOW)).claims == proxy
    zone = ZoneClaims("default", ("egress",))
    token = await plane.issuer.issue_zone_token(zone, now=NOW)
    assert (await plane.verifier.verify_zone(token, now=NOW)).claims == zone


async def test_a_token_looks_exactly_as_kuma_s():
    """Header and claims, so that tools which read them keep working."""
    plane = await Plane().with_keys("default")
    header, payload = _parts(await plane.user_token())
    second = int(NOW.timestamp())
    assert header == {"alg": "RS256", "kid": "1", "typ": "JWT"}
    assert payload == {
        "Name": "john", "Groups": ["team-a"],
        "jti": "id-1", "iat": second - 5, "nbf": second - 5, "exp": second + 3600,
    }  # fmt: skip


async def test_a_token_holds_from_five_seconds_ago_to_its_end():
    """Not a second longer, also where its signature is remembered."""
    plane = await Plane().with_keys()
    token = await plane.user_token()
    early, last = NOW - timedelta(seconds=6), NOW + HOUR - timedelta(seconds=1)
    assert await plane.refusal(token, early) == "could not parse token: token is not valid yet"
    await plane.verifier.verify_user(token, now=last)
    assert await plane.refusal(token, NOW + HOUR) == "could not parse token: token is expired"


async def test_another_meshs_token_is_refused():
    """Each mesh has its own key, and the mesh that is asked for decides."""
    plane = await Plane().with_keys("default", "demo")
    token = await plane.issuer.issue_dataplane_token(DataplaneClaims(mesh="demo"), now=NOW)
    with pytest.raises(InvalidToken, match=r"^could not parse token: token signature is invalid$"):
        await plane.verifier.verify_dataplane(token, mesh="default", now=NOW)
    await plane.verifier.verify_dataplane(token, mesh="demo", now=NOW)


async def test_a_user_token_is_not_a_zone_token_though_their_keys_are_equal():
    """Operators may use one key pair for everything; kinds stay apart."""
    plane = await Plane().with_keys()
    token = await plane.user_token()
    await plane.verifier.verify_user(token, now=NOW)
    with pytest.raises(InvalidToken, match="not a token of a zone"):
        await plane.verifier.verify_zone(token, now=NOW)


async def test_rotation_by_the_documented_steps():
    """Add key 2: new tokens are signed with it, old ones hold; delete key 1: old ones end, at once."""
    plane = await Plane().with_keys()
    old = await plane.user_token()
    await plane.verifier.verify_user(old, now=NOW)
    await plane.put("GlobalSecret", "", "user-token-signing-key-2", KEYS[1])
    new = await plane.user_token()
    assert _parts(new)[0]["kid"] == "2"
    await plane.verifier.verify_user(old, now=NOW)
    await plane.write(Delete(Key("GlobalSecret", "", "user-token-signing-key-1")))
    await plane.verifier.verify_user(new, now=NOW)
    assert await plane.refusal(old) == (
        'there is no signing key with KID 1. GlobalSecret of name "user-token-signing-key-1" is not found. '
        "If signing key was rotated, regenerate the token"
    )


async def test_a_key_replaced_under_its_serial_ends_its_tokens():
    """A remembered signature counts only for the key it was checked with."""
    plane = await Plane().with_keys()
    token = await plane.user_token()
    await plane.verifier.verify_user(token, now=NOW)
    await plane.put("GlobalSecret", "", "user-token-signing-key-1", KEYS[1])
    assert await plane.refusal(token) == "could not parse token: token signature is invalid"


@pytest.mark.parametrize(
    "text", ["id-1", "x,id-1\n", " x , id-1 ,", "x\nid-1\ny\n", "x\r\nid-1\r\n", "x id-1", "\ufeffid-1"]
)
async def test_a_revoked_token_is_refused_at_once(text):
    """Also one that was accepted a moment ago; taking it off the list gives it back."""
    plane = await Plane().with_keys()
    token = await plane.user_token()
    await plane.verifier.verify_user(token, now=NOW)
    await plane.put("GlobalSecret", "", "user-token-revocations", text.encode())
    assert await plane.refusal(token) == "token is revoked"
    await plane.put("GlobalSecret", "", "user-token-revocations", b"id-11,id")
    await plane.verifier.verify_user(token, now=NOW)


@pytest.mark.parametrize("kind, mesh", [("GlobalSecret", ""), ("Secret", "default")])
async def test_a_dataplane_token_can_be_revoked_in_both_places(kind, mesh):
    """Kuma reads a GlobalSecret and documents a Secret of the mesh: both work here."""
    plane = await Plane().with_keys("default", "demo")
    tokens = {
        name: await plane.issuer.issue_dataplane_token(DataplaneClaims(mesh=name), now=NOW)
        for name in ("default", "demo")
    }
    await plane.verifier.verify_dataplane(tokens["default"], mesh="default", now=NOW)
    await plane.put(kind, mesh, "dataplane-token-revocations-default", b"id-1,id-2")
    with pytest.raises(InvalidToken, match=r"^token is revoked$"):
        await plane.verifier.verify_dataplane(tokens["default"], mesh="default", now=NOW)
    await plane.verifier.verify_dataplane(tokens["demo"], mesh="demo", now=NOW)


async def test_an_unreadable_list_of_revoked_tokens_refuses_all():
    """Rather no token than a revoked one; the API never lets such a list in."""
    plane = await Plane().with_keys()
    token = await plane.user_token()
    await plane.write(Put(Key("GlobalSecret", "", "user-token-revocations"), b'{"data": "%"}'))
    assert 'GlobalSecret "user-token-revocations" cannot be read' in await plane.refusal(token)


async def test_a_missing_key_is_named():
    """With its mesh, so that the operator knows where to create it."""
    plane = Plane()
    with pytest.raises(SigningKeyNotFound) as caught:
        await plane.issuer.issue_dataplane_token(DataplaneClaims(mesh="demo"), now=NOW)
    assert str(caught.value) == (
        'there is no signing key with KID 1. Secret of name "dataplane-token-signing-key-demo-1" in mesh "demo" '
        "is not found. If signing key was rotated, regenerate the token"
    )


async def test_a_broken_newest_key_does_not_sign_and_does_not_harm_others():
    """Issuing says which secret is broken; tokens of older keys hold."""
    plane = await Plane().with_keys()
    token = await plane.user_token()
    await plane.put("GlobalSecret", "", "user-token-signing-key-2", b"-----BEGIN hunter2")
    await plane.verifier.verify_user(token, now=NOW)
    with pytest.raises(InvalidResource, match=r'"user-token-signing-key-2".*PKCS#1') as caught:
        await plane.user_token()
    assert "hunter2" not in str(caught.value)


async def test_the_highest_serial_signs_whatever_the_spelling():
    """Numbers are compared as numbers; Kuma's zero-padded example names work too."""
    plane = await Plane().with_keys()
    for name in ("9", "0010", "x", "-3"):
        await plane.put("GlobalSecret", "", f"user-token-signing-key-{name}", KEYS[1])
    token = await plane.user_token()
    assert _parts(token)[0]["kid"] == "10"
    await plane.verifier.verify_user(token, now=NOW)


async def test_a_key_may_be_der_and_may_have_no_serial():
    """Raw PKCS#1, and the bare name as serial 0: what older installations have."""
    plane = Plane()
    key = serialization.load_pem_private_key(KEYS[0], None)
    der = key.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    await plane.put("GlobalSecret", "", "user-token-signing-key", der)
    token = await plane.user_token()
    assert _parts(token)[0]["kid"] == "0"
    await plane.verifier.verify_user(token, now=NOW)


def _hs256(secret, kid):
    """A user token as Kuma made them before it used RSA."""
    claims = UserClaims("john").payload() | registered(now=NOW, valid_for=HOUR, jti="old")
    parts = [json.dumps(part).encode() for part in ({"alg": "HS256", "kid": kid}, claims)]
    signed = b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in parts)
    signature = base64.urlsafe_b64encode(hmac.digest(secret, signed, "sha256")).rstrip(b"=")
    return f"{signed.decode()}.{signature.decode()}"


async def test_a_key_that_is_no_rsa_key_counts_without_a_serial_only():
    """It is from before serials; under a serial it is a broken RSA key, which must not turn into a shared secret."""
    plane = await Plane().with_keys()
    secret = b"k" * 32
    await plane.put("GlobalSecret", "", "user-token-signing-key", secret)
    assert (await plane.verifier.verify_user(_hs256(secret, "0"), now=NOW)).claims.name == "john"

    await plane.put("GlobalSecret", "", "user-token-signing-key-2", secret)
    assert "its signing key cannot be used" in await plane.refusal(_hs256(secret, "2"))


async def test_an_old_key_that_can_be_guessed_verifies_nothing():
    """32 bytes are what the algorithm asks for."""
    plane = await Plane().with_keys()
    await plane.put("GlobalSecret", "", "user-token-signing-key", b"k" * 31)
    assert "its signing key cannot be used" in await plane.refusal(_hs256(b"k" * 31, "0"))


async def test_a_weak_rsa_key_neither_signs_nor_verifies():
    """A key that was put past the API, or by an older version."""
    plane = await Plane().with_keys()
    weak = rsa.generate_private_key(public_exponent=65537, key_size=1024)  # noqa: S505 - the point of it
    await plane.put("GlobalSecret", "", "user-token-signing-key-2", print_private_key(weak))
    with pytest.raises(InvalidResource, match="it has 1024 bits, at least 2048 are needed"):
        await plane.user_token()
    keys = await plane.keys.key_set(TokenKind.USER)
    assert set(keys.verification) == {"1"}


async def test_static_public_keys_verify_tokens_signed_elsewhere():
    """Beside the store's keys or instead of them, per mesh or for all."""
    signer = await Plane().with_keys("default", "demo")
    pem = serialization.load_pem_private_key(KEYS[0], None).public_key()
    public = read_public_key(pem.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.PKCS1))
    token = await signer.issuer.issue_dataplane_token(DataplaneClaims(mesh="default"), now=NOW)
    for of_mesh, accepted in (("", True), ("default", True), ("demo", False)):
        trust = {TokenKind.DATAPLANE: Trust(use_secrets=False, public_keys=(StaticKey("1", public, of_mesh),))}
        plane = Plane(trust=trust)
        if accepted:
            await plane.verifier.verify_dataplane(token, mesh="default", now=NOW)
        else:
            with pytest.raises(InvalidToken, match="no public key with KID 1 is configured"):
                await plane.verifier.verify_dataplane(token, mesh="default", now=NOW)


async def test_a_public_key_may_have_the_number_of_a_stored_one():
    """Then tokens of both count, whichever of the two signed them."""
    plane = await Plane().with_keys()
    elsewhere = serialization.load_pem_private_key(KEYS[1], None)
    trust = {TokenKind.USER: Trust(public_keys=(StaticKey("1", elsewhere.public_key()),))}
    verifier = TokenVerifier(plane.keys, trust=trust)
    signer = Plane()
    await signer.put("GlobalSecret", "", "user-token-signing-key-1", KEYS[1])
    for token in (await plane.user_token(), await signer.user_token("jane")):
        await verifier.verify_user(token, now=NOW)
    with pytest.raises(InvalidToken):
        await plane.verifier.verify_user(await signer.user_token("jane"), now=NOW)


async def test_keys_in_secrets_can_be_distrusted():
    """`useSecrets: false` means it, although the key is there."""
    plane = await Plane(trust={TokenKind.USER: Trust(use_secrets=False)}).with_keys()
    assert "no public key with KID 1 is configured" in await plane.refusal(await plane.user_token())


async def test_an_issuer_that_is_off_says_so():
    """The words are Kuma's."""
    plane = await Plane(enabled={TokenKind.USER: False}).with_keys()
    with pytest.raises(BadRequest, match=r"^issuing tokens using the control plane is disabled\.$"):
        await plane.user_token()


async def test_with_a_store_in_memory_the_refusal_says_what_happened():
    """After a restart every token fails: the reader should not look for the mistake elsewhere."""
    token = await (await Plane().with_keys()).user_token()
    assert "in-memory database" in await Plane(store_in_memory=True).refusal(token)


async def test_signing_keys_are_made_once_and_belong_to_their_mesh():
    """Two replicas that start together end with one key; deleting the mesh deletes it."""
    plane = Plane()
    await plane.write(Put(Key("Mesh", "", "default"), b"{}"))
    other = SigningKeys(plane.store)
    await other.key_set(TokenKind.DATAPLANE, "default")
    first = await ensure_signing_key(plane.store, plane.keys, TokenKind.DATAPLANE, "default", now=NOW)
    assert [change.key.name for change in first] == ["dataplane-token-signing-key-default-1"]
    assert await ensure_signing_key(plane.store, other, TokenKind.DATAPLANE, "default", now=NOW) == ()
    assert (await other.latest(TokenKind.DATAPLANE, "default")).serial == 1
    with pytest.raises(Conflict):
        await create_signing_key(plane.store, TokenKind.DATAPLANE, "default", now=NOW)
    await plane.write(Delete(Key("Mesh", "", "default")))
    assert await plane.store.list("Secret") == ()


async def test_a_new_signing_key_is_what_kumas_tools_read():
    """PKCS#1 PEM of RSA-2048, made without stopping the event loop."""
    put = await new_signing_key(TokenKind.USER)
    assert put.owner is None
    pem = secret_data.decode(put.spec)
    assert pem.startswith(b"-----BEGIN RSA PRIVATE KEY-----\n")
    assert serialization.load_pem_private_key(pem, None).key_size == 2048


async def test_a_change_during_a_read_is_not_lost():
    """Keys that were read while they changed are read again."""

    class Slow(MemoryStore):
        gate = asyncio.Event()
        reading = asyncio.Event()

        async def list(self, kind, mesh=None):
            records = await super().list(kind, mesh)
            self.reading.set()
            await self.gate.wait()
            return records

    store = Slow()
    keys = SigningKeys(store)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(keys.key_set(TokenKind.USER))
        await store.reading.wait()
        put = Put(Key("GlobalSecret", "", "user-token-signing-key-1"), secret_data.encode(KEYS[0]))
        keys.observe(await store.write([put], author=CONTROL_PLANE, now=NOW))
        store.gate.set()
    assert task.result().newest is None
    assert (await keys.latest(TokenKind.USER)).serial == 1


async def test_a_connect_storm_costs_no_signatures_and_no_reads():
    """A thousand streams with one token: the store is not asked, and the whole takes a fraction of a second."""
    plane = await Plane().with_keys("default")
    token = await plane.issuer.issue_dataplane_token(DataplaneClaims(mesh="default"), now=NOW)
    await plane.verifier.verify_dataplane(token, mesh="default", now=NOW)
    await plane.store.close()
    started = time.perf_counter()
    for _ in range(1000):
        await plane.verifier.verify_dataplane(token, mesh="default", now=NOW)
    assert time.perf_counter() - started < 0.5
