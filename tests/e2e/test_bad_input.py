"""Whatever is thrown at the REST API of a running control plane: a clear 4xx, and it serves on."""

from __future__ import annotations

import json
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import ExitStack

import httpx2
import pytest

from tests.e2e.harness.api import Answer
from tests.e2e.harness.lab import Lab

MESH = "/meshes/bad"
RETRY = "/meshes/default/meshretries/bad"
JSON = {"content-type": "application/json"}


def retry(name: str, **spec: object) -> str:
    """A MeshRetry as JSON text."""
    whole = {"to": [{"targetRef": {"kind": "Mesh"}, "default": {"http": {"numRetries": 1}}}], **spec}
    return json.dumps({"type": "MeshRetry", "mesh": "default", "name": name, "spec": whole})


BODIES = [
    pytest.param(RETRY, "", {400}, id="nothing"),
    pytest.param(RETRY, "{not json", {400}, id="not JSON"),
    pytest.param(RETRY, "[]", {400}, id="a list"),
    pytest.param(RETRY, "null", {400}, id="null"),
    pytest.param(RETRY, '"text"', {400}, id="text"),
    pytest.param(RETRY, b"\xff\xfe\x00\x01", {400}, id="no UTF-8"),
    pytest.param(RETRY, '{"type": "MeshRetry", "type": "Mesh", "name": "bad"}', {400}, id="duplicate keys"),
    pytest.param(RETRY, "[" * 10_000 + "]" * 10_000, {400}, id="lists, ten thousand deep"),
    pytest.param(RETRY, '{"a":' * 10_000 + "1" + "}" * 10_000, {400}, id="objects, ten thousand deep"),
    pytest.param(RETRY, retry("bad", to="text"), {400}, id="wrong type"),
    pytest.param(RETRY, retry("bad", to=[{"targetRef": 5}]), {400}, id="wrong type inside"),
    pytest.param(RETRY, retry("other"), {400}, id="name differs from the path"),
    pytest.param(RETRY, retry("bad").replace('"numRetries": 1', '"numRetries": 1e999'), {400}, id="infinity"),
    pytest.param(RETRY, retry("bad").replace('"numRetries": 1', '"numRetries": NaN'), {400}, id="not a number"),
    pytest.param(
        RETRY, retry("bad").replace('"numRetries": 1', f'"numRetries": {"9" * 5000}'), {400}, id="five thousand digits"
    ),
    pytest.param("/meshes/default/meshretries/b%00d", retry("b\0d"), {400, 404}, id="NUL in the name"),
    pytest.param("/meshes/default/meshretries/b%ED%A0%80d", retry("b\ud800d"), {400, 404}, id="surrogate in the name"),
    pytest.param(RETRY, '{"type":"MeshRetry","mesh":"default","name":"\\ud800"}', {400}, id="escaped surrogate"),
    pytest.param("/meshes/default/meshretries/" + "a" * 254, retry("a" * 254), {400, 404}, id="a name too long"),
    pytest.param("/meshes/default/meshretries/Bad_Name", retry("Bad_Name"), {400}, id="a name with wrong characters"),
    pytest.param("/meshes/nowhere/meshretries/bad", retry("bad"), {404}, id="no such mesh"),
    pytest.param("/meshes/default/meshunknowns/bad", retry("bad"), {404}, id="no such kind"),
    pytest.param(MESH, '{"type":"Mesh","name":"bad","mtls":{"backends":{"a":1}}}', {400}, id="object instead of list"),
    pytest.param(
        MESH, '{"type":"Mesh","name":"bad","mtls":{"enabledBackend":"x","backends":[]}}', {400}, id="no such backend"
    ),
    pytest.param(
        "/meshes/default/dataplanes/bad",
        '{"type":"Dataplane","mesh":"default","name":"bad","networking":{"address":"::::","inbound":[{"port":-1}]}}',
        {400},
        id="a dataplane that cannot be",
    ),
    pytest.param(
        "/meshes/default/secrets/bad",
        '{"type":"Secret","mesh":"default","name":"bad","data":"%%"}',
        {400},
        id="no base64",
    ),
]
REQUESTS = [
    pytest.param("GET", "/meshes/default/meshretries?size=-1", {400}, id="negative size"),
    pytest.param("GET", "/meshes/default/meshretries?size=99999999999999999999", {400}, id="huge size"),
    pytest.param("GET", "/meshes/default/meshretries?offset=x", {400}, id="offset is no number"),
    pytest.param("GET", "/meshes/default/meshretries?filter[x]=1", {400}, id="unknown filter"),
    pytest.param("GET", "/meshes/%00", {400, 404}, id="NUL in the path"),
    pytest.param("GET", "/meshes/%FF%FE", {400, 404}, id="no UTF-8 in the path"),
    pytest.param("GET", "/" + "a/" * 3000, {400, 404, 414}, id="a long path"),
    pytest.param("GET", "/_kri/kri_nonsense", {400, 404}, id="a KRI that is none"),
    pytest.param("POST", "/meshes", {404, 405}, id="wrong verb"),
    pytest.param("PATCH", "/meshes/default", {404, 405}, id="unknown verb"),
    pytest.param("DELETE", "/meshes/nowhere", {404}, id="delete what is not there"),
    pytest.param("PUT", "/meshes/default/dataplane-insights/x", {400, 405, 415}, id="write what is read-only"),
    pytest.param("GET", "/meshes/default/dataplanes/none/xds", {404}, id="look into a proxy that is not there"),
]


