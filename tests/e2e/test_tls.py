"""TLS of the control plane's ports, with real proxies: which certificate, which versions, certificates of callers."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.harness import documents
from tests.e2e.harness.certificates import Company, https
from tests.e2e.harness.clients import http1
from tests.e2e.harness.control_plane import ControlPlane
from tests.e2e.harness.kumactl import Kumactl
from tests.e2e.harness.lab import Lab
from tests.e2e.harness.load import Load
from tests.e2e.harness.waiting import stays, wait_until

Start = Callable[[dict[str, str]], ControlPlane]
STRANGERS = {"KUMA_API_SERVER_AUTHN_LOCALHOST_IS_ADMIN": "false"}


@pytest.fixture
def company(tmp_path: Path) -> Company:
    """The operator's own CA."""
    return Company(tmp_path / "company")


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Start]:
    """Starts control planes without proxies."""
    made: list[ControlPlane] = []

    def start(settings: dict[str, str]) -> ControlPlane:
        made.append(ControlPlane(tmp_path / f"control-plane-{len(made)}", settings))
        (made[-1].home / ".kumactl").mkdir()  # no connection is set up, there may be no plain HTTP
        return made[-1].start()

    try:
        yield start
        for control_plane in made:
            control_plane.program.assert_clean_log()
    finally:
        for control_plane in made:
            control_plane.close()


def own(company: Company, **settings: str) -> dict[str, str]:
    """Settings with the company's certificate."""
    return {
        "KUMA_GENERAL_TLS_CERT_FILE": str(company.cert),
        "KUMA_GENERAL_TLS_KEY_FILE": str(company.key),
        **settings,
    }


def couple(lab: Lab) -> None:
    """A service and a caller of it, with mutual TLS."""
    lab.mesh(documents.mesh("default", documents.builtin("ca-1")))
    lab.control_plane.kumactl.apply(documents.permission("default", "everybody"))
    lab.service("backend-1", lab.http("backend"), "http", service="backend").start()
    lab.proxy("web-1", calls=["backend"]).start()


def test_certificates_are_replaced_while_everybody_works(lab: Lab, company: Company):
    """
    New connections see the new certificate within seconds, on both ports.

    Meanwhile no request fails and no stream ends, and a proxy that joins afterwards trusts the control plane as before.
    """
    control_plane = lab.own_control_plane(own(company))
    couple(lab)
    web = lab.proxies[-1]
    ports = (control_plane.https_port, control_plane.dp_port)
    api = Load(lambda: str(https(control_plane.https_port, company.trusting(), "/meshes/default").status))
    traffic = Load(lambda: http1(web.outbound("backend")))
    with api, traffic:
        api.run_for(10)
        for name in ("second", "third"):
            company.issue(name)
            for port in ports:
                wait_until(lambda port=port, name=name: company.shown(port) == name, f"{name} on {port}", seconds=10)
            api.mark(name)
            api.run_for(10)
        lab.proxy("late-1", calls=["backend"]).start()
        http1(lab.proxies[-1].outbound("backend"))
        traffic.run_for(20)
    api.assert_no_failure()
    traffic.assert_no_failure()
    assert set(api.answers) == {"200"}
    for proxy in lab.proxies:
        overview = control_plane.overview(proxy.name)
        assert len(overview["dataplaneInsight"]["subscriptions"]) == 1


