from datetime import timedelta

import pytest

from kuma.core.resources.mesh.backends import (
    builtin_conf,
    ca_backend,
    certificate_lifetime,
    enabled_backend,
    lifetime,
    provided_conf,
    secrets_in_use,
)
from kuma.core.resources.mesh.spec import CaBackend, Mesh

LIFETIMES = [
    ("1d", 1),
    ("10y", 3650),
    ("2w", 14),
    ("24h", 1),
    ("1440m", 1),
    ("86400s", 1),
    ("86400000ms", 1),
    ("0", 0),
    ("", 0),
]


@pytest.mark.parametrize("text, days", LIFETIMES)
def test_lifetimes_are_one_number_and_a_unit(text, days):
    """Lifetimes of certificates are written as in the guides."""
    assert lifetime(text) == timedelta(days=days)


@pytest.mark.parametrize("text", ["1d12h", "-1d", "1", "d", "1.5d", "1 d", "1D", "293y", "9" * 15 + "y", "١d"])
def test_other_lifetimes_are_refused(text):
    """Neither a typo nor a lifetime beyond reason is taken for a lifetime."""
    with pytest.raises(ValueError, match="has to be a valid format"):
        lifetime(text)


def test_a_builtin_authority_that_says_nothing_lives_ten_years():
    """The defaults of an authority are Kuma's: ten years, certificates of one day."""
    backend = CaBackend(name="ca-1", type="builtin")
    assert builtin_conf(backend).ca_lifetime == timedelta(days=3650)
    assert certificate_lifetime(backend) == timedelta(hours=24)


@pytest.mark.parametrize("spelling", ["rsaBits", "RSAbits", "rsa_bits"])
def test_the_key_size_is_read_in_every_spelling_of_the_guides(spelling):
    """The guides write RSAbits where the schema says rsaBits; both mean the key size."""
    backend = CaBackend.model_validate({"conf": {"caCert": {spelling: 4096, "expiration": "1y"}}})
    conf = builtin_conf(backend)
    assert conf.ca_cert is not None
    assert conf.ca_cert.rsa_bits == 4096
    assert conf.ca_lifetime == timedelta(days=365)


MESH = Mesh.model_validate(
    {
        "mtls": {
            "enabledBackend": "ca-2",
            "backends": [
                {"name": "ca-1", "type": "builtin"},
                {
                    "name": "ca-2",
                    "type": "provided",
                    "dpCert": {"rotation": {"expiration": "60s"}},
                    "conf": {"cert": {"secret": "the-cert"}, "key": {"inline": "a2V5"}},
                },
            ],
        }
    }
)


def test_the_enabled_backend_is_the_one_named():
    """Several authorities may be listed; one of them issues."""
    backend = enabled_backend(MESH)
    assert backend is ca_backend(MESH, "ca-2")
    assert certificate_lifetime(backend) == timedelta(seconds=60)
    assert enabled_backend(Mesh()) is None
    assert enabled_backend(Mesh.model_validate({"mtls": {"backends": [{"name": "ca-1"}]}})) is None


def test_keys_are_not_part_of_any_text():
    """A key that is written inline cannot reach a log by way of an error or a debug line."""
    conf = provided_conf(ca_backend(MESH, "ca-2"))
    assert conf.key.inline == b"key"
    assert "key" not in repr(conf.key)


def test_secrets_that_an_authority_reads_are_known():
    """The control plane can refuse to delete a secret that is in use, and say by whom."""
    assert secrets_in_use(MESH) == {"the-cert": "ca-2"}
    assert secrets_in_use(Mesh()) == {}
