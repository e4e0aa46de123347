"""HTTP and gRPC share the data plane port."""

import json
import ssl

import httpx2
import pytest

from tests.contract.xds.stack import dataplane


@pytest.fixture
async def client(stack):
    """An HTTPS client that trusts the control plane."""
    context = ssl.create_default_context(cadata=stack.tls.ca_pem.decode())
    async with httpx2.AsyncClient(base_url=f"https://localhost:{stack.port}", verify=context, trust_env=False) as made:
        yield made


def request(**fields):
    """A bootstrap request as kuma-dp makes it."""
    return {
        "mesh": "default",
        "name": "web-1",
        "proxyType": "dataplane",
        "dataplaneResource": json.dumps(dataplane("web-1", "web")),
        "dataplaneToken": "a.b.c",
        "workdir": "/tmp/work",  # noqa: S108 - a text
        "version": {"kumaDp": {"version": "0.1"}, "envoy": {"version": "1.40"}},
        **fields,
    }


async def test_bootstrap_is_answered_on_the_same_port(client):
    """YAML with the node's id and the control plane's address."""
    answer = await client.post("/bootstrap", json=request())

    assert answer.status_code == 200, answer.text
    assert "default.web-1" in answer.text


async def test_a_name_that_the_certificate_does_not_have_is_refused_with_those_it_has(client, stack):
    """The proxy's Envoy would not trust the control plane under it; 400, so that kuma-dp ends and says why."""
    named = await client.post("/bootstrap", json=request(), headers={"host": f"elsewhere.example:{stack.port}"})
    known = await client.post("/bootstrap", json=request(), headers={"host": f"LOCALHOST:{stack.port}"})

    assert (named.status_code, known.status_code) == (400, 200)
    assert "using 'elsewhere.example' address" in named.text
    assert all(name in named.text for name in stack.tls.names)


async def test_a_mesh_that_does_not_exist_is_said(client):
    """kuma-dp shows the text."""
    answer = await client.post("/bootstrap", json=request(mesh="nowhere"))

    assert answer.status_code == 422
    assert 'mesh "nowhere" does not exist' in answer.text


async def test_a_dataplane_that_is_not_there_yet_is_404_without_a_text(client):
    """kuma-dp tries again."""
    answer = await client.post("/bootstrap", json=request(dataplaneResource=""))

    assert (answer.status_code, answer.content) == (404, b"")


@pytest.mark.parametrize(
    ("body", "status"),
    [(b"not json", 400), (b"[]", 400), (b'{"mesh": 1}', 400), (b"{" + b" " * 3_000_000, 422)],
    ids=["text", "list", "type", "large"],
)
async def test_bad_requests_get_a_clear_answer(client, body, status):
    """Never a 5xx, never a traceback."""
    answer = await client.post("/bootstrap", content=body)

    assert answer.status_code in {status, 400, 422}
    assert answer.text
    assert "Traceback" not in answer.text


async def test_everything_else_is_not_found(client):
    """Other paths and methods."""
    assert (await client.get("/")).status_code == 404
    refused = await client.get("/bootstrap")
    assert (refused.status_code, refused.headers["allow"]) == (405, "POST")
