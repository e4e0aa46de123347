"""What the API refuses, and how it says so."""

import asyncio

import pytest
from structlog.testing import capture_logs

from kuma.cp.config import Config
from kuma.cp.store.memory import MemoryStore
from tests.contract.api.control_plane import DATAPLANE, REMOTE, control_plane

WEB = "/meshes/default/dataplanes/web-1"
JSON = {"content-type": "application/json"}


def api_server(**settings):
    """Settings of the API server."""
    return Config(apiServer=settings)


@pytest.mark.parametrize("path", ["/nope", "/meshes/default/meshgateways", "/versions", "/a" * 30])
async def test_an_unknown_path_is_a_plain_404(client, path):
    """kuma-dp knows this text, to tell a wrong port."""
    answer = await client.get(path)

    assert (answer.status_code, answer.text) == (404, "404: Page Not Found")
    assert answer.headers["content-type"] == "text/plain"


async def test_a_wrong_verb_names_the_right_ones(client):
    """Known path, unknown method."""
    answer = await client.post("/meshes/default", json={})

    assert (answer.status_code, answer.text) == (405, "405: Method Not Allowed")
    assert answer.headers["allow"] == "GET, PUT, DELETE"


@pytest.mark.parametrize("content_type", ["", "text/yaml", "application/x-www-form-urlencoded", "application/jsonx"])
async def test_a_body_has_to_be_announced_as_json(client, content_type):
    """The default type of curl is not JSON."""
    answer = await client.put(WEB, content=b"{}", headers={"content-type": content_type})

    assert (answer.status_code, answer.text) == (415, "415: Unsupported Media Type")


async def test_parameters_of_the_content_type_do_not_matter(client):
    """A charset may be named."""
    answer = await client.put(
        "/meshes/m", content=b'{"type": "Mesh", "name": "m"}', headers={"content-type": "application/json; charset=x"}
    )

    assert answer.status_code == 201


async def test_a_caller_that_takes_no_json_gets_none(client):
    """The available representations are named."""
    answer = await client.get("/meshes", headers={"accept": "text/html"})

    assert answer.status_code == 406
    assert answer.text == "406: Not Acceptable\n\nAvailable representations: application/json"


@pytest.mark.parametrize("accept", ["*/*", "application/json", "text/html, application/json;q=0.9", "application/*"])
async def test_other_callers_are_served(client, accept):
    """What a browser or curl sends is fine."""
    assert (await client.get("/meshes", headers={"accept": accept})).status_code == 200


@pytest.mark.parametrize(
    "body, reason",
    [
        (b"", "not valid JSON"),
        (b"{", "not valid JSON"),
        (b"type: Dataplane", "not valid JSON"),
        (b"[1]", "a JSON object is expected"),
        (b"null", "a JSON object is expected"),
        (b'{"name": "a", "name": "b"}', "given twice"),
        (b'{"a":' * 10_000 + b"1" + b"}" * 10_000, "nested deeper than 100 levels"),
        (b"\xff\xfe", "not UTF-8"),
        (b'{"name": "a\\u0000b"}', "NUL character"),
        (b'{"name": "\\ud800"}', "half of a surrogate pair"),
        (b'{"a": NaN}', "not a JSON number"),
        (b'{"a": 1e999}', "too large"),
    ],
)
async def test_what_cannot_be_read_is_explained(client, body, reason):
    """Not JSON, or JSON that programs disagree about."""
    answer = await client.put(WEB, content=body, headers=JSON)

    assert answer.status_code == 400
    assert answer.json()["title"] == "Bad Request"
    assert answer.json()["detail"].startswith('invalid Dataplane object: "')
    assert reason in answer.json()["detail"]


@pytest.mark.parametrize("name", ["a%00b", "%ff", "%zz", "%"])
async def test_a_path_that_is_no_text_is_refused(client, name):
    """A clear 400, whatever is asked for."""
    for method in ("GET", "PUT", "DELETE"):
        answer = await client.request(method, f"/meshes/default/dataplanes/{name}", headers=JSON)
        assert answer.status_code == 400, answer.text


