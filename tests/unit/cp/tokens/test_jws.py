"""Tokens from strangers: whatever they send, they are refused quickly and with a reason."""

import base64
import hashlib
import hmac
import json
import time
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import example, given
from hypothesis import strategies as st

from kuma.core.errors import InvalidToken
from kuma.cp.tokens import jws
from kuma.cp.tokens.material import SigningKey, VerificationKey

PRIVATE = rsa.generate_private_key(public_exponent=65537, key_size=2048)
SIGNING = SigningKey(1, PRIVATE)
PUBLIC = VerificationKey("1", b"d", PRIVATE.public_key())
HMAC = VerificationKey("0", b"d", hmac=b"k" * 64)
NOW = datetime(2026, 5, 1, tzinfo=UTC)
GOOD = {"jti": "x", "exp": NOW.timestamp() + 60, "nbf": NOW.timestamp() - 60, "Name": "john"}


def _segment(value):
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _forged(header, payload=GOOD, signature=b"s"):
    return f"{_segment(header)}.{_segment(payload)}.{_segment(signature)}"


def _hs256(payload, secret, kid="0"):
    head = f"{_segment({'alg': 'HS256', 'kid': kid})}.{_segment(payload)}"
    return f"{head}.{_segment(hmac.digest(secret, head.encode(), hashlib.sha256))}"


def _accept(token, key=PUBLIC):
    jws.check_size(token)
    jws.key_id(token)
    opened = jws.verify(token, key)
    opened.lifetime.check(NOW)
    return opened


@pytest.mark.parametrize(
    "token, reason",
    [
        pytest.param("", "not a JWT", id="empty"),
        pytest.param("a.b.c", "not a JWT", id="no base64"),
        pytest.param("a" * 1024 * 1024, "longer than 16384 bytes", id="1 MiB"),
        pytest.param("é" * 10, "not a JWT", id="not ASCII"),
        pytest.param("\ud800", "not a JWT", id="lone surrogate"),
        pytest.param(_forged({"alg": "none", "kid": "1"}), "unsupported token alg 'none'", id="alg none"),
        pytest.param(_forged({"alg": "nOnE", "kid": "1"}), "unsupported token alg", id="alg none, other case"),
        pytest.param(_forged({"alg": "ES256", "kid": "1"}), "unsupported token alg", id="other alg"),
        pytest.param(_forged({"alg": ["RS256"], "kid": "1"}), "unsupported token alg", id="alg list"),
        pytest.param(_forged({"kid": "1"}), "unsupported token alg", id="no alg"),
        pytest.param(_forged({"alg": "RS256"}), "no kid", id="no kid"),
        pytest.param(_forged({"alg": "RS256", "kid": 1}), "not a JWT", id="kid number"),
        pytest.param(_forged({"alg": "RS256", "kid": ["1"]}), "not a JWT", id="kid list"),
        pytest.param(_forged({"alg": "RS256", "kid": None}), "not a JWT", id="kid null"),
        pytest.param(_forged({"alg": "RS256", "kid": "1" * 200}), "kid is not one of ours", id="kid long"),
        pytest.param(_forged({"alg": "RS256", "kid": "1\n2"}), "kid is not one of ours", id="kid with line end"),
        pytest.param(_forged({"alg": "RS256", "kid": "1", "crit": ["x"], "x": 1}), "", id="crit"),
        pytest.param(_forged({"alg": "RS256", "kid": "1", "crit": ["b64"], "b64": True}), "extensions", id="crit b64"),
        pytest.param(_forged({"alg": "RS256", "kid": "1", "b64": False}), "", id="b64"),
        pytest.param(_forged({"alg": "RS256", "kid": "1"}), "token signature is invalid", id="wrong signature"),
        pytest.param(_forged({"alg": "HS256", "kid": "1"}), "does not fit the key", id="HS256 for an RSA key"),
        pytest.param(_forged([1]), "not a JWT", id="header list"),
        pytest.param(_forged(b"[" * 9000), "not a JWT", id="header deep"),
        pytest.param(_forged(b'{"alg":"RS256","kid":"1","a":' + b"9" * 5000 + b"}"), "not a JWT", id="header huge int"),
    ],
)
def test_a_forged_token_is_refused(token, reason):
    """By what is wrong with it, and before anything costly."""
    started = time.perf_counter()
    with pytest.raises(InvalidToken) as caught:
        _accept(token)
    assert reason in str(caught.value)
    assert len(str(caught.value)) < 300
    assert time.perf_counter() - started < 0.25


