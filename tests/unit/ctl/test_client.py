"""Talking to the control plane: credentials are sent and never shown, failures are explained, time and size end."""

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Iterator

import pytest
import trustme

from kuma.core.errors import ConfigInvalid, NotFound
from kuma.ctl.client import MAX_ANSWER, Client, api_path, printable, split_address
from kuma.ctl.errors import ApiError, Unreachable
from kuma.ctl.settings import ControlPlane
from tests.unit.ctl.conftest import serve

_clients: list[Client] = []


@pytest.fixture(autouse=True)
def _no_connection_left():
    yield
    while _clients:
        _clients.pop().close()


def _client(url: str, *, timeout: float = 10.0, max_answer: int = MAX_ANSWER, **fields) -> Client:
    _clients.append(Client(ControlPlane("test", url, **fields), timeout=timeout, max_answer=max_answer))
    return _clients[-1]


@contextlib.contextmanager
def _listener(answer: bytes, *, hold: bool = False) -> Iterator[str]:
    """Something that accepts one connection after another and answers each with the same bytes."""
    stop = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.05)

        def run() -> None:
            while not stop.is_set():
                try:
                    peer, _ = server.accept()
                except TimeoutError:
                    continue
                with peer, contextlib.suppress(OSError):
                    peer.recv(65536)
                    peer.sendall(answer)
                    if hold:
                        stop.wait(10)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        try:
            yield f"127.0.0.1:{server.getsockname()[1]}"
        finally:
            stop.set()
            thread.join()


def test_a_request_carries_headers_and_json(cp):
    """Accept, user agent, user's headers and the token are on every call."""
    cp.answer("PUT", "/base/meshes/m?x=1%262", {})
    client = _client(
        f"{cp.url}/base/", headers=(("X-Tenant", "a"),), auth_type="tokens", auth_conf={"token": "abc.def"}
    )
    assert client.call("PUT", "/meshes/m", [("x", "1&2")], {"name": "ü"}).object() == {}
    asked = cp.asked[0]
    assert asked.headers["accept"] == "application/json"
    assert asked.headers["content-type"] == "application/json"
    assert asked.headers["authorization"] == "Bearer abc.def"
    assert asked.headers["x-tenant"] == "a"
    assert asked.headers["user-agent"].startswith("kumactl/2.14.3 (linux; ")
    assert asked.json == {"name": "ü"}


def test_one_connection_serves_a_command(cp):
    """Version check and command share a connection."""
    client = _client(cp.url)
    client.get("/")
    client.get("/")
    assert len({asked.connection for asked in cp.asked}) == 1


def test_refusals_are_read_from_the_api_error_body(cp):
    """Title, detail and every field; other bodies are shown as they are, cut and harmless."""
    cp.refuse("GET", "/a", 400, "Could not process a resource", "Resource is not valid", **{"spec.to": "is wrong"})
    cp.answer("GET", "/b", b"upstream \x1b[31mfailed" + b"x" * 10_000, 502, {})
    cp.answer("GET", "/c", b"", 500, {})
    cp.answer("GET", "/d", [1], 500)
    client = _client(cp.url)
    with pytest.raises(ApiError) as refused:
        client.get("/a")
    assert str(refused.value) == "Could not process a resource (Resource is not valid)\n* spec.to: is wrong"
    with pytest.raises(ApiError, match=r"^\(502\): upstream \ufffd\[31mfailedx") as refused:
        client.get("/b")
    assert len(str(refused.value)) < 2100
    with pytest.raises(ApiError, match=r"^\(500\): empty answer$"):
        client.get("/c")
    with pytest.raises(ApiError, match=r"^\(500\): \["):
        client.get("/d")


def test_not_found_is_not_found_whatever_the_body(cp):
    """404 means absent, in JSON and in text."""
    cp.refuse("GET", "/a", 404, "Could not retrieve a resource", "Not found")
    with pytest.raises(NotFound, match=r"Could not retrieve a resource \(Not found\)"):
        _client(cp.url).get("/a")
    with pytest.raises(NotFound, match="404: Page Not Found"):
        _client(cp.url).get("/b")