@pytest.fixture(autouse=True)
def serves_on(lab: Lab) -> Iterator[None]:
    """After each test the control plane is alive, quick, and has stored nothing half."""
    api = lab.control_plane.api
    before = [api.get(path)["items"] for path in ("/meshes", "/meshes/default/meshretries", "/dataplanes")]
    yield
    began = time.monotonic()
    after = [api.get(path)["items"] for path in ("/meshes", "/meshes/default/meshretries", "/dataplanes")]
    assert time.monotonic() - began < 3
    assert after == before


def assert_clear(answer: Answer, expected: set[int]) -> None:
    """A 4xx that is expected, with words, and without our insides."""
    assert answer.status in expected, f"{answer.status} {answer.text[:500]}"
    assert answer.text.strip(), "the answer says nothing"
    assert "Traceback" not in answer.text
    if answer.headers.get("content-type", "").startswith("application/json"):
        assert answer.json["title"]
        assert answer.json["status"] == answer.status


@pytest.mark.parametrize("path, body, expected", BODIES)
def test_bad_body_gets_a_clear_answer(lab: Lab, path: str, body: str | bytes, expected: set[int]):
    """A body that cannot be is refused, and nothing of it is stored."""
    began = time.monotonic()

    assert_clear(lab.control_plane.api.request("PUT", path, body, JSON), expected)

    assert time.monotonic() - began < 5


@pytest.mark.parametrize("method, path, expected", REQUESTS)
def test_bad_request_gets_a_clear_answer(lab: Lab, method: str, path: str, expected: set[int]):
    """A request that cannot be is refused."""
    assert_clear(lab.control_plane.api.request(method, path), expected)


def test_body_over_the_limit(lab: Lab):
    """More than five megabytes: 413, with the limit in words."""
    body = retry("bad").replace('"bad"', '"bad", "junk": "' + "x" * (6 << 20) + '"')
    try:
        answer = lab.control_plane.api.request("PUT", RETRY, body, JSON)
    except ConnectionError:
        return  # refused so early that the rest could not even be sent
    assert_clear(answer, {413})


def test_body_over_the_limit_without_a_length(lab: Lab):
    """A chunked body that never ends is cut off, not collected."""
    api = lab.control_plane.api
    lines = (
        f"PUT {RETRY} HTTP/1.1",
        f"host: localhost:{api.port}",
        "content-type: application/json",
        "transfer-encoding: chunked",
    )
    head = "\r\n".join((*lines, "", ""))
    chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    sent = 0
    with socket.create_connection(("127.0.0.1", api.port), timeout=20) as connection:
        connection.sendall(head.encode())
        try:
            while sent < 64 << 20:
                connection.sendall(chunk)
                sent += 0x10000
        except OSError:
            pass  # cut off, as it should be
    assert sent < 64 << 20


PUT = f"PUT {RETRY} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n".encode()


@pytest.mark.parametrize(
    "request_, statuses",
    [
        pytest.param(PUT + b"x: " + b"a" * 200_000, {431}, id="a header without end"),
        pytest.param(PUT + b"".join(b"x-%d: a\r\n" % n for n in range(20_000)), {431}, id="headers without end"),
        pytest.param(PUT + b"content-length: 2\r\ncontent-length: 3\r\n\r\n{} ", {400}, id="two lengths"),
        pytest.param(PUT + b"content-length: -2\r\n\r\n{}", {400}, id="a negative length"),
        pytest.param(PUT + b"transfer-encoding: chunked\r\n\r\nxyz\r\n{}\r\n", {400}, id="a chunk without a size"),
        pytest.param(PUT + b"transfer-encoding: gzip\r\n\r\n{}", {400}, id="an encoding nobody speaks"),
        pytest.param(PUT + b"content-length: 99\r\n\r\n{", {408}, id="a body that does not come"),
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", {400}, id="TLS on the plain port"),
    ],
)
def test_a_request_that_is_no_http_gets_a_clear_answer(lab: Lab, request_: bytes, statuses: set[int]):
    """Whatever is wrong below the level of resources is told in a 4xx, too, and the connection ends."""
    with socket.create_connection(("127.0.0.1", lab.control_plane.api.port), timeout=20) as connection:
        connection.sendall(request_)
        head = b""
        while b"\r\n\r\n" not in head and (received := connection.recv(4096)):
            head += received

    assert int(head.split(b" ")[1]) in statuses, head
    assert b"Traceback" not in head