@pytest.mark.parametrize("fault", ["half", "key", "gone"])
def test_a_broken_pair_changes_nothing_and_is_told(started: Start, company: Company, fault: str):
    """The former certificate is shown, the log has the cause, once; when the files are mended the new one is shown."""
    control_plane = started(own(company))
    ports = (control_plane.https_port, control_plane.dp_port)
    chain, key = company.made("second")
    match fault:
        case "half":
            company.write(chain[: len(chain) // 3], key)
            cause = "tls.crt cannot be used: it is not a certificate in PEM"
        case "key":
            company.write(chain, company.made("other")[1])
            cause = "tls.key is not the key of the certificate in"
        case _:
            company.key.unlink()
            cause = "tls.key: No such file or directory"

    def told() -> list[str]:
        return [line for line in control_plane.program.log().splitlines() if "\tERROR\tcertificates\t" in line]

    wait_until(lambda: len(told()) == len(ports), "told for each port", seconds=10)
    assert all(cause in line for line in told())
    assert "PRIVATE KEY" not in control_plane.program.log()
    stays(lambda: {company.shown(port) for port in ports} == {"first"}, "the former one is shown", seconds=2)
    company.write(chain, key)
    wait_until(lambda: {company.shown(port) for port in ports} == {"second"}, "the new one is shown", seconds=10)
    assert len(told()) == len(ports)


@pytest.mark.parametrize(
    "limits",
    [
        {"MIN_VERSION": "TLSv1_3"},
        {"MAX_VERSION": "TLSv1_2"},
        {"CIPHER_SUITES": "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"},
        {"MAX_VERSION": "TLSv1_2", "CIPHER_SUITES": "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256"},
    ],
    ids=["min", "max", "suites", "max and suites"],
)
def test_proxies_work_within_every_limit(lab: Lab, limits: dict[str, str]):
    """Real Envoys join, get their configuration, pass traffic and report health, whatever TLS is allowed on 5678."""
    settings = {f"KUMA_GENERAL_TLS_{name}": value for name, value in limits.items()}
    control_plane = lab.own_control_plane({"KUMA_DIAGNOSTICS_TLS_ENABLED": "true", **settings})
    assert not [line for line in control_plane.program.log().splitlines() if "_TLS_" in line]
    couple(lab)
    web = lab.proxies[-1]
    wait_until(lambda: http1(web.outbound("backend")) == "backend", "traffic")
    addresses = [line for line in control_plane.program.log().splitlines() if "proxy connected" in line]
    assert addresses
    assert all("127.0.0.1:" in line or "[::1]:" in line for line in addresses)
    assert_limits(control_plane, limits)


def assert_limits(control_plane: ControlPlane, limits: dict[str, str]) -> None:
    """What a client may speak on the three ports is what the settings say."""
    for port in (control_plane.https_port, control_plane.dp_port, control_plane.diagnostics_port):
        for version, name in ((ssl.TLSVersion.TLSv1_2, "TLSv1_2"), (ssl.TLSVersion.TLSv1_3, "TLSv1_3")):
            client = ssl.create_default_context(cafile=str(control_plane.directory / "work" / "ca.crt"))
            client.minimum_version = client.maximum_version = version
            allowed = limits.get("MIN_VERSION", "TLSv1_2") <= name <= limits.get("MAX_VERSION", "TLSv1_3")
            if allowed:
                assert https(port, client, "/bootstrap").status in (404, 405)
            else:
                with pytest.raises(ssl.SSLError):
                    https(port, client, "/bootstrap")


def test_http_is_hidden(started: Start, company: Company, tmp_path: Path):
    """Nothing listens on the port of plain HTTP; kumactl works over HTTPS, and the log shows the way to the token."""
    control_plane = started(own(company, KUMA_API_SERVER_HTTP_ENABLED="false"))

    with pytest.raises(ConnectionRefusedError):
        control_plane.api.request("GET", "/")
    shown = control_plane.program.wait_for_log("the admin user token can be read from this host")
    assert f"curl -sk https://localhost:{control_plane.https_port}/global-secrets/admin-user-token" in shown
    assert "default" in kumactl(control_plane, company, tmp_path / "someone")("get", "meshes")


def kumactl(control_plane: ControlPlane, company: Company, home: Path, *flags: str) -> Kumactl:
    """A kumactl of somebody, over HTTPS."""
    home.mkdir(exist_ok=True)
    tool = Kumactl(home, {})
    tool(
        "config", "control-planes", "add", "--name", "it", "--address", f"https://localhost:{control_plane.https_port}",
        "--ca-cert-file", str(company.ca), *flags,
    )  # fmt: skip
    return tool


def who(port: int, tls: ssl.SSLContext) -> str:
    """Who a caller over HTTPS is."""
    name: str = https(port, tls, "/who-am-i").json["name"]
    return name


def with_certificate(company: Company, cert: Path, key: Path) -> ssl.SSLContext:
    """TLS of a client that shows a certificate."""
    tls = company.trusting()
    tls.load_cert_chain(cert, key)
    return tls


def test_a_client_certificate_makes_an_administrator(started: Start, company: Company, tmp_path: Path):
    """
    With ``adminClientCerts`` whoever shows a certificate that is trusted is the administrator, on HTTPS only.

    Trust is in a folder: what is added there counts within seconds, and what is taken away no longer does.
    """
    folder = tmp_path / "clients"
    folder.mkdir()
    settings = own(
        company,
        KUMA_API_SERVER_AUTHN_TYPE="adminClientCerts",
        KUMA_API_SERVER_AUTH_CLIENT_CERTS_DIR=str(folder),
        **STRANGERS,
    )
    control_plane = started(settings)
    assert "no certificate makes an administrator" in control_plane.program.log()
    port = control_plane.https_port
    mine = Kumactl(control_plane.home, {})
    mine(
        "generate", "tls-certificate", "--type=client", "--hostname=admin",
        f"--cert-file={tmp_path / 'admin.crt'}", f"--key-file={tmp_path / 'admin.key'}",
    )  # fmt: skip
    admin = with_certificate(company, tmp_path / "admin.crt", tmp_path / "admin.key")
    other = with_certificate(company, *company.client(tmp_path, "other"))
    assert who(port, company.trusting()) == "mesh-system:anonymous"

    (folder / "admin.pem").write_bytes((tmp_path / "admin.crt").read_bytes())
    wait_until(lambda: who(port, admin) == "mesh-system:admin", "the certificate counts", seconds=10)
    assert who(port, company.trusting()) == "mesh-system:anonymous"
    with pytest.raises((ssl.SSLError, ConnectionError)):
        who(port, other)
    assert control_plane.api.get("/who-am-i")["name"] == "mesh-system:anonymous"
    flags = ("--client-cert-file", str(tmp_path / "admin.crt"), "--client-key-file", str(tmp_path / "admin.key"))
    tool = kumactl(control_plane, company, tmp_path / "admin", *flags)
    assert "zone-token-signing-key-1" in tool("get", "global-secrets")
    assert kumactl(control_plane, company, tmp_path / "nobody").run("get", "global-secrets").code == 1

    (folder / "admin.pem").unlink()
    wait_until(lambda: refused(lambda: who(port, admin) == "mesh-system:admin"), "it no longer counts", seconds=10)


def refused(admin: object) -> bool:
    """Whether a certificate no longer makes an administrator; without any CA nobody is even asked for one."""
    try:
        return not admin()  # type: ignore[operator] # a question
    except (ssl.SSLError, ConnectionError):
        return True


def test_a_demanded_certificate_keeps_everybody_else_out(started: Start, company: Company, tmp_path: Path):
    """Before any request; who gets in is who the token says, not an administrator."""
    settings = own(
        company,
        KUMA_API_SERVER_HTTPS_REQUIRE_CLIENT_CERT="true",
        KUMA_API_SERVER_HTTPS_TLS_CA_FILE=str(company.ca),
        **STRANGERS,
    )
    control_plane = started(settings)
    port = control_plane.https_port

    assert who(port, with_certificate(company, *company.client(tmp_path, "jane"))) == "mesh-system:anonymous"
    with pytest.raises((ssl.SSLError, ConnectionError)):
        who(port, company.trusting())
    stranger = Company(tmp_path / "stranger")
    with pytest.raises((ssl.SSLError, ConnectionError)):
        who(port, with_certificate(company, *stranger.client(tmp_path, "mallory")))


def test_every_server_may_have_a_certificate_of_its_own(lab: Lab, company: Company, tmp_path: Path):
    """The API shows one, the data plane port another; a proxy trusts the latter by its token, without a file."""
    proxies = Company(tmp_path / "proxies")
    settings = own(company)
    settings |= {"KUMA_DP_SERVER_TLS_CERT_FILE": str(proxies.cert), "KUMA_DP_SERVER_TLS_KEY_FILE": str(proxies.key)}
    control_plane = lab.own_control_plane(settings)

    assert company.shown(control_plane.https_port) == proxies.shown(control_plane.dp_port) == "first"
    with pytest.raises(ssl.SSLError):
        company.shown(control_plane.dp_port)
    lab.proxy("web-1").start()


@pytest.mark.parametrize("limits", [{}, {"KUMA_GENERAL_TLS_MAX_VERSION": "TLSv1_2"}], ids=["granian", "openssl"])
def test_a_new_ca_is_in_the_tokens_and_bootstraps_from_then_on(
    lab: Lab, company: Company, tmp_path: Path, limits: dict[str, str]
):
    """A proxy with a token from before no longer trusts the control plane; with a new token one joins."""
    control_plane = lab.own_control_plane({**own(company), **limits})
    former = control_plane.token("web-1", "default")
    next_one = Company(tmp_path / "next")
    company.write(*next_one.made("next"))
    wait_until(lambda: shows(next_one, control_plane.dp_port), "the new CA's certificate", seconds=10)

    late = lab.proxy("web-1", token=former).launch()
    late.program.wait_for_log("certificate")
    late.kill()
    lab.proxy("web-2").start()


def shows(company: Company, port: int) -> bool:
    """Whether a port shows a certificate of this company."""
    try:
        return bool(company.shown(port))
    except ssl.SSLError:
        return False
