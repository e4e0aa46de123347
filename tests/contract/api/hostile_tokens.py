"""Tokens that must never be accepted, as whoever has seen a good one can make them, or whoever has a key for them."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import math
from collections.abc import Iterator, Mapping
from typing import Any, Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

HUGE: Final = 1024 * 1024
_NOT_OURS: Final = rsa.generate_private_key(public_exponent=65537, key_size=2048)


def _segment(value: Any) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _signed(header: Any, payload: Any, key: rsa.RSAPrivateKey) -> str:
    text = f"{_segment(header)}.{_segment(payload)}"
    return f"{text}.{_segment(key.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256()))}"


def _keyed(header: Any, payload: Any, secret: bytes) -> str:
    text = f"{_segment(header)}.{_segment(payload)}"
    return f"{text}.{_segment(hmac.digest(secret, text.encode(), hashlib.sha256))}"


def parts(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and claims of a good token."""
    header, payload, _ = token.split(".")
    return tuple(json.loads(base64.urlsafe_b64decode(part + "==")) for part in (header, payload))  # type: ignore[return-value]


def hostile(good: str, pem: bytes) -> Iterator[tuple[str, str]]:
    """
    Tokens by what is wrong with them.

    ``good`` is a token that holds, ``pem`` the private key it was signed with. The tokens are signed with it wherever
    that makes them more dangerous.
    """
    key = load_pem_private_key(pem, None)
    assert isinstance(key, rsa.RSAPrivateKey)
    header, claims = parts(good)
    yield from _damaged(good)
    yield from _of_other_algorithms(header, claims, key)
    for name, change in _HEADERS.items():
        yield name, _signed({**header, **change}, claims, key)
    for name in ("kid", "alg"):
        yield f"no {name}", _signed({k: v for k, v in header.items() if k != name}, claims, key)
    for name, change in _CLAIMS.items():
        yield name, _signed(header, {**claims, **change}, key)
    for name in ("exp", "jti"):
        yield f"no {name}", _signed(header, {k: v for k, v in claims.items() if k != name}, key)
    for name, body in _BODIES.items():
        yield name, _signed(header, body, key)
    yield "a key in the header", _signed({**header, "jwk": _jwk(_NOT_OURS)}, claims, _NOT_OURS)
    for name in ("jku", "x5u"):
        yield f"{name} in the header", _signed({**header, name: "http://127.0.0.1:1/keys"}, claims, _NOT_OURS)


def _damaged(good: str) -> Iterator[tuple[str, str]]:
    header, payload, signature = good.split(".")
    yield "cut short", good[:-6]
    yield "no signature", f"{header}.{payload}."
    yield "two parts", f"{header}.{payload}"
    yield "four parts", f"{good}.{signature}"
    yield "signature of something else", f"{header}.{_segment({'Name': 'mesh-system:admin'})}.{signature}"
    yield "blank in between", good.replace(".", ". ", 1)
    yield "1 MiB of nothing", "a" * HUGE
    yield "1 MiB of dots", "." * HUGE
    yield "1 MiB of claims", f"{header}.{'A' * HUGE}.{signature}"
    yield "1 MiB of header", f"{'A' * HUGE}.{payload}.{signature}"


def _of_other_algorithms(
    header: Mapping[str, Any], claims: Mapping[str, Any], key: rsa.RSAPrivateKey
) -> Iterator[tuple[str, str]]:
    for name in ("none", "None", "nOnE", ""):
        unsigned = f"{_segment({**header, 'alg': name})}.{_segment(claims)}."
        yield f"alg {name!r}", unsigned
        yield f"alg {name!r} with a signature", f"{unsigned}{_segment(b's')}"
    public = key.public_key()
    formats = {"SPKI": PublicFormat.SubjectPublicKeyInfo, "PKCS1": PublicFormat.PKCS1}
    for name, encoding in (("PEM", Encoding.PEM), ("DER", Encoding.DER)):
        for form, public_format in formats.items():
            secret = public.public_bytes(encoding, public_format)
            for kid in (header["kid"], "0"):
                forged = _keyed({**header, "alg": "HS256", "kid": kid}, claims, secret)
                yield f"HS256 with the public key ({form}, {name}, kid {kid})", forged
    yield "HS256 with an empty key", _keyed({**header, "alg": "HS256"}, claims, b"")
    for name in ("RS512", "PS256", "ES256", "HS512", "EdDSA"):
        yield f"alg {name}", _signed({**header, "alg": name}, claims, key)


_HEADERS: Final[Mapping[str, Mapping[str, Any]]] = {
    "alg list": {"alg": ["RS256"]},
    "alg number": {"alg": 256},
    "alg null": {"alg": None},
    "kid number": {"kid": 1},
    "kid float": {"kid": 1.0},
    "kid list": {"kid": ["1"]},
    "kid object": {"kid": {"1": 1}},
    "kid true": {"kid": True},
    "kid null": {"kid": None},
    "kid empty": {"kid": ""},
    "kid of no key": {"kid": "2"},
    "kid with zeros": {"kid": "01"},
    "kid negative": {"kid": "-1"},
    "kid path": {"kid": "../../../../dev/null"},
    "kid path of a secret": {"kid": "1/../user-token-signing-key-1"},
    "kid of SQL": {"kid": "1' OR '1'='1"},
    "kid with NUL": {"kid": "1\0"},
    "kid with line end": {"kid": "1\n"},
    "kid of letters beyond ASCII": {"kid": "\u0661"},
    "kid long": {"kid": "1" * 5000},
    "kid huge number": {"kid": 10**400},
    "crit unknown": {"crit": ["exp"]},
    "crit of ours": {"crit": ["mine"], "mine": 1},
    "crit empty": {"crit": []},
    "crit no list": {"crit": "exp"},
    "b64 false": {"b64": False, "crit": ["b64"]},
}
_CLAIMS: Final[Mapping[str, Mapping[str, Any]]] = {
    "exp zero": {"exp": 0},
    "exp negative": {"exp": -1},
    "exp a long time ago": {"exp": -(10**30)},
    "exp fraction in the past": {"exp": 1.5},
    "exp huge": {"exp": 10**400},
    "exp huge float": {"exp": 1e300},
    "exp after year 9999": {"exp": 10**12},
    "exp infinite": {"exp": math.inf},
    "exp NaN": {"exp": math.nan},
    "exp string": {"exp": "9999999999"},
    "exp list": {"exp": [9999999999]},
    "exp true": {"exp": True},
    "exp null": {"exp": None},
    "nbf in the future": {"nbf": 9999999999},
    "nbf huge": {"nbf": 10**400},
    "nbf NaN": {"nbf": math.nan},
    "nbf string": {"nbf": "0"},
    "jti number": {"jti": 1},
    "jti null": {"jti": None},
    "jti empty": {"jti": ""},
    "jti list": {"jti": ["x"]},
}
_BODIES: Final[Mapping[str, bytes]] = {
    "claims list": b"[]",
    "claims null": b"null",
    "claims no JSON": b"Name=admin",
    "claims no UTF-8": b'{"Name":"\xff"}',
    "claims deep": b"[" * 9000,
    "claims endless number": b'{"exp":' + b"9" * 5000 + b"}",
    "claims empty": b"",
}


def _jwk(key: rsa.RSAPrivateKey) -> dict[str, str]:
    numbers = key.public_key().public_numbers()
    return {"kty": "RSA", "n": _segment(numbers.n.to_bytes(256, "big")), "e": "AQAB", "alg": "RS256", "kid": "1"}