@pytest.mark.parametrize(
    "status, title, detail, next_step",
    [
        (404, "Failed to retrieve Mesh", "Not found", 'see "kumactl get meshes"'),
        (401, "Invalid authentication data", "Unauthenticated", "the token is wrong, expired or revoked"),
        (403, "Access Denied", "not you", "give the token of a user who may do this"),
        (409, "Conflict", "it was changed", "look at it, then try again"),
        (503, "Service unavailable", "disk full", "the log of kuma-cp says more"),
    ],
)
def test_a_refusal_comes_with_a_next_step(cp, status, title, detail, next_step):
    """The API answers in Kuma's words, which name the cause only."""
    cp.refuse("GET", "/a", status, title, detail)
    with pytest.raises((ApiError, NotFound)) as refused:
        _client(cp.url).get("/a")
    assert str(refused.value).startswith(f"{title} ({detail})")
    assert next_step in str(refused.value)


def test_a_redirect_names_its_target(cp):
    """A request with a token is never sent on to where someone else says."""
    cp.answer("GET", "/a", b"", 301, {"location": "https://elsewhere:5682/a"})
    with pytest.raises(Unreachable, match="redirects to https://elsewhere:5682/a; use that address"):
        _client(cp.url).get("/a")


@pytest.mark.parametrize("body", [b"<html>", b"", b"[" * 100_000])
def test_an_answer_that_is_not_json_is_explained(cp, body):
    """A proxy's login page is not an API."""
    cp.answer("GET", "/a", body)
    with pytest.raises(Unreachable, match="the answer is not JSON; is this the API of a control plane"):
        _client(cp.url).get("/a").json()
    cp.answer("GET", "/a", [1])
    with pytest.raises(Unreachable, match="not a JSON object"):
        _client(cp.url).get("/a").object()


