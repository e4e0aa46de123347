"""``kumactl generate`` makes tokens, keys and certificates that Kuma's tools take."""

import base64
import ssl
import stat
from datetime import UTC, datetime
from uuid import UUID

import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

from tests.unit.ctl.conftest import NOW


def test_a_dataplane_token_from_the_control_plane(kumactl, cp):
    """Everything that was given is asked for; the token comes without a line break."""
    cp.answer("POST", "/tokens/dataplane", b"a.b.c\n", 200, {"content-type": "text/plain"})
    result = kumactl(
        "generate", "dataplane-token", "--mesh", "demo", "--name", "web-1", "--tag", "kuma.io/service=web,api",
        "--tag", "v=1", "--proxy-type", "dataplane", "--workload", "w", "--valid-for", "24h",
    )  # fmt: skip
    assert (result.exit_code, result.stdout, result.stderr) == (0, "a.b.c", "")
    assert cp.asked[1].json == {
        "name": "web-1",
        "mesh": "demo",
        "tags": {"kuma.io/service": ["web", "api"], "v": ["1"]},
        "type": "dataplane",
        "workload": "w",
        "validFor": "24h0m0s",
    }


def test_a_user_token_from_the_control_plane(kumactl, cp):
    """Groups may be repeated or comma-separated."""
    cp.answer("POST", "/tokens/user", b"a.b.c")
    args = ("--name", "john", "--group", "a,b", "--group", "c", "--valid-for", "90s")
    assert kumactl("generate", "user-token", *args).stdout == "a.b.c"
    assert cp.asked[1].json == {"name": "john", "groups": ["a", "b", "c"], "validFor": "1m30s"}


def test_a_zone_token_from_the_control_plane(kumactl, cp):
    """For this zone unless another is named; a control plane that issues none is named as such."""
    cp.answer("POST", "/tokens/zone", b"a.b.c")
    assert kumactl("generate", "zone-token", "--valid-for", "1h").stdout == "a.b.c"
    assert cp.asked[1].json == {"zone": "", "scope": ["ingress", "egress"], "validFor": "1h0m0s"}
    args = ("generate", "zone-token", "--zone", "east", "--scope", "egress", "--valid-for", "1h")
    assert kumactl(*args).exit_code == 0
    assert cp.asked[-1].json == {"zone": "east", "scope": ["egress"], "validFor": "1h0m0s"}
    del cp.answers["POST", "/tokens/zone"]
    assert kumactl(*args).stderr == (
        "Error: failed to generate a zone token: this control plane issues no zone tokens; "
        "sign one here with --signing-key-path and --kid\n"
    )


def test_a_refusal_is_in_the_servers_words(kumactl, cp):
    """With the kind of token in front; a missing key is no missing endpoint."""
    cp.refuse("POST", "/tokens/user", 403, "Access Denied", "action not allowed")
    assert kumactl("generate", "user-token", "--name", "a", "--valid-for", "1h").stderr.startswith(
        "Error: failed to generate a user token: Access Denied (action not allowed)\n"
    )
    cp.refuse("POST", "/tokens/zone", 404, "Signing Key not found", "there is no signing key")
    assert kumactl("generate", "zone-token", "--valid-for", "1h").stderr == (
        "Error: failed to generate a zone token: Signing Key not found (there is no signing key)\n"
    )


@pytest.fixture
def key(bare, home):
    """A signing key as a user makes it."""
    (home / "key.pem").write_text(bare("generate", "signing-key", "--format=pem").stdout)
    return home / "key.pem"


def _decoded(bare, key, token):
    public = load_pem_public_key(bare("generate", "public-key", "--signing-key-path", str(key)).stdout.encode())
    options = {"verify_exp": False, "verify_nbf": False, "verify_iat": False}
    return jwt.decode(token, public, algorithms=["RS256"], options=options)


@pytest.mark.parametrize(
    "args, claims",
    [
        (
            ["dataplane-token", "--name", "web-1", "-m", "demo", "--tag", "kuma.io/service=web", "--type", "dataplane"],
            {
                "Name": "web-1",
                "Mesh": "demo",
                "Tags": {"kuma.io/service": ["web"]},
                "Type": "dataplane",
                "Workload": "",
            },
        ),
        (["dataplane-token"], {"Name": "", "Mesh": "default", "Tags": {}, "Type": "", "Workload": ""}),
        (["user-token", "--name", "john", "--group", "a"], {"Name": "john", "Groups": ["a"]}),
        (["user-token", "--name", "john"], {"Name": "john", "Groups": None}),
        (["zone-token", "--zone", "east"], {"Zone": "east", "Scope": ["ingress", "egress"]}),
    ],
)
def test_tokens_are_signed_without_a_control_plane(bare, key, args, claims):
    """Go's claim names, all present; whole seconds; valid from five seconds ago."""
    signing = ("--valid-for", "1h", "--signing-key-path", str(key), "--kid", "7")
    result = bare("generate", *args, *signing)
    assert (result.exit_code, result.stderr) == (0, "")
    assert jwt.get_unverified_header(result.stdout) == {"alg": "RS256", "kid": "7", "typ": "JWT"}
    payload = _decoded(bare, key, result.stdout)
    assert UUID(payload.pop("jti")).version == 4
    now = int(NOW)
    assert payload == {**claims, "iat": now - 5, "nbf": now - 5, "exp": now + 3600}


