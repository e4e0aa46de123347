"""Whatever is sent, the answer is not a 5xx."""

from __future__ import annotations

import asyncio
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kuma.core.model.kinds import KINDS, Scope
from tests.contract.api.control_plane import DATAPLANE, LOCAL, TIMEOUT, control_plane

WORDS = [
    *{kind.path for kind in KINDS},
    *("meshes", "default", "web-1", "_overview", "_resources", "_rules", "_config", "_kri", "tokens", "user", "xds"),
    *("_changes", "_rollback", "difference", "1", "99"),
    *("policies", "rules", "stats", "kri_dp_default_default__web-1_", "global-insight", "dataplanes+insights", ""),
]
PARAMETERS = ["size", "offset", "name", "tag", "gateway", "format", "filter[labels.a]", "filter[", "type", "shadow"]
PARAMETERS += ["from", "to", "since", "until", "user", "all", "mesh"]

ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=12,
)


def paths_of(document: object, path: tuple[object, ...] = ()) -> list[tuple[object, ...]]:
    """Every place in a document."""
    found = [path]
    items = (
        document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    )
    for key, value in items:
        found += paths_of(value, (*path, key))
    return found


@st.composite
def spoilt(draw: st.DrawFn, document: object) -> object:
    """A valid document with one place replaced by anything."""
    copy = json.loads(json.dumps(document))
    place = draw(st.sampled_from(paths_of(copy)[1:]))
    inner = copy
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = draw(ANY_JSON)
    return copy


@pytest.fixture(scope="module")
def ask():
    """One control plane for all examples: what one leaves behind must not hurt the next."""
    with asyncio.Runner() as runner:
        cp = runner.run(control_plane())

        def ask(method: str, path: bytes, query: bytes = b"", body: bytes = b"", **headers: str) -> int:
            return runner.run(call(cp.api, method, path, query, body, headers))

        yield ask


async def call(api, method, path, query, body, headers) -> int:
    """A request as a server hands it over, so that nothing on the way can tidy it up."""
    given = {"host": "localhost:5681", "content-type": "application/json", **headers}
    scope = {
        "type": "http",
        "method": method,
        "scheme": "http",
        "path": path.decode("latin-1"),
        "raw_path": path,
        "query_string": query,
        "headers": [(key.encode("latin-1"), value.encode("latin-1")) for key, value in given.items()],
        "client": LOCAL,
        "state": {},
    }
    statuses = []

    async def receive():
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message):
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    await api(scope, receive, send)
    return statuses[0]


SEGMENT = (
    st.sampled_from(WORDS).map(str.encode) | st.binary(max_size=6) | st.sampled_from([b"%00", b"%ed%a0%80", b"%2e"])
)


@given(
    method=st.sampled_from(["GET", "PUT", "DELETE", "POST", "OPTIONS", "HEAD", "BREW"]),
    segments=st.lists(SEGMENT, max_size=6),
    query=st.lists(
        st.tuples(st.sampled_from(PARAMETERS).map(str.encode) | st.binary(max_size=5), st.binary(max_size=8))
    ),
    body=st.binary(max_size=20) | ANY_JSON.map(lambda value: json.dumps(value).encode()),
)
def test_no_path_query_or_body_breaks_it(ask, method, segments, query, body):
    """Any bytes in any place."""
    path = b"/" + b"/".join(segments)

    assert ask(method, path, b"&".join(key + b"=" + value for key, value in query), body) < 500


@given(data=st.data(), document=st.sampled_from([DATAPLANE, TIMEOUT]))
def test_no_spoilt_resource_breaks_it(ask, data, document):
    """A field of the wrong type is a 4xx, and what is stored can be read again."""
    path = "dataplanes" if document is DATAPLANE else "meshtimeouts"
    body = json.dumps(data.draw(spoilt(document))).encode()

    status = ask("PUT", f"/meshes/default/{path}/{document['name']}".encode(), body=body)

    assert status < 500
    if status < 300:
        for reading in (f"/{path}", "/mesh-insights", "/service-insights", "/dataplanes/_overview"):
            assert ask("GET", reading.encode()) == 200


@given(data=st.data(), kind=st.sampled_from([kind for kind in KINDS if not kind.read_only]))
def test_no_json_breaks_any_kind(ask, data, kind):
    """Whatever stands in the fields of a kind."""
    document = {"type": kind.name, "name": "x", **data.draw(st.dictionaries(st.text(max_size=8), ANY_JSON, max_size=4))}
    document["spec"] = data.draw(ANY_JSON)
    home = ""
    if kind.scope is Scope.MESH:
        home = "/meshes/default"
        document["mesh"] = "default"

    assert ask("PUT", f"{home}/{kind.path}/x".encode(), body=json.dumps(document).encode()) < 500


@given(path=st.sampled_from(["dataplane", "zone", "user"]), body=ANY_JSON, extra=ANY_JSON)
def test_no_token_request_breaks_it(ask, path, body, extra):
    """Also one whose fields have other types."""
    fields = ("name", "mesh", "tags", "type", "validFor", "scope", "groups", "zone")
    for document in (body, dict.fromkeys(fields, extra), {"mesh": "default", "name": "x", "validFor": extra}):
        assert ask("POST", f"/tokens/{path}".encode(), body=json.dumps(document).encode()) < 500


@given(header=st.sampled_from(["authorization", "host", "origin", "accept", "content-type"]), value=st.text(
    st.characters(max_codepoint=255, exclude_characters="\r\n\0"), max_size=30))  # fmt: skip
def test_no_header_breaks_it(ask, header, value):
    """Headers are bytes of anyone's choice."""
    assert ask("GET", b"/meshes", **{header: value}) < 500
    assert ask("PUT", b"/meshes/x", **{header: value}) < 500