@pytest.mark.parametrize("type", ["text/plain", "application/x-www-form-urlencoded", ""])
def test_wrong_content_type(lab: Lab, type: str):
    """What is not announced as JSON is not read: 415."""
    headers = {"content-type": type} if type else {}

    assert_clear(lab.control_plane.api.request("PUT", RETRY, retry("bad"), headers), {415})


@pytest.mark.parametrize(
    "body",
    [
        "",
        "{}",
        "[]",
        '{"mesh": 5}',
        '{"mesh": "default", "validFor": "eternal"}',
        '{"mesh": "nowhere", "validFor": "1h"}',
    ],
)
def test_bad_token_request(lab: Lab, body: str):
    """A token that cannot be issued is refused with the reason."""
    assert_clear(lab.control_plane.api.request("POST", "/tokens/dataplane", body, JSON), {400, 404, 415})


def test_slow_sender_stalls_nobody(lab: Lab):
    """A client that sends its request a byte at a time holds up no one else."""
    api = lab.control_plane.api
    with socket.create_connection(("127.0.0.1", api.port), timeout=20) as slow:
        slow.sendall(b"PUT /meshes/slow HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-le")
        began = time.monotonic()
        assert api.get("/meshes")["items"]
        assert time.monotonic() - began < 2


EXPLODING = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{chr(ord('a') + n)}: &{chr(ord('a') + n)} [{','.join(['*' + chr(ord('a') + n - 1)] * 9)}]\n" for n in range(1, 12)
)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(EXPLODING + "type: Mesh\nname: bad\n", id="aliases that explode"),
        pytest.param("type: Mesh\nname: bad\nname: worse\n", id="duplicate keys"),
        pytest.param("[" * 10_000, id="ten thousand deep"),
        pytest.param("type: Unknown\nname: bad\n", id="unknown type"),
        pytest.param("name: bad\n", id="no type"),
        pytest.param("type: Mesh\nname: [1]\n", id="a name that is a list"),
        pytest.param('type: Mesh\nname: "b\\0d"\n', id="NUL in a name"),
        pytest.param("\t- nonsense: [", id="not YAML"),
        pytest.param("", id="nothing"),
    ],
)
def test_kumactl_refuses_a_bad_file_and_says_why(lab: Lab, text: str):
    """kumactl: exit code 1, a reason, no traceback, within seconds."""
    result = lab.control_plane.kumactl.run("apply", "-f", "-", stdin=text, seconds=15)

    assert result.code == 1
    assert result.err.startswith(("Error: ", "resource[")), result.err


@pytest.mark.parametrize(
    "text, reason",
    [
        pytest.param("type: Mesh\nname: {{#a}}x\n", "never closed", id="a section that never ends"),
        pytest.param("{{#a}}" * 5000, "nested deeper", id="sections in sections"),
        pytest.param("name: {{ a", "never closed", id="a tag that never ends"),
        pytest.param("x: {{a}}\n" * 400_000, "renders to more than", id="a text that grows without end"),
    ],
)
def test_kumactl_refuses_a_bad_template_and_says_why(lab: Lab, text: str, reason: str):
    """Variables are filled in within limits of depth, size and time."""
    result = lab.control_plane.kumactl.run("apply", "-f", "-", "-v", f"a={'y' * 20}", stdin=text, seconds=15)

    assert result.code == 1
    assert result.err.startswith("Error: failed to fill in the variables"), result.err
    assert reason in result.err


@pytest.mark.parametrize(
    "resource", [EXPLODING, "{{#a}}" * 5000, "[" * 100_000, '{"type": "Dataplane", "name": 5}', ""]
)
def test_bootstrap_refuses_a_bad_resource(lab: Lab, resource: str):
    """The data plane server's ``/bootstrap`` takes no nonsense either."""
    body = {"mesh": "default", "name": "bad", "dataplaneToken": "a.b.c", "dataplaneResource": resource}

    with httpx2.Client(verify=False, trust_env=False, timeout=20) as client:
        answer = client.post(f"{lab.control_plane.dp_url}bootstrap", json=body, headers={"accept": "application/json"})

    assert 400 <= answer.status_code < 500, answer.text
    assert "Traceback" not in answer.text


def test_slow_clients_do_not_delay_the_end(lab: Lab):
    """SIGTERM ends kuma-cp in a few seconds, although every port has clients that neither finish nor hang up."""
    control_plane = lab.own_control_plane()
    tls = ssl.create_default_context()
    tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
    plain = (control_plane.http_port, control_plane.diagnostics_port)
    unfinished = (
        b"PUT /logging HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n{"
    )
    with ExitStack() as stack:
        for port in (*plain, control_plane.https_port, control_plane.dp_port):
            for request in (unfinished, unfinished.replace(b"PUT /logging", b"PUT /meshes/slow"), b""):
                slow = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=20))
                if port not in plain and request:
                    slow = stack.enter_context(tls.wrap_socket(slow))
                slow.sendall(request)

        assert control_plane.stop(seconds=6) == 0