@pytest.mark.parametrize(
    "args, message",
    [
        (["dataplane-token"], 'required flag(s) "valid-for" not set; see "kumactl generate dataplane-token --help"'),
        (["user-token", "--valid-for", "1h"], 'required flag(s) "name" not set'),
        (["dataplane-token", "--valid-for", "0"],
         "failed to generate a dataplane token: You must set a token validFor value"),
        (["dataplane-token", "--valid-for", "1d"], "--valid-for: time: "),
        (["dataplane-token", "--valid-for", "-1h"], "--valid-for: must not be negative"),
        (["dataplane-token", "--valid-for", "1h", "--kid", "1"],
         "failed to generate a dataplane token: --kid is of use only together with --signing-key-path"),
        (["user-token", "--name", "a", "--valid-for", "1h", "--signing-key-path", "key.pem"],
         "failed to generate a user token: --kid is required when --signing-key-path is used"),
        (["user-token", "--name", "a", "--valid-for", "1h", "--signing-key-path", "none", "--kid", "1"],
         "failed to generate a user token: cannot read the signing key none: No such file or directory"),
        (["zone-token", "--valid-for", "1h", "--signing-key-path", "key.pem", "--kid", "1"],
         "--zone is required when --signing-key-path is used"),
        (["public-key"], 'required flag(s) "signing-key-path" not set'),
        (["tls-certificate", "--type", "server"], 'required flag(s) "hostname" not set'),
        (["tls-certificate", "--type", "proxy", "--hostname", "a"], "--type: 'proxy' is not one of"),
        (["tls-certificate", "--type", "server", "--hostname", ""], "--hostname is empty; give the host names"),
        (["tls-certificate", "--type", "server", "--hostname", "a b"], '--hostname "a b" is neither a host name nor'),
        (["tls-certificate", "--type", "server", "--hostname", "a", "--key-file", "none/key"],
         "cannot save the private key in none/key: No such file or directory"),
    ],
)  # fmt: skip
def test_what_cannot_be_generated_is_said(bare, key, args, message):
    """Exit code 1, nothing on stdout."""
    result = bare("generate", *args)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith(f"Error: {message}")


def test_signing_keys_are_what_secrets_hold(bare, home):
    """RSA of 2048 bits in PKCS#1; base64 of that by default, and usable in both forms."""
    pem = bare("generate", "signing-key", "--format", "pem").stdout
    assert pem.startswith("-----BEGIN RSA PRIVATE KEY-----\n")
    assert load_pem_private_key(pem.encode(), None).key_size == 2048
    encoded = bare("generate", "signing-key").stdout
    assert base64.b64decode(encoded, validate=True).startswith(b"-----BEGIN RSA PRIVATE KEY-----\n")
    (home / "encoded").write_text(encoded)
    assert bare("generate", "public-key", "--signing-key-path", "encoded").stdout.startswith(
        "-----BEGIN RSA PUBLIC KEY-----\n"
    )


@pytest.mark.parametrize("content", [b"", b"\xff\x00", b"-----BEGIN RSA PRIVATE KEY-----\nAAAA\n", b"aGFsbG8="])
def test_a_file_without_a_key_is_refused(bare, home, content):
    """With the command that makes one; an elliptic key is none for tokens."""
    (home / "bad").write_bytes(content)
    result = bare("generate", "public-key", "--signing-key-path", "bad")
    assert result.stderr == (
        'Error: bad holds no RSA private key; make one with "kumactl generate signing-key --format=pem" '
        "and give its file\n"
    )


@pytest.mark.parametrize("kind", ["server", "client"])
@pytest.mark.parametrize("key_type, word", [("rsa", "RSA"), ("ecdsa", "EC")])
def test_certificates_are_self_signed(bare, home, kind, key_type, word):
    """With their names, for ten years, key and certificate for their owner only; twice is no problem."""
    args = ("generate", "tls-certificate", "--type", kind, "--hostname", "cp.example,127.0.0.1", "--hostname", "*.mesh")
    for _ in range(2):
        assert bare(*args, "--key-type", key_type).stdout == (
            "Private key saved in key.pem\nCertificate saved in cert.pem\n"
        )
    assert stat.S_IMODE((home / "key.pem").stat().st_mode) == 0o400
    assert stat.S_IMODE((home / "cert.pem").stat().st_mode) == 0o600
    assert (home / "key.pem").read_text().startswith(f"-----BEGIN {word} PRIVATE KEY-----")
    certificate = x509.load_pem_x509_certificate((home / "cert.pem").read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["cp.example", "*.mesh"]
    assert [str(ip) for ip in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1"]
    usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert [str(item._name) for item in usage] == [f"{kind}Auth"]  # noqa: SLF001 - cryptography gives no other name
    assert certificate.not_valid_before_utc < datetime.fromtimestamp(NOW, UTC)
    assert (certificate.not_valid_after_utc - certificate.not_valid_before_utc).days == 3650
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain("cert.pem", "key.pem")


def test_certificates_can_go_to_stdout(bare, home):
    """For a pipe; then no file is written and nothing else is printed."""
    out = bare("generate", "tls-certificate", "--type=server", "--hostname=a", "--key-file=-", "--cert-file=-").stdout
    assert out.startswith("-----BEGIN RSA PRIVATE KEY-----\n")
    assert out.endswith("-----END CERTIFICATE-----\n")
    assert list(home.iterdir()) == []


@pytest.mark.parametrize(
    "args, told",
    [
        (("zone-token", "--zone=east", "--scope=cp"), '--scope "cp" is unknown; it is one or both of ingress, egress'),
        (("dataplane-token", "--tag", "=web"), "must be formatted as key=value"),
    ],
)
def test_what_no_token_can_say_is_refused(kumactl, cp, args, told):
    """Whether the control plane or a key in a file would sign it."""
    result = kumactl("generate", *args, "--valid-for=1h")

    assert result.exit_code != 0
    assert told in result.stderr
    assert not [one for one in cp.requests() if one.startswith("POST")]
