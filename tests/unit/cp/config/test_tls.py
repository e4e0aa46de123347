"""TLS settings carry Go's names; OpenSSL must understand what they mean."""

import ssl

import pytest

from kuma.cp.config import ConfigInvalid, openssl_ciphers, tls_version
from kuma.cp.config.tls import CIPHERS


def test_the_order_of_suites_is_kept():
    """The first suite named is the preferred one; suites of TLS 1.3 are always on and need no mention."""
    names = [
        "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
        "TLS_AES_128_GCM_SHA256",
        "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
    ]

    assert openssl_ciphers(names) == "ECDHE-RSA-AES256-GCM-SHA384:ECDHE-RSA-CHACHA20-POLY1305"


def test_no_suite_leaves_openssls_choice():
    """An empty list, or one of TLS 1.3 only, restricts nothing."""
    assert openssl_ciphers([]) is None
    assert openssl_ciphers(["TLS_AES_128_GCM_SHA256"]) is None


def test_an_unknown_suite_is_refused_with_the_nearest():
    """A slip would otherwise weaken a server unnoticed."""
    with pytest.raises(ConfigInvalid, match="did you mean TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"):
        openssl_ciphers(["TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA255"])


@pytest.mark.parametrize("name", [name for name in CIPHERS if name.startswith("TLS_ECDHE") and "GCM" in name])
def test_openssl_knows_every_modern_suite(name: str):
    """The translated name is one that an SSL context takes."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)

    context.set_ciphers(openssl_ciphers([name]) or "")

    assert CIPHERS[name] in {cipher["name"] for cipher in context.get_ciphers()}


def test_versions():
    """Kuma's words for protocol versions; an empty one sets no bound."""
    assert tls_version("TLSv1_3") is ssl.TLSVersion.TLSv1_3
    assert tls_version("") is None
    with pytest.raises(ConfigInvalid, match="unsupported tls version 'TLS13'"):
        tls_version("TLS13")