@pytest.mark.parametrize("name", ["UPPER", "a b", "ä", "-a", "a..b", "x" * 254, "\N{PILE OF POO}"])
async def test_a_name_with_wrong_characters_is_refused(client, name):
    """Nothing is stored under it."""
    answer = await client.put(f"/meshes/default/dataplanes/{name}", json={**DATAPLANE, "name": name})

    assert answer.status_code == 400
    assert (await client.get("/dataplanes")).json()["total"] == 0


async def test_a_query_that_is_no_text_is_refused(client):
    """Also one with more fields than anyone needs."""
    assert (await client.get("/meshes?name=%ff")).status_code == 400
    assert (await client.get("/meshes?" + "&".join(["tag=a:b"] * 500))).status_code == 400


async def test_a_body_over_the_limit_is_413_and_is_not_kept():
    """The limit is named; a body that never ends is not read to its end."""
    cp = await control_plane(api_server(maxBodyBytes=1000))
    sent = 0

    async def endless():
        nonlocal sent
        while True:
            sent += 500
            yield b"x" * 500

    async with cp.client() as client:
        answer = await client.put(WEB, content=endless(), headers=JSON)

    assert answer.status_code == 413
    assert (answer.json()["title"], answer.headers["connection"]) == ("Request is too large", "close")
    assert "1000 bytes" in answer.json()["detail"]
    assert sent < 10_000


@pytest.mark.parametrize("kind", ["dataplane-insights", "service-insights"])
@pytest.mark.parametrize("method", ["PUT", "DELETE"])
async def test_what_the_control_plane_writes_can_only_be_read(client, kind, method):
    """405 in the error format, not the router's text."""
    answer = await client.request(method, f"/meshes/default/{kind}/x", headers=JSON)

    assert answer.status_code == 405
    assert answer.json()["title"] == "Method not allowed"
    assert answer.json()["detail"].startswith("On zone control plane you can only modify zone resources")
    assert answer.json()["detail"].endswith("\n")


async def test_a_read_only_api_changes_nothing():
    """apiServer.readOnly: reading goes on, and the kinds say that they cannot be written."""
    cp = await control_plane(api_server(readOnly=True))
    async with cp.client() as client:
        assert (await client.get("/meshes")).status_code == 200
        assert (await client.put(WEB, json=DATAPLANE)).status_code == 405
        assert (await client.delete("/meshes/default")).status_code == 405
        assert all(kind["readOnly"] for kind in (await client.get("/_resources")).json()["resources"])


async def test_an_unexpected_error_tells_nothing_but_its_id(cp, client):
    """No traceback, no message; the id is in the log."""

    async def broken(*_args, **_options):
        raise RuntimeError("the secret is 1234")

    cp.envoys.fetch = broken
    await client.put(WEB, json=DATAPLANE)
    with capture_logs() as logs:
        answer = await client.get(f"{WEB}/xds")

    body = answer.json()
    assert answer.status_code == 500
    assert (body["title"], body["detail"]) == ("Could not execute admin operation", "Internal Server Error")
    assert "1234" not in answer.text
    assert [line["request_id"] for line in logs if line["event"] == "request failed"] == [body["instance"]]


async def test_a_store_that_fails_is_503(cp, client):
    """The store is ours to repair, not the caller's request."""
    await cp.store.close()

    answer = await client.get("/meshes")

    assert (answer.status_code, answer.json()["title"]) == (503, "Service unavailable")


class HangingStore(MemoryStore):
    """A store whose lists never come."""

    async def list(self, kind, mesh=None):
        return await asyncio.Event().wait()


async def test_a_store_that_hangs_is_503():
    """An answer comes within the limit, however long the store takes."""
    cp = await control_plane(store=HangingStore(), answer_within=0.05)
    async with cp.client() as client:
        answer = await client.get("/meshes")

    assert answer.status_code == 503
    assert "no answer within 0.05s" in answer.json()["detail"]


async def test_a_refusal_is_json_whoever_calls():
    """Anonymous callers get the same error format."""
    cp = await control_plane()
    async with cp.client(REMOTE) as client:
        answer = await client.get("/meshes/default/secrets")

    assert answer.status_code == 403
    detail = 'user "mesh-system:anonymous/mesh-system:unauthenticated" cannot access the resource of type "Secret"'
    assert answer.json() == {
        "type": "/std-errors",
        "status": 403,
        "title": "Access Denied",
        "detail": detail,
        "details": detail,
    }