def test_headers_that_bring_their_own_key_are_not_read():
    """`jwk`, `jku` and `x5u` change nothing: only keys of ours count."""
    foreign = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    jwk = {"kty": "RSA", "n": _segment(foreign.public_key().public_numbers().n.to_bytes(256, "big")), "e": "AQAB"}
    header = {"alg": "RS256", "kid": "1", "jwk": jwk, "jku": "http://127.0.0.1:1/", "x5u": "http://127.0.0.1:1/"}
    token = jws._JWS.encode(json.dumps(GOOD).encode(), foreign, algorithm="RS256", headers=header)  # noqa: SLF001
    with pytest.raises(InvalidToken, match="token signature is invalid"):
        _accept(token)


def test_the_public_key_is_no_hmac_secret():
    """The classic confusion: HS256 with the RSA public key as its secret."""
    pem = PRIVATE.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    with pytest.raises(InvalidToken, match="does not fit the key"):
        _accept(_hs256(GOOD, pem, kid="1"))


def test_hs256_is_accepted_with_a_legacy_key_only():
    """Tokens older than RS256 had no end and no id."""
    assert _accept(_hs256({"Name": "john"}, b"k" * 64), HMAC).payload["Name"] == "john"
    with pytest.raises(InvalidToken, match="token signature is invalid"):
        _accept(_hs256({"Name": "john"}, b"x" * 64), HMAC)
    with pytest.raises(InvalidToken, match="does not fit the key"):
        _accept(jws.sign(GOOD, SIGNING), HMAC)
    with pytest.raises(InvalidToken, match="does not fit the key"):
        _accept(_hs256(GOOD, b""), VerificationKey("0", b"d", hmac=b""))


@pytest.mark.parametrize(
    "change",
    [
        {"exp": "tomorrow"}, {"exp": None}, {"exp": True}, {"exp": []}, {"exp": float("nan")}, {"exp": float("inf")},
        {"exp": 10**400}, {"exp": 1e300}, {"exp": 10**12}, {"nbf": {}}, {"nbf": float("nan")},
        {"jti": 1}, {"jti": ""}, {"jti": None},
    ],
    ids=repr,
)  # fmt: skip
def test_odd_times_and_ids_are_refused(change):
    """Signed by us or not: a claim that cannot be judged is not judged in the bearer's favour."""
    with pytest.raises(InvalidToken, match=next(iter(change))):
        _accept(jws.sign(GOOD | change, SIGNING))


@pytest.mark.parametrize("claim", ["exp", "jti"])
def test_a_token_without_end_or_id_is_refused(claim):
    """It could neither run out nor be revoked."""
    payload = {key: value for key, value in GOOD.items() if key != claim}
    with pytest.raises(InvalidToken, match=claim):
        _accept(jws.sign(payload, SIGNING))


@pytest.mark.parametrize("body", [b"[]", b"x", b"null", b"[" * 9000, b"\xff", b'{"exp":' + b"9" * 5000 + b"}"])
def test_signed_nonsense_is_refused(body):
    """A signature does not make claims of something else."""
    token = jws._JWS.encode(body, PRIVATE, algorithm="RS256", headers={"kid": "1"})  # noqa: SLF001
    with pytest.raises(InvalidToken, match="claims are not"):
        _accept(token)


@given(st.text())
@example("\ud800.\udfff.")
@example("....")
def test_no_text_breaks_the_reader(text):
    """Whatever arrives, the answer is InvalidToken."""
    with pytest.raises(InvalidToken):
        _accept(text)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
HEADERS = st.fixed_dictionaries(
    {},
    optional={name: st.sampled_from(["RS256", "HS256", "none", "1"]) | JSON for name in ("alg", "kid", "crit", "b64")},
)


@given(HEADERS, JSON, st.binary(max_size=300))
def test_no_header_breaks_the_reader(header, payload, signature):
    """Nothing that looks like a token gets through, or ends in another error."""
    for key in (PUBLIC, HMAC):
        with pytest.raises(InvalidToken):
            _accept(_forged(header, payload, signature), key)


@given(JSON | st.fixed_dictionaries({}, optional=dict.fromkeys(("exp", "nbf", "jti"), JSON)))
def test_no_signed_claims_break_the_reader(payload):
    """What the holder of a key signed is judged like anything else."""
    token = _hs256(payload, b"k" * 64)
    try:
        _accept(token, HMAC)
    except InvalidToken:
        return
    assert isinstance(payload, dict)
