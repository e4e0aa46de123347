"""TLS settings carry Go's names; OpenSSL must understand what they mean."""

import ssl

import pytest

from kuma.cp.config import ConfigInvalid, TlsRules, tls_rules
from kuma.cp.config.tls import CIPHERS, available, openssl_ciphers, tls_version

NEW, OLD = "TLS_AES_128_GCM_SHA256", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"
V12, V13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3


def test_the_order_of_suites_is_kept():
    """The first suite named is the preferred one; suites of TLS 1.3 are always on and need no mention."""
    names = [
        "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
        "TLS_AES_128_GCM_SHA256",
        "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
    ]

    assert openssl_ciphers(names) == "ECDHE-RSA-AES256-GCM-SHA384:ECDHE-RSA-CHACHA20-POLY1305"


def test_no_suite_leaves_openssls_choice():
    """An empty list restricts nothing; one of TLS 1.3 only says nothing about older versions by itself."""
    assert openssl_ciphers([]) is None
    assert openssl_ciphers([NEW]) is None


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


@pytest.mark.parametrize(
    ("settings", "rules"),
    [
        (("", "", ()), TlsRules(V12)),
        (("TLSv1_2", "", ()), TlsRules(V12)),
        (("TLSv1_0", "", ()), TlsRules(V12)),
        (("TLSv1_3", "", ()), TlsRules(V13)),
        (("TLSv1_2", "TLSv1_2", ()), TlsRules(V12, V12)),
        (("TLSv1_2", "", (OLD,)), TlsRules(V12, None, CIPHERS[OLD])),
        (("TLSv1_2", "", (NEW, OLD)), TlsRules(V12, None, CIPHERS[OLD])),
        (("TLSv1_2", "", (NEW,)), TlsRules(V13)),
        (("TLSv1_3", "", (OLD,)), TlsRules(V13)),
    ],
)
def test_rules(settings, rules):
    """TLS 1.2 is the oldest; who names suites of TLS 1.3 only does not get others through TLS 1.2."""
    assert tls_rules(*settings) == rules


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        (("TLSv1_3", "TLSv1_2", ()), "TlsMinVersion cannot be higher than TlsMaxVersion"),
        (("TLSv1_0", "TLSv1_1", ()), "TLSv1_2 is the oldest version spoken here"),
        (("TLSv1_2", "TLSv1_2", (NEW,)), "TlsCipherSuites are all of TLSv1_3"),
        (("TLSv1_2", "", ("TLS_RSA_WITH_RC4_128_SHA",)), "OpenSSL here has none of TLS_RSA_WITH_RC4_128_SHA"),
    ],
)
def test_rules_that_leave_nothing_stop_the_start(settings, complaint):
    """A server that nobody can speak to is not started."""
    with pytest.raises(ConfigInvalid, match=complaint):
        tls_rules(*settings)


def test_suites_that_openssl_lacks():
    """Go knows them still."""
    assert available(NEW)
    assert available(OLD)
    assert not available("TLS_RSA_WITH_RC4_128_SHA")
