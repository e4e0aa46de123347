"""The token that lets this proxy in.

It is read again for every attempt to join, so a file that is replaced meanwhile counts. Its claims are looked at
without a key: kuma-dp only wants to know which control plane it was issued by.
"""

from __future__ import annotations

import json
import re
from base64 import urlsafe_b64decode
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from kuma.core.errors import ConfigInvalid

MAX_TOKEN_BYTES: Final = 16 << 10
_JWT: Final = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*")
_FINGERPRINT: Final = re.compile(r"sha256:[0-9a-f]{64}")


def read_token(path: str) -> str:
    """
    The token in a file.

    Raises:
        ConfigInvalid: no readable file, or no token in it.
    """
    try:
        with Path(path).open("rb") as file:
            data = file.read(MAX_TOKEN_BYTES + 1)
    except OSError as error:
        raise ConfigInvalid(
            f"--dataplane-token-file: cannot read {path}: {error.strerror}; make a token with "
            "'kumactl generate dataplane-token' and write it to this file"
        ) from error
    if len(data) > MAX_TOKEN_BYTES:
        raise ConfigInvalid(f"--dataplane-token-file: {path} is no token: it has over {MAX_TOKEN_BYTES} bytes")
    return checked(data.decode(errors="replace"), f"--dataplane-token-file: {path}")


def checked(text: str, where: str) -> str:
    """
    The token without the white space around it.

    Raises:
        ConfigInvalid: empty, or not three parts of a JWT. The text never shows the token.
    """
    token = text.strip()
    if not token:
        raise ConfigInvalid(f"{where} is empty; make a token with 'kumactl generate dataplane-token'")
    if len(token) > MAX_TOKEN_BYTES or not _JWT.fullmatch(token):
        hint = "it contains line breaks or blanks" if re.search(r"\s", token) else "it does not have a token's form"
        raise ConfigInvalid(f"{where} holds no token: {hint}; make one with 'kumactl generate dataplane-token'")
    claims(token, where)
    return token


def claims(token: str, where: str) -> Mapping[str, Any]:
    """
    What the token says, not verified.

    Raises:
        ConfigInvalid: the claims cannot be read.
    """
    body = token.split(".")[1]
    try:
        data = json.loads(urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    except (ValueError, RecursionError) as error:
        raise ConfigInvalid(f"{where} holds no token: its claims cannot be read") from error
    if not isinstance(data, Mapping):
        raise ConfigInvalid(f"{where} holds no token: its claims are not an object")
    return data


def expiry(token: str) -> datetime | None:
    """When the token ends, as far as it says."""
    end = claims(token, "the dataplane token").get("exp")
    if isinstance(end, bool) or not isinstance(end, int | float):
        return None
    try:
        return datetime.fromtimestamp(end, UTC)
    except (ValueError, OverflowError, OSError):
        return None


def ca_fingerprint(token: str) -> str:
    """
    ``sha256:<hex>`` of the CA of the control plane that issued the token; empty when the token does not say.

    Raises:
        ConfigInvalid: the claim is there and is no fingerprint.
    """
    value = claims(token, "the dataplane token").get("CaFingerprint") or ""
    if value and (not isinstance(value, str) or not _FINGERPRINT.fullmatch(value)):
        raise ConfigInvalid("the dataplane token carries a CaFingerprint that is not sha256:<64 hex digits>")
    return str(value)