def test_nobody_there_is_explained():
    """Refused and unresolvable addresses say what to check."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(Unreachable, match=rf"http://127.0.0.1:{port}: connection refused; is it running"):
        _client(f"http://127.0.0.1:{port}").get("/")


def test_an_answer_that_never_comes_ends_in_time():
    """The limit holds for silence and for an answer that drips."""
    for answer in (b"", b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\nx"):
        with _listener(answer, hold=True) as address:
            start = time.monotonic()
            with pytest.raises(Unreachable, match=r"no complete answer within 0.2s; .*--api-timeout"):
                _client(f"http://{address}", timeout=0.2).get("/")
            assert time.monotonic() - start < 5


@pytest.mark.parametrize(
    "answer, problem",
    [
        (b"", "closed the connection without an answer; is this an https address"),
        (b"SSH-2.0-OpenSSH\r\n", "does not speak HTTP"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nshort", "ended in the middle of the answer"),
    ],
)
def test_something_else_there_is_explained(answer, problem):
    """Whatever listens, the reason is a sentence."""
    with _listener(answer) as address, pytest.raises(Unreachable, match=problem):
        _client(f"http://{address}").get("/")


def test_an_answer_without_end_is_cut(cp):
    """A server cannot fill the memory of its clients."""
    cp.answer("GET", "/a", b"x" * 100_000)
    with pytest.raises(Unreachable, match="larger than 1000 bytes"):
        _client(cp.url, max_answer=1000).get("/a")


@pytest.fixture(scope="module")
def authority():
    """A CA of our own."""
    return trustme.CA()


@pytest.fixture
def tls_cp(authority):
    """A control plane on HTTPS that takes client certificates."""

    def wrap(server) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1").configure_cert(context)
        authority.configure_trust(context)
        context.verify_mode = ssl.CERT_OPTIONAL
        server.socket = context.wrap_socket(server.socket, server_side=True)

    for double in serve(wrap):
        double.url = double.url.replace("http:", "https:")
        yield double


def test_tls_is_verified_unless_told_otherwise(tls_cp, authority, tmp_path):
    """With the CA it works, without it the way out is named, skipping is a choice."""
    ca = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(ca)
    assert _client(tls_cp.url, ca_cert_file=str(ca)).get("/").status == 200
    assert _client(tls_cp.url, skip_verify=True).get("/").status == 200
    assert _client(tls_cp.url, skip_verify=True, ca_cert_file="/absent").get("/").status == 200
    with pytest.raises(Unreachable, match=r"its certificate is not trusted .*--ca-cert-file .*--skip-verify"):
        _client(tls_cp.url).get("/")


def test_a_client_certificate_is_presented(tls_cp, authority, tmp_path):
    """Both files are used; one alone or a wrong one is explained."""
    mine = authority.issue_cert("me")
    cert, key = tmp_path / "c.pem", tmp_path / "c.key"
    mine.cert_chain_pems[0].write_to_path(cert)
    mine.private_key_pem.write_to_path(key)
    both = {"client_cert_file": str(cert), "client_key_file": str(key)}
    assert _client(tls_cp.url, skip_verify=True, **both).get("/").status == 200
    with pytest.raises(ConfigInvalid, match="clientCertFile and clientKeyFile must be given together"):
        _client(tls_cp.url, client_cert_file=str(cert)).get("/")
    with pytest.raises(ConfigInvalid, match=r"client certificate .*: not usable PEM"):
        _client(tls_cp.url, client_cert_file=str(key), client_key_file=str(cert)).get("/")
    with pytest.raises(ConfigInvalid, match="caCertFile /absent: no such file"):
        _client(tls_cp.url, ca_cert_file="/absent").get("/")


def test_mixed_up_schemes_are_explained(cp, tls_cp):
    """Plain HTTP to a TLS port and https to a plain one."""
    with pytest.raises(Unreachable, match=r"the TLS handshake failed .*is this an http address"):
        _client(cp.url.replace("http:", "https:"), skip_verify=True).get("/")
    with pytest.raises(Unreachable, match="is this an https address"):
        _client(tls_cp.url.replace("https:", "http:")).get("/")


@pytest.mark.parametrize("token", ["geheim\n", "geheim\r\nX-Admin: yes", "gehéim", "geheim\0"])
def test_a_token_that_cannot_be_sent_is_not_shown(cp, token):
    """The reason names the place, never the token."""
    with pytest.raises(ConfigInvalid, match="the token in authConf holds characters that cannot be sent") as refused:
        _client(cp.url, auth_type="tokens", auth_conf={"token": token}).get("/")
    assert "geh" not in str(refused.value)
    assert cp.asked == []


def test_headers_and_auth_types_that_make_no_sense_are_refused(cp):
    """Instead of being sent or dropped silently."""
    with pytest.raises(ConfigInvalid, match="a header holds characters"):
        _client(cp.url, headers=(("X", "a\nb"),)).get("/")
    with pytest.raises(ConfigInvalid, match='authType "basic" is unknown; known is: tokens'):
        _client(cp.url, auth_type="basic").get("/")


@pytest.mark.parametrize(
    "url, parts",
    [
        ("http://localhost:5681", ("http", "localhost", 5681, "")),
        ("https://cp.example/kuma/", ("https", "cp.example", 443, "/kuma")),
        ("http://[::1]:80/", ("http", "::1", 80, "")),
    ],
)
def test_addresses_are_taken_apart(url, parts):
    """With and without port and base path."""
    assert split_address(url) == parts


@pytest.mark.parametrize(
    "url", ["localhost:5681", "ftp://x", "http://", "http://x:y", "http://[", "http://a b", "http://u:geheim@x", ""]
)
def test_other_addresses_are_refused(url):
    """With an example of a good one; a password in it is not repeated."""
    with pytest.raises(ConfigInvalid, match=r"http://localhost:5681") as refused:
        split_address(url)
    assert "geheim" not in str(refused.value)


def test_names_cannot_leave_their_place_in_the_path():
    """A name is one segment, whatever it holds."""
    assert api_path("meshes", "../x", "a b?c#d%") == "/meshes/..%2Fx/a%20b%3Fc%23d%25"


def test_what_a_terminal_would_act_on_is_replaced():
    """Text from a server cannot move the cursor."""
    assert printable("a\x1b[2Jb\r\nc\tü") == "a\ufffd[2Jb\ufffd\nc\tü"
