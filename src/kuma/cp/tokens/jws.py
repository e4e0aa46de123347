"""Signing and opening JWTs.

A token is an input from strangers: it is limited in size before anything is parsed, its algorithm is decided by the
kind of key found for its ``kid`` and never by the token alone, headers that name keys elsewhere are not even read, and
whatever is wrong with it ends in ``InvalidToken``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from jwt import PyJWS
from jwt.exceptions import InvalidSignatureError, PyJWTError

from kuma.core.errors import InvalidToken
from kuma.cp.tokens.material import SigningKey, VerificationKey

MAX_TOKEN_BYTES: Final = 16 * 1024
MAX_KID_LENGTH: Final = 128
_LAST_MOMENT: Final = datetime(9999, 12, 31, tzinfo=UTC).timestamp()
_JWS: Final = PyJWS(
    algorithms=["RS256", "HS256"], options={"verify_signature": True, "enforce_minimum_key_length": True}
)


@dataclass(frozen=True, slots=True)
class Lifetime:
    """When a token holds, as seconds since 1970; ``jti`` is what revocation names."""

    jti: str
    not_before: float = -math.inf
    expires: float = math.inf

    def check(self, now: datetime) -> None:
        """
        Whether the token holds now, without leeway.

        Raises:
            InvalidToken: it is too early or too late.
        """
        moment = now.timestamp()
        if moment >= self.expires:
            raise InvalidToken("could not parse token: token is expired")
        if moment < self.not_before:
            raise InvalidToken("could not parse token: token is not valid yet")


@dataclass(frozen=True, slots=True)
class Opened:
    """A token whose signature was checked."""

    payload: Mapping[str, Any] = field(repr=False)
    lifetime: Lifetime


def sign(payload: Mapping[str, Any], key: SigningKey) -> str:
    """A compact JWT with header ``{"alg":"RS256","kid":"<serial>","typ":"JWT"}``."""
    body = json.dumps(payload, separators=(",", ":")).encode()
    return _JWS.encode(body, key.private, algorithm="RS256", headers={"kid": str(key.serial)})


def check_size(token: str) -> None:
    """
    Refuse what cannot be a token before spending time on it.

    Raises:
        InvalidToken: too long, or not plain ASCII.
    """
    if len(token) > MAX_TOKEN_BYTES:
        raise InvalidToken(f"could not parse token: it is longer than {MAX_TOKEN_BYTES} bytes")
    if not token.isascii():
        raise InvalidToken("could not parse token: it is not a JWT")


def key_id(token: str) -> str:
    """
    The ``kid`` a token of acceptable size claims.

    Raises:
        InvalidToken: this is not a token, or none of ours.
    """
    try:
        header = _JWS.get_unverified_header(token)
    except (PyJWTError, ValueError, RecursionError) as error:
        raise InvalidToken("could not parse token: it is not a JWT") from error
    algorithm = header.get("alg")
    if algorithm not in ("RS256", "HS256"):
        shown = algorithm if isinstance(algorithm, str) and len(algorithm) <= 16 else "in this form"
        raise InvalidToken(
            f"could not parse token: unsupported token alg {shown!a}. Allowed algorithms are RS256 and HS256"
        )
    if "crit" in header or "b64" in header:
        raise InvalidToken("could not parse token: its header demands extensions that are not supported")
    kid = header.get("kid")
    if not isinstance(kid, str):
        raise InvalidToken("could not parse token: its header has no kid, or one that is not a string")
    if len(kid) > MAX_KID_LENGTH or not kid.isprintable():
        raise InvalidToken("could not parse token: its kid is not one of ours")
    return kid


def verify(token: str, key: VerificationKey) -> Opened:
    """
    Check the signature of a token that passed ``key_id``, and read it. Its lifetime is read, not judged.

    Raises:
        InvalidToken: the signature is not this key's, or what is signed is no set of claims.
    """
    algorithm, material = ("RS256", key.public) if key.public is not None else ("HS256", key.hmac)
    if material is None:
        raise InvalidToken("could not parse token: its key cannot verify tokens")
    try:
        body: bytes = _JWS.decode(token, material, algorithms=[algorithm])
    except InvalidSignatureError as error:
        raise InvalidToken("could not parse token: token signature is invalid") from error
    except (PyJWTError, ValueError, TypeError, RecursionError) as error:
        raise InvalidToken("could not parse token: it does not fit the key with this kid") from error
    try:
        payload = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise InvalidToken("could not parse token: its claims are not JSON") from error
    if not isinstance(payload, dict):
        raise InvalidToken("could not parse token: its claims are not a JSON object")
    return Opened(payload, _lifetime(payload, legacy=algorithm == "HS256"))


def _lifetime(payload: Mapping[str, Any], *, legacy: bool) -> Lifetime:
    # Tokens from before RS256 had neither an end nor an id; every later one has both, so a missing one is suspicious.
    jti = payload.get("jti", "" if legacy else None)
    if not isinstance(jti, str) or not (jti or legacy):
        raise InvalidToken('could not parse token: claim "jti" has to be a string')
    if "exp" not in payload and not legacy:
        raise InvalidToken('could not parse token: it has no claim "exp"')
    return Lifetime(jti, _moment(payload, "nbf", -math.inf), _moment(payload, "exp", math.inf))


def _moment(payload: Mapping[str, Any], claim: str, missing: float) -> float:
    value = payload.get(claim, missing)
    if claim in payload and (isinstance(value, bool) or not isinstance(value, int | float)):
        raise InvalidToken(f'could not parse token: claim "{claim}" has to be a number')
    try:
        moment = float(value)
    except OverflowError:
        moment = math.nan
    if claim in payload and not abs(moment) <= _LAST_MOMENT:  # also refuses what is not a number at all
        raise InvalidToken(f'could not parse token: claim "{claim}" is not a time')
    return moment
