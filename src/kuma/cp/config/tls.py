"""What the TLS settings mean to OpenSSL: versions and cipher suites by the names that Go gives them."""

from __future__ import annotations

import ssl
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
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


def openssl_ciphers(names: Iterable[str]) -> str | None:
    """
    The suites up to TLS 1.2 as ``ssl.SSLContext.set_ciphers`` takes them, in the given order.

    Returns:
        None when no such suite is named: OpenSSL's own choice stays.

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
