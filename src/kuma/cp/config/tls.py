"""What the TLS settings mean to OpenSSL: versions and cipher suites by the names that Go gives them."""

from __future__ import annotations

import ssl
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from types import MappingProxyType
from typing import Final

from kuma.core.errors import ConfigInvalid

VERSIONS: Final[Mapping[str, ssl.TLSVersion]] = MappingProxyType(
    {
        "TLSv1_0": ssl.TLSVersion.TLSv1,
        "TLSv1_1": ssl.TLSVersion.TLSv1_1,
        "TLSv1_2": ssl.TLSVersion.TLSv1_2,
        "TLSv1_3": ssl.TLSVersion.TLSv1_3,
    }
)

# TLS 1.3 suites have one name everywhere; they are always on, in Go as well.
_TLS_1_3: Final = ("TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256")

CIPHERS: Final[Mapping[str, str]] = MappingProxyType(
    {
        **{name: name for name in _TLS_1_3},
        "TLS_RSA_WITH_AES_128_CBC_SHA": "AES128-SHA",
        "TLS_RSA_WITH_AES_256_CBC_SHA": "AES256-SHA",
        "TLS_RSA_WITH_AES_128_CBC_SHA256": "AES128-SHA256",
        "TLS_RSA_WITH_AES_128_GCM_SHA256": "AES128-GCM-SHA256",
        "TLS_RSA_WITH_AES_256_GCM_SHA384": "AES256-GCM-SHA384",
        "TLS_RSA_WITH_3DES_EDE_CBC_SHA": "DES-CBC3-SHA",
        "TLS_RSA_WITH_RC4_128_SHA": "RC4-SHA",
        "TLS_ECDHE_ECDSA_WITH_RC4_128_SHA": "ECDHE-ECDSA-RC4-SHA",
        "TLS_ECDHE_RSA_WITH_RC4_128_SHA": "ECDHE-RSA-RC4-SHA",
        "TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA": "ECDHE-RSA-DES-CBC3-SHA",
        "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA": "ECDHE-ECDSA-AES128-SHA",
        "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA": "ECDHE-ECDSA-AES256-SHA",
        "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA": "ECDHE-RSA-AES128-SHA",
        "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA": "ECDHE-RSA-AES256-SHA",
        "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256": "ECDHE-ECDSA-AES128-SHA256",
        "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256": "ECDHE-RSA-AES128-SHA256",
        "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256": "ECDHE-ECDSA-AES128-GCM-SHA256",
        "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384": "ECDHE-ECDSA-AES256-GCM-SHA384",
        "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256": "ECDHE-RSA-AES128-GCM-SHA256",
        "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384": "ECDHE-RSA-AES256-GCM-SHA384",
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-ECDSA-CHACHA20-POLY1305",
        "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-RSA-CHACHA20-POLY1305",
    }
)


OLDEST: Final = ssl.TLSVersion.TLSv1_2
"""What is older is never spoken, whatever the settings allow."""


@dataclass(frozen=True, slots=True)
class TlsRules:
    """
    What a server may speak.

    ``maximum`` None sets no bound. ``ciphers`` is for ``ssl.SSLContext.set_ciphers`` and rules TLS 1.2 only; None is
    OpenSSL's own choice. Suites of TLS 1.3 cannot be chosen, in Go neither.
    """

    minimum: ssl.TLSVersion = OLDEST
    maximum: ssl.TLSVersion | None = None
    ciphers: str | None = None

    @property
    def only_a_minimum(self) -> bool:
        """Nothing but the oldest version is ruled."""
        return self.maximum in (None, ssl.TLSVersion.TLSv1_3) and self.ciphers is None


def tls_rules(minimum: str, maximum: str, suites: Sequence[str]) -> TlsRules:
    """
    The rules in ``tlsMinVersion``, ``tlsMaxVersion`` and ``tlsCipherSuites``.

    A list of suites that has only those of TLS 1.3 leaves TLS 1.2 nothing to speak with, hence excludes it.

    Raises:
        ConfigInvalid: a name is unknown, or the rules leave nothing that could be spoken.
    """
    low, high = max(tls_version(minimum) or OLDEST, OLDEST), tls_version(maximum)
    older = openssl_ciphers(suites)
    if suites and not older:
        low = max(low, ssl.TLSVersion.TLSv1_3)
    if high is not None and high < OLDEST:
        raise ConfigInvalid(f"TlsMaxVersion {maximum} leaves nothing: TLSv1_2 is the oldest version spoken here")
    if high is not None and low > high:
        if not suites or older:
            raise ConfigInvalid("TlsMinVersion cannot be higher than TlsMaxVersion")
        raise ConfigInvalid(f"TlsCipherSuites are all of TLSv1_3, and TlsMaxVersion {maximum} excludes it")
    if older and low == OLDEST and not any(available(name) for name in suites if name not in _TLS_1_3):
        raise ConfigInvalid(f"TlsCipherSuites: OpenSSL here has none of {', '.join(suites)}")
    return TlsRules(low, high, older if low == OLDEST else None)


def openssl_ciphers(names: Iterable[str]) -> str | None:
    """
    The suites up to TLS 1.2 as ``ssl.SSLContext.set_ciphers`` takes them, in the given order.

    Returns:
        None when no such suite is named.

    Raises:
        ConfigInvalid: a name is not one of Go's.
    """
    chosen = []
    for name in names:
        cipher = CIPHERS.get(name)
        if cipher is None:
            near = get_close_matches(name, CIPHERS, n=1)
            hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(CIPHERS)}"
            raise ConfigInvalid(f"unsupported cipher suite {name!r}; {hint}")
        if name not in _TLS_1_3:
            chosen.append(cipher)
    return ":".join(chosen) or None


def tls_version(name: str) -> ssl.TLSVersion | None:
    """
    The protocol version of a ``tlsMinVersion`` or ``tlsMaxVersion``; None for an empty one, which sets no bound.

    Raises:
        ConfigInvalid: the name is not one of Kuma's.
    """
    if not name:
        return None
    version = VERSIONS.get(name)
    if version is None:
        raise ConfigInvalid(f"unsupported tls version {name!r}; known are {', '.join(VERSIONS)}")
    return version


@cache
def available(suite: str) -> bool:
    """Whether OpenSSL has a suite; RC4 and 3DES, which Go still knows, are usually left out of it."""
    if suite in _TLS_1_3:
        return True
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).set_ciphers(CIPHERS[suite])
    except ssl.SSLError:
        return False
    return True
